"""What a worker does besides jobs: dispatch changes, look for quiet studies, take up the jobs of dead workers."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

#: Seconds between two looks.
DISPATCH_INTERVAL = 0.1
SWEEP_INTERVAL = 0.25
MEASURE_INTERVAL = 10.0
INDEX_INTERVAL = 1.0
FORGET_INTERVAL = 3600.0
KEEP_INTERVAL = 900.0
RETAIN_INTERVAL = 3600.0
PERIODIC_INTERVAL = 10.0


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


def until_empty(name: str, seconds: float, act: Callable[[], int]) -> Loop:
    """A loop that acts until nothing is left, then waits an interval."""

    def run(stopping: threading.Event) -> None:
        while not stopping.wait(seconds):
            while act() and not stopping.is_set():
                pass

    return Loop(name=name, run=run)
