"""Memory that was freed goes back to the system (malloc_trim(3)).

The C library keeps what threads freed for the next time; after some large requests that is hundreds of megabytes which
nobody uses. Where it can't be told to give them back (it is glibc alone that can), nothing is done.
"""

import ctypes
import os
import sys
import threading
from pathlib import Path

#: Seconds between two looks, at least and at most.
_EVERY, _LONGEST = 3.0, 48.0
#: Growth in bytes from which on something is done, and what is worth having done it.
_GROWN, _WORTH = 24 << 20, 1 << 20


def start() -> threading.Event | None:
    """Looks after this process from now on, until the event is set; None where there is nothing to call."""
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if library is None or not hasattr(library, "malloc_trim"):
        return None
    over = threading.Event()
    threading.Thread(target=_run, args=(library, over), name="memory", daemon=True).start()
    return over


def _run(library: ctypes.CDLL, over: threading.Event) -> None:
    lowest, pause = resident(), _EVERY
    while not over.wait(pause):
        before = resident()
        if before - lowest <= _GROWN:
            pause = _EVERY
            continue
        library.malloc_trim(0)
        after = resident()
        lowest = min(lowest, after)
        # What is in use can't be given back: the next look waits longer each time, but it comes.
        pause = _EVERY if before - after > _WORTH else min(2 * pause, _LONGEST)


def resident() -> int:
    """Bytes of this process that are in memory (proc(5))."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
