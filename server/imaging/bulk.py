"""Bulk data of stored instances: values and frames, as names of stored bytes where they can go as they are."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, replace

from server.errors import NotFound, Unprocessable
from server.imaging import frames, guard
from server.imaging.dataset import UNDEFINED, Attributes, Span, swapped
from server.imaging.encapsulated import Fragment, fragments, offsets
from server.imaging.frames import MOST_FRAMES, PixelFormat
from server.imaging.guard import GuardLimits
from server.imaging.part10 import DEFLATED, EXPLICIT_BIG
from server.imaging.retrieve import Retrieve, Spans
from server.imaging.stored import Piece, Stored
from server.imaging.transfer_syntax import media_type
from server.security.access import Access
from server.store.studies import Located

#: Pixel Data, Float Pixel Data, Double Float Pixel Data.
PIXELS = ("7FE00010", "7FE00008", "7FE00009")
#: Bytes that are read together while fragments are looked for.
_AHEAD = 1 << 12
#: Fragments of one frame that may be read one by one, and bytes that more of them may have to be read at once.
_APART, _TOGETHER = 64, 16 << 20
#: Bytes of one number by VR (PS3.5 7.3), for the swap from big endian.
_WIDTH = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}


@dataclass(frozen=True, kw_only=True, slots=True)
class Value:
    """One value; encapsulated ones have none: they are given frame by frame."""

    vr: str
    pieces: tuple[Piece, ...]
    encapsulated: bool


class Bulk:
    """The bulk data of one instance."""

    def __init__(self, retrieve: Retrieve, access: Access, located: Located) -> None:
        self._retrieve = retrieve
        self._access = access
        self._located = located
        self._spans: Spans | None = None

    def values(self) -> dict[str, Value]:
        """Every value that metadata refer to, by path."""
        return {path: self._value(span) for path, span in self._found().by_path.items()}

    def value(self, path: str) -> Value:
        """The value that a BulkDataURI names; raises NotFound."""
        # Big-endian bytes are turned round by their VR, which the index does not know.
        known = path == "7FE00010" and self._located.transfer_syntax != EXPLICIT_BIG
        span = (self._pixel_span() if known else None) or self._found().by_path.get(path)
        if span is None:
            raise NotFound("The instance has no such bulk data; take the BulkDataURI from its metadata.")
        return self._value(span)

    def frames(self, header: Attributes, numbers: Sequence[int] = ()) -> list[tuple[Piece, ...]]:
        """The numbered frames (from 1; none: all) as they are stored, native ones in little endian.

        Raises NotFound beyond the last, Unprocessable where the instance has no frames that can be told apart.
        """
        layout = frames.pixel_format(header)
        if media_type(self._located.transfer_syntax).startswith("video/"):
            # A film is one stream, however many frames it shows.
            layout = replace(layout, frames=1)
        numbers = numbers or range(1, layout.frames + 1)
        if len(numbers) > MOST_FRAMES:
            raise Unprocessable(f"Name frames: more than {MOST_FRAMES} are not given at once.", expression="frames")
        if not 1 <= min(numbers) <= max(numbers) <= layout.frames:
            raise NotFound(f"There are only frames 1 to {layout.frames}.", expression="frames")
        span = self._pixel_span() or next(
            (self._found().by_path[tag] for tag in PIXELS if tag in self._found().by_path), None
        )
        if span is None:
            raise NotFound("The instance has no pixel data.", expression="7FE00010")
        if span.length != UNDEFINED:
            vr = str(header.get("7FE00010", {}).get("vr", span.vr))
            return [(self._native(span, layout, number, vr),) for number in numbers]
        starts = self._starts(header) if layout.frames > 1 else ()
        found = fragments(self._reader(span), layout.frames, numbers, starts)
        return [self._pieces(span, parts) for parts in found]

    def _pieces(self, span: Span, parts: Sequence[Fragment]) -> tuple[Piece, ...]:
        """The fragments of one frame; very many small ones are read together."""
        start, end = parts[0].offset, parts[-1].offset + parts[-1].length
        if len(parts) <= _APART or end - start > _TOGETHER:
            return tuple(self._piece(span, part) for part in parts)
        whole = self.content(self._piece(span, Fragment(start, end - start)))
        return (b"".join(whole[part.offset - start : part.offset - start + part.length] for part in parts),)

    def _found(self) -> Spans:
        if self._spans is None:
            self._spans = self._retrieve.spans(self._access, self._located)
        return self._spans

    def _pixel_span(self) -> Span | None:
        """Where the index says that the pixel data are: most requests need no other look at the file."""
        located = self._located
        if located.pixel_offset is None or located.pixel_length is None:
            return None
        return Span(vr="OW", offset=located.pixel_offset, length=located.pixel_length)

    def _value(self, span: Span) -> Value:
        if span.length == UNDEFINED:
            return Value(vr=span.vr, pieces=(), encapsulated=True)
        piece = self._piece(span, Fragment(0, span.length))
        width = _WIDTH.get(span.vr, 1)
        if self._located.transfer_syntax == EXPLICIT_BIG and width > 1:
            piece = swapped(self.content(piece), width)
        return Value(vr=span.vr, pieces=(piece,), encapsulated=False)

    def _native(self, span: Span, layout: PixelFormat, number: int, vr: str) -> Piece:
        start, count, bit = frames.native_span(layout, number, span.length)
        if self._located.transfer_syntax == EXPLICIT_BIG:
            # From a whole word to a whole word, since it is words that are turned round.
            first, last = start & ~1, min(start + count + 1 & ~1, span.length)
            words = self.content(self._piece(span, Fragment(first, last - first)))
            raw = frames.little_endian(words, layout, vr)[start - first : start - first + count]
            return frames.aligned(raw, layout, bit)
        piece = self._piece(span, Fragment(start, count))
        if layout.bits_allocated == 1 and (bit or layout.bits % 8):
            return frames.aligned(self.content(piece), layout, bit)
        return piece

    def _piece(self, span: Span, part: Fragment) -> Piece:
        start = span.offset + part.offset
        if self._located.transfer_syntax == DEFLATED:
            return (self._found().inflated or b"")[start : start + part.length]
        return Stored(self._located.pack, self._located.pack_offset + start, part.length)

    def content(self, piece: Piece) -> bytes:
        """The bytes that a piece stands for."""
        return self._retrieve.content(self._access, piece)

    def _reader(self, span: Span) -> "_Value":
        return _Value(self._retrieve, self._access, self._located, span.offset)

    def _starts(self, header: Attributes) -> Sequence[int]:
        """The Extended Offset Table (7FE0,0001)."""
        element = header.get("7FE00001", {})
        if "InlineBinary" in element:
            raw = base64.b64decode(element["InlineBinary"])
        elif "BulkDataURI" in element:
            raw = b"".join(self.content(piece) for piece in self.value("7FE00001").pieces)
        else:
            return ()
        return offsets(raw, "Q")


def frames_of_file(file: bytes, numbers: Sequence[int] = ()) -> list[bytes]:
    """The numbered frames (from 1; none: all) of a Part 10 file that we wrote."""
    _meta, reader, header = guard.read(file, 0, len(file), GuardLimits(instance_bytes=len(file)))
    layout, span = frames.pixel_format(header), reader.bulk["7FE00010"]
    numbers = numbers or range(1, layout.frames + 1)

    def read(offset: int, length: int) -> bytes:
        return file[span.offset + offset : span.offset + offset + length]

    if span.length != UNDEFINED:
        return [read(*frames.native_span(layout, number, span.length)[:2]) for number in numbers]
    found = fragments(read, layout.frames, numbers)
    return [b"".join(read(part.offset, part.length) for part in parts) for parts in found]


class _Value:
    """Reads encapsulated pixel data where they are."""

    def __init__(self, retrieve: Retrieve, access: Access, located: Located, start: int) -> None:
        self._retrieve = retrieve
        self._access = access
        self._located = located
        self._start = start
        #: What was read last, and from where: the heads of small fragments lie close together.
        self._window, self._from = b"", 0

    def __call__(self, offset: int, length: int) -> bytes:
        at = offset - self._from
        if at < 0 or at + length > len(self._window):
            self._window, self._from, at = self._read(offset, max(length, _AHEAD)), offset, 0
        return self._window[at : at + length]

    def _read(self, offset: int, length: int) -> bytes:
        at = self._start + offset
        return self._retrieve.read(self._access, self._located, at, max(min(length, self._located.length - at), 0))
