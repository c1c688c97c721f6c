"""A data set written anew in another encoding, without looking into its values (PS3.5 chapter 7, annexes A.1 to A.5).

Text, numbers and private values keep their bytes; only headers change, and byte order where the source is big endian.
Sequences and items get undefined lengths, so that nothing is measured before it is written; group lengths go.
"""

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from server.imaging import part10
from server.imaging.dataset import UNDEFINED, DatasetReader, Limits

#: PS3.5 table 7.1-1: VRs with two reserved bytes and a 32-bit length.
_LONG = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
_ITEM, _ITEM_END, _SEQUENCE_END, _TRAILING_PADDING = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD, 0xFFFCFFFC
_PAIR = struct.Struct("<HHI")
_SHORT_HEADER, _LONG_HEADER = struct.Struct("<HH2sH"), struct.Struct("<HH2sHI")


@dataclass(frozen=True, kw_only=True, slots=True)
class Element:
    """A value in place of what the data set has."""

    vr: str
    #: In little endian, of even length; encapsulated pixel data from the first item to the delimiter.
    value: bytes
    encapsulated: bool = False


@dataclass(slots=True)
class _Writer:
    """Takes note of what a reader reads and writes it down again."""

    explicit: bool
    #: By tag, those of the outermost level; None takes the element away.
    changes: Mapping[int, Element | None]
    out: bytearray = field(default_factory=bytearray)
    #: Whether an item is open, for each sequence that is open.
    _open: list[bool] = field(default_factory=list)
    #: Depth inside a sequence that is taken away or written anew.
    _skipped: int = 0
    _pending: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self._pending = sorted((tag for tag, element in self.changes.items() if element is not None), reverse=True)

    def value(self, tag: int, vr: str, raw: bytes) -> None:
        """One element of the source."""
        if self._skipped:
            return
        if not self._open:
            self.insert(tag)
            if tag in self.changes:
                return
        if tag != _TRAILING_PADDING:
            self._header(tag, vr, len(raw))
            self.out += raw

    def mark(self, tag: int) -> None:
        """The start of a sequence or item, or a sequence's end."""
        if self._skipped or (not self._open and tag in self.changes):
            self._skip(tag)
        elif tag == _ITEM:
            self._close_item()
            self._open[-1] = True
            self.out += _PAIR.pack(0xFFFE, 0xE000, UNDEFINED)
        elif tag == _SEQUENCE_END:
            self._close_item()
            self._open.pop()
            self.out += _PAIR.pack(0xFFFE, 0xE0DD, 0)
        else:
            if not self._open:
                self.insert(tag)
            self._header(tag, "SQ", UNDEFINED)
            self._open.append(False)

    def _skip(self, tag: int) -> None:
        if tag != _ITEM:
            self._skipped += -1 if tag == _SEQUENCE_END else 1
            self.insert(tag if tag != _SEQUENCE_END else 0)

    def insert(self, before: int) -> None:
        """Writes the changed elements that come before this tag."""
        while self._pending and self._pending[-1] <= before:
            tag = self._pending.pop()
            element = self.changes[tag]
            if element is not None:
                self._header(tag, element.vr, UNDEFINED if element.encapsulated else len(element.value))
                self.out += element.value

    def _close_item(self) -> None:
        if self._open[-1]:
            self._open[-1] = False
            self.out += _PAIR.pack(0xFFFE, 0xE00D, 0)

    def _header(self, tag: int, vr: str, length: int) -> None:
        group, number = tag >> 16, tag & 0xFFFF
        if not self.explicit:
            self.out += _PAIR.pack(group, number, length)
        elif vr in _LONG or length > 0xFFFF:
            # A value too long for its VR's length field is written as UN (PS3.5 6.2.2, note 1).
            vr = vr if vr in _LONG else "UN"
            self.out += _LONG_HEADER.pack(group, number, vr.encode("ascii"), 0, length)
        else:
            self.out += _SHORT_HEADER.pack(group, number, vr.encode("ascii"), length)


def write(reader: "Source", changes: Mapping[int, Element | None], target: str) -> bytes:
    """The data set as ``target`` encodes it, with ``changes``; deflated where that is asked for."""
    writer = _Writer(explicit=target != part10.IMPLICIT_LITTLE, changes=changes)
    dataset = DatasetReader(reader.buffer, Limits(), big_endian=reader.big_endian, digest=writer, opens_private=False)
    dataset.read(reader.start, len(reader.buffer), explicit=reader.explicit)
    writer.insert(UNDEFINED)
    if target != part10.DEFLATED:
        return bytes(writer.out)
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    body = deflater.compress(writer.out) + deflater.flush()
    # PS3.5 A.5: padded to even length.
    return body + b"\0" * (len(body) & 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Where a data set is and how it is encoded; deflated ones are inflated before."""

    buffer: bytes
    start: int
    explicit: bool
    big_endian: bool
