"""A few processes that decode, encode and draw pixels, so that no foreign codestream is decoded where data are served.

Started when they are needed, ended when they have been idle; each with a memory limit, each job with a time limit. A
worker that a job kills is replaced, and the job's input is what is at fault. They die with their parent.
"""

import contextlib
import logging
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from server import errors
from server.errors import NotAcceptable, Unavailable, Unprocessable
from server.imaging import pixel_wire
from server.imaging.pixel_wire import Message

if TYPE_CHECKING:
    # The pool itself loads no codec, no numpy: it costs its parent nothing until it is used.
    from server.imaging.frames import PixelFormat
    from server.imaging.rendering import Rendering

_log = logging.getLogger(__name__)
#: What a worker may raise across the socket.
_ERRORS = {error.__name__: error for error in (errors.BadRequest, errors.NotFound, NotAcceptable, Unprocessable)}
#: Jobs that wait for a worker, for each worker; whoever comes later is told to come again.
_WAITING = 32
#: Jobs after which a worker makes room for a fresh one, in case that a codec loses memory.
_MOST_JOBS = 5000
#: Seconds that a worker may take to start, besides its job.
_START = 30.0
#: Variables that keep native libraries from starting threads, and their arenas of memory, of their own.
_QUIET = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1") | {"MALLOC_ARENA_MAX": "2"}


@dataclass(slots=True, eq=False)
class _Worker:
    """One process and our end of its socket."""

    process: subprocess.Popen[bytes]
    channel: socket.socket
    idle_since: float = 0.0
    jobs: int = 0

    def end(self) -> None:
        self.channel.close()
        self.process.kill()
        self.process.wait()


