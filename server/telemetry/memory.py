"""Memory: what was freed goes back to the system (malloc_trim(3)), and what stays is not looked through.

The C library keeps what threads freed for the next time; after some large requests that is hundreds of megabytes which
nobody uses. Where it can't be told to give them back (it is glibc alone that can), nothing is done.
"""

import ctypes
import gc
import os
import sys
import threading
from pathlib import Path

#: Seconds between two looks, at least and at most.
_EVERY, _LONGEST = 3.0, 48.0
#: Growth in bytes from which on something is done, and what is worth having done it.
_GROWN, _WORTH = 16 << 20, 1 << 20
#: mallopt(3): what an arena keeps at its end, and from which size on a block is a map of its own. With glibc's own
#: figures every upload's buffers are given back and asked for again, and the system clears each page of them.
_TRIM_THRESHOLD, _KEPT = -1, 8 << 20
_MMAP_THRESHOLD, _OWN_MAP = -3, 4 << 20
#: And how many arenas there are: each keeps its own, and threads that hold Python's lock in turn need few.
_ARENA_MAX, _ARENAS = -8, 2
#: New objects after which the collector looks at the young ones; Python's own 700 come with every instance.
_OBJECTS = 5_000


def settle() -> None:
    """What is loaded at the start stays: the cycle collector need not look at it again, and may look less often.

    Nearly everything that a request makes is freed by its reference count.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_OBJECTS, 10, 10)


def keep() -> ctypes.CDLL | None:
    """Lets the C library keep buffers for the next request; gives it, None where there is nothing to call."""
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if library is None or not hasattr(library, "malloc_trim"):
        return None
    library.mallopt(_TRIM_THRESHOLD, _KEPT)
    library.mallopt(_MMAP_THRESHOLD, _OWN_MAP)
    library.mallopt(_ARENA_MAX, _ARENAS)
    return library


def start() -> threading.Event | None:
    """Looks after this process from now on, until the event is set; None where there is nothing to call."""
    library = keep()
    if library is None:
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
