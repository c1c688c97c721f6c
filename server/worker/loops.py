"""What a worker does besides jobs: dispatch changes, look for quiet studies, take up the jobs of dead workers."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

import psycopg

from server.store.changes import CHANNEL

#: Seconds between two looks, whether or not anything was announced: a change may become visible when an older
#: transaction ends, which announces nothing.
DISPATCH_INTERVAL = 0.25
SWEEP_INTERVAL = 0.25


@dataclass(frozen=True, kw_only=True, slots=True)
class Loop:
    """One thing done again and again in a thread of its own, until the event is set; what it raises ends the worker."""

    name: str
    run: Callable[[threading.Event], None]


def every(name: str, seconds: float, act: Callable[[], object]) -> Loop:
    """A loop that acts at an interval."""

    def run(stopping: threading.Event) -> None:
        while not stopping.wait(seconds):
            act()

    return Loop(name=name, run=run)


def on_changes(database_url: str, dispatch: Callable[[], int]) -> Loop:
    """The dispatcher's loop: woken by LISTEN/NOTIFY, and looking by itself in between."""

    def run(stopping: threading.Event) -> None:
        with psycopg.connect(database_url, autocommit=True, application_name="hutong dispatch") as connection:
            connection.execute(f"listen {CHANNEL}")
            while not stopping.is_set():
                while dispatch():
                    pass
                for _ in connection.notifies(timeout=DISPATCH_INTERVAL, stop_after=1):
                    pass

    return Loop(name="dispatch", run=run)
