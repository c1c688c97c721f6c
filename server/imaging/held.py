"""Where instances lie while they come: buffers that are used again and again.

Memory that is asked for anew for each instance costs more than filling it: the system clears every page first.
"""

import mmap
import threading

#: Bytes of one buffer; what is longer goes into the pack piece by piece.
SIZE = 4 << 20
#: Buffers that lie ready, and bytes of each that may stay in memory meanwhile.
_READY, _KEPT = 8, 1 << 20
#: Linux gives the pages back by it; elsewhere they stay.
_DONTNEED = getattr(mmap, "MADV_DONTNEED", None)


class Held:
    """One buffer and how much of it is filled."""

    __slots__ = ("buffer", "highest", "length")

    def __init__(self) -> None:
        # A map: its slices are bytes, as the reader needs them. Private: the pages of a shared one can't be given back.
        self.buffer = mmap.mmap(-1, SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.length = self.highest = 0

    def add(self, piece: bytes | memoryview) -> bool:
        """Puts a piece at the end; False where there is no room for it."""
        end = self.length + len(piece)
        if end > SIZE:
            return False
        self.buffer[self.length : end] = piece
        self.length = end
        return True

    def view(self) -> memoryview:
        """What is in it, to be released before the buffer is given back."""
        return memoryview(self.buffer)[: self.length]

    def clear(self) -> None:
        """Forgets what is in it."""
        self.highest = max(self.highest, self.length)
        self.length = 0


_lock = threading.Lock()
_ready: list[Held] = []


def take() -> Held:
    """An empty buffer, till ``give_back``."""
    with _lock:
        if _ready:
            return _ready.pop()
    return Held()


def give_back(held: Held) -> None:
    """Keeps the buffer for the next instance."""
    held.clear()
    if held.highest > _KEPT and _DONTNEED is not None:
        held.buffer.madvise(_DONTNEED)
        held.highest = 0
    with _lock:
        if len(_ready) < _READY:
            _ready.append(held)
