"""Children of ``serve``: started, restarted when they die, drained on SIGTERM, and never left behind."""

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

from server.settings import Settings
from server.telemetry import memory

Entry = Callable[[Settings], None]

_PR_SET_PDEATHSIG = 1
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 10.0
#: A child that lived this long was well; its next restart is prompt again.
_WELL_AFTER = 30.0
#: How long a child may take to finish what it is at.
DRAIN_SECONDS = 20.0


@dataclass(slots=True)
class Child:
    """One process of ``serve``."""

    name: str
    entry: Entry
    process: BaseProcess | None = None
    started: float = 0.0
    pause: float = _FIRST_PAUSE
    restart_at: float = field(default=0.0)


class Supervisor:
    """Keeps the children of one server running."""

    def __init__(self, settings: Settings, entries: dict[str, Entry]) -> None:
        self._settings = settings
        self._children = [Child(name, entry) for name, entry in entries.items()]
        self._context = multiprocessing.get_context("spawn")
        self._stopping = threading.Event()

    def start(self) -> None:
        """Starts every child."""
        for child in self._children:
            self._start(child)

    def stop(self) -> None:
        """Asks ``watch`` to end; safe in a signal handler."""
        self._stopping.set()

    def watch(self) -> None:
        """Restarts children that die, until ``stop``; then drains them all."""
        while not self._stopping.is_set():
            alive = [child.process.sentinel for child in self._children if child.process is not None]
            wait(alive, timeout=0.2)
            for child in self._children:
                self._look_after(child)
        self._drain()

    def _start(self, child: Child) -> None:
        child.process = self._context.Process(
            target=_run, args=(child.entry, self._settings, os.getpid()), name=f"hutong-{child.name}"
        )
        child.process.start()
        child.started = time.monotonic()

    def _look_after(self, child: Child) -> None:
        now = time.monotonic()
        if child.process is not None and not child.process.is_alive():
            child.process.close()
            child.process = None
            child.pause = _FIRST_PAUSE if now - child.started > _WELL_AFTER else min(child.pause * 2, _LONGEST_PAUSE)
            child.restart_at = now + child.pause
            # A crash test's kill point is armed once: the successor is to finish the work.
            self._settings = replace(self._settings, kill_at="")
            print(f"hutong: the {child.name} process ended and is started again", file=sys.stderr, flush=True)
        if child.process is None and now >= child.restart_at:
            self._start(child)

    def _drain(self) -> None:
        running = [child.process for child in self._children if child.process is not None]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + DRAIN_SECONDS
        for process in running:
            process.join(max(0.1, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()


def _run(entry: Entry, settings: Settings, parent: int) -> None:
    """A child's first steps: it dies with its parent, and leaves Ctrl-C to the parent."""
    die_with(parent)
    memory.start()
    with contextlib.suppress(KeyboardInterrupt):
        entry(settings)


def die_with(parent: int) -> None:
    """Lets this process end with its parent, and leave Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            sys.exit()
