"""Where the frames are in encapsulated pixel data (PS3.5 A.4), found without reading them."""

import struct
import sys
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from server.errors import Unprocessable

#: Reads bytes of the value from an offset on; fewer at its end.
Read = Callable[[int, int], bytes]

_ITEM, _DELIMITER = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
#: Ends of a codestream: EOI of JPEG and JPEG-LS, EOC of JPEG 2000 (ISO/IEC 10918-1 B.1.1.3, 15444-1 A.4.4).
_ENDS = (b"\xff\xd9", b"\xff\xd9\x00")

#: Fragments that are looked through for one frame; an honest image of so many frames has an offset table.
_MOST_FRAGMENTS = 1 << 19


@dataclass(frozen=True, slots=True)
class Fragment:
    """Bytes of one fragment, from the start of the value."""

    offset: int
    length: int


def offsets(table: bytes, kind: str) -> Sequence[int]:
    """A Basic ("I", four bytes each) or Extended ("Q", eight) Offset Table, packed: it may have millions of entries."""
    found = array(kind)
    found.frombytes(table[: len(table) // found.itemsize * found.itemsize])
    if sys.byteorder == "big":
        found.byteswap()
    return found


def fragments(read: Read, frames: int, numbers: Sequence[int], starts: Sequence[int] = ()) -> list[list[Fragment]]:
    """The fragments of each of these frames (from 1); ``starts`` is the Extended Offset Table (7FE0,0001), if any.

    Raises Unprocessable where neither a table nor the fragments themselves tell frames apart.
    """
    head = read(0, 8)
    if len(head) < 8 or head[:4] != _ITEM:
        raise _lost()
    size = int(struct.unpack_from("<I", head, 4)[0])
    first = 8 + size
    if not starts and size:
        starts = offsets(read(8, size), "I")
    if frames > 1 and len(starts) == frames:
        found = {
            number: _walk(read, first + starts[number - 1], first + starts[number] if number < frames else None)
            for number in set(numbers)
        }
        return [found[number] for number in numbers]
    every = _walk(read, first, None)
    groups = [every] if frames == 1 else _grouped(read, every, frames)
    return [groups[number - 1] for number in numbers]


def _walk(read: Read, at: int, end: int | None) -> list[Fragment]:
    """The fragments from ``at`` up to ``end``, or up to the delimiter."""
    found: list[Fragment] = []
    while end is None or at < end:
        head = read(at, 8)
        if len(head) == 8 and head[:4] == _ITEM and len(found) < _MOST_FRAGMENTS:
            length = int(struct.unpack_from("<I", head, 4)[0])
            found.append(Fragment(at + 8, length))
            at += 8 + length
        elif end is None and head[:4] == _DELIMITER:
            break
        else:
            raise _lost()
    if not found:
        raise _lost()
    return found


def _grouped(read: Read, every: list[Fragment], frames: int) -> list[list[Fragment]]:
    """Without a table: one fragment a frame, or frames that end where a codestream does."""
    if len(every) == frames:
        return [[fragment] for fragment in every]
    groups: list[list[Fragment]] = [[]]
    for fragment in every:
        groups[-1].append(fragment)
        tail = read(fragment.offset + max(fragment.length - 3, 0), min(fragment.length, 3))
        if tail.endswith(_ENDS):
            groups.append([])
    if not groups[-1]:
        groups.pop()
    if len(groups) != frames:
        raise _lost()
    return groups


def _lost() -> Unprocessable:
    return Unprocessable(
        "The frame can't be found in the encapsulated pixel data; its offset table is missing or wrong.",
        expression="7FE00010",
    )
