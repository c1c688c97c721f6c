"""Memory that was freed goes back to the system (malloc_trim(3)).

The C library keeps what threads freed for the next time; after some large requests that is hundreds of megabytes which
nobody uses. Where it can't be told to give them back (it is glibc alone that can), nothing is done.
"""

import ctypes
import os
import sys
import threading
from pathlib import Path

#: Seconds between two looks, and growth in bytes from which on something is done.
_EVERY, _GROWN = 3.0, 24 << 20


def start() -> threading.Event | None:
    """Looks after this process from now on, until the event is set; None where there is nothing to call."""
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if library is None or not hasattr(library, "malloc_trim"):
        return None
    over = threading.Event()
    threading.Thread(target=_run, args=(library, over), name="memory", daemon=True).start()
    return over


def _run(library: ctypes.CDLL, over: threading.Event) -> None:
    settled = resident()
    while not over.wait(_EVERY):
        if resident() - settled > _GROWN:
            library.malloc_trim(0)
            settled = resident()
        settled = min(settled, resident())


def resident() -> int:
    """Bytes of this process that are in memory (proc(5))."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