class PixelPool:
    """At most ``workers`` processes of at most ``memory`` bytes each beyond their start; safe for many threads."""

    def __init__(
        self, workers: int, memory: int, *, timeout: float = 60.0, idle: float = 30.0, uid_root: str = "2.25"
    ) -> None:
        self.workers = workers
        self._memory = memory
        self._timeout = timeout
        self._uid_root = uid_root
        self._idle = idle
        self._most_waiting = _WAITING * workers
        self._turns = threading.BoundedSemaphore(workers)
        self._lock = threading.Lock()
        self._waiting = 0
        self._resting: list[_Worker] = []
        self._alive: set[_Worker] = set()
        self._orders: queue.SimpleQueue[queue.SimpleQueue[_Worker | OSError] | None] = queue.SimpleQueue()
        self._keeper: threading.Thread | None = None

    def transcode(self, file: bytes, target: str) -> bytes:
        """The Part 10 file in the transfer syntax ``target``; without pixels in Explicit VR where that compresses.

        Raises NotAcceptable where it can't be given so, Unprocessable for what is damaged, Unavailable.
        """
        return self._run("transcode", {"target": target, "uid_root": self._uid_root}, [file])[0]

    def decode_frames(self, frames: Sequence[bytes], transfer_syntax: str, layout: "PixelFormat") -> list[bytes]:
        """Compressed frames as native little endian, samples side by side; raises as ``transcode`` does."""
        return self._run("decode", {"transfer_syntax": transfer_syntax, "layout": asdict(layout)}, frames)

    def render(
        self, head: bytes, frames: Sequence[bytes], numbers: Sequence[int], wanted: "Rendering", *, state: bytes = b""
    ) -> bytes:
        """Frames as one picture, animation or film; raises as ``transcode`` does.

        ``head`` is the Part 10 file, all of it or up to its pixel data; ``frames`` are as they are stored but native
        ones in little endian, ``numbers`` theirs from 1; ``state`` is the Part 10 file of a presentation state.
        """
        message = {"wanted": asdict(wanted), "numbers": list(numbers)}
        return self._run("render", message, [head, state, *frames])[0]

    def report(self, file: bytes, *, html: bool) -> str:
        """A report, plan, segmentation or document as a page or as text; raises as ``transcode`` does."""
        return self._run("report", {"html": html}, [file])[0].decode("utf-8")

    def document(self, file: bytes) -> bytes:
        """The encapsulated document of a Part 10 file; raises as ``transcode`` does."""
        return self._run("document", {}, [file])[0]

    def close(self) -> None:
        """Ends every worker; the pool may be used again."""
        with self._lock:
            ended, self._resting = list(self._alive), []
            self._alive.clear()
            keeper = self._keeper
        for worker in ended:
            worker.end()
        if keeper is not None:
            self._orders.put(None)
            keeper.join()

    def _run(self, verb: str, parameters: Message, buffers: Sequence[bytes]) -> list[bytes]:
        with self._turn():
            worker = self._take()
            try:
                deadline = time.monotonic() + self._timeout
                pixel_wire.send(worker.channel, {"verb": verb, **parameters}, buffers, deadline)
                message, given = pixel_wire.receive(worker.channel, self._memory, deadline)
            except pixel_wire.Closed as error:
                self._drop(worker)
                _log.warning("a pixel worker was lost to a job: %s, exit %s", verb, worker.process.returncode)
                raise Unprocessable(
                    "The pixels are damaged, or take too much memory or time to decode; ask for transfer-syntax=*.",
                    expression="7FE00010",
                ) from error
            self._rest(worker)
        if "error" in message:
            kind = _ERRORS.get(str(message["error"]), Unprocessable)
            raise kind(str(message.get("details")), expression=str(message.get("expression")))
        return [bytes(buffer) for buffer in given]

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Waits for a worker's turn; raises Unavailable where too many wait."""
        with self._lock:
            if self._waiting >= self._most_waiting:
                raise Unavailable("Too many pictures and transcodings are asked for at once; ask again.")
            self._waiting += 1
        got = self._turns.acquire(timeout=self._timeout)
        with self._lock:
            self._waiting -= 1
        if not got:
            raise Unavailable("Decoding is too busy to begin in time; ask again.")
        try:
            yield
        finally:
            self._turns.release()

    def _take(self) -> _Worker:
        """A resting worker, the one used last, or a new one."""
        with self._lock:
            while self._resting:
                worker = self._resting.pop()
                if worker.process.poll() is None:
                    return worker
                # Somebody killed it while it was idle: no fault of the next job.
                self._alive.discard(worker)
                worker.end()
            if self._keeper is None:
                # Linux sends the parent's death signal when the *thread* that started the child ends.
                self._keeper = threading.Thread(target=self._keep, name="pixel-pool", daemon=True)
                self._keeper.start()
            answer: queue.SimpleQueue[_Worker | OSError] = queue.SimpleQueue()
            self._orders.put(answer)
        started = answer.get()
        if isinstance(started, OSError):
            raise Unavailable("No process can be started to decode pixels; ask again.") from started
        return started

    def _rest(self, worker: _Worker) -> None:
        worker.idle_since = time.monotonic()
        worker.jobs += 1
        if worker.jobs >= _MOST_JOBS:
            self._drop(worker)
            return
        with self._lock:
            if worker in self._alive:
                self._resting.append(worker)

    def _drop(self, worker: _Worker) -> None:
        with self._lock:
            self._alive.discard(worker)
        worker.end()

    def _keep(self) -> None:
        """The thread that starts workers and ends idle ones; it ends when there are none."""
        while True:
            try:
                answer = self._orders.get(timeout=max(self._idle / 4, 0.01))
            except queue.Empty:
                answer = None
            if answer is not None:
                answer.put(self._start())
                continue
            for worker in self._take_idle():
                worker.end()
            with self._lock:
                if not self._alive and self._orders.empty():
                    self._keeper = None
                    return

    def _take_idle(self) -> list[_Worker]:
        long_ago = time.monotonic() - self._idle
        with self._lock:
            idle = [worker for worker in self._resting if worker.idle_since < long_ago]
            self._resting = [worker for worker in self._resting if worker not in idle]
            self._alive.difference_update(idle)
        return idle

    def _start(self) -> _Worker | OSError:
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            return error
        with theirs:
            try:
                process = subprocess.Popen(
                    [sys.executable, "-m", "server.imaging.pixel_worker", str(self._memory)],
                    stdin=theirs.fileno(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                    env=os.environ | _QUIET | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                )  # fmt: skip
            except OSError as error:
                ours.close()
                return error
        worker = _Worker(process, ours)
        try:
            # Its greeting: loading numpy and codecs is no part of a job's time.
            pixel_wire.receive(ours, 0, time.monotonic() + _START)
        except pixel_wire.Closed:
            worker.end()
            return OSError("the worker did not start")
        with self._lock:
            self._alive.add(worker)
        return worker
