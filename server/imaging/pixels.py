"""Frames and pictures of stored instances: cut out, decoded where that is asked for, rendered."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from io import BytesIO

import pydicom
from pydicom.pixels.processing import apply_color_lut

from dicom_sr import render as report
from dicom_sr.errors import UnreadableReport
from server.errors import NotFound, Unprocessable
from server.imaging import decode, frames, render, transcode
from server.imaging.dataset import UNDEFINED, swapped
from server.imaging.frames import PixelFormat
from server.imaging.part10 import EXPLICIT_BIG, EXPLICIT_LITTLE, NATIVE
from server.imaging.render import Rendering
from server.imaging.retrieve import Retrieve
from server.security.access import Access
from server.store.studies import Located

#: Decodings at once; each holds a frame and what it was made from.
_DECODINGS = 4
#: Storage SOP classes of structured reports start with this (PS3.4 B.5).
_REPORT = "1.2.840.10008.5.1.4.1.1.88."
#: PS3.18 table 8.7.3-5: how frames of a transfer syntax are called when they are given as they are stored.
_MEDIA_TYPES = {
    **dict.fromkeys(decode.JPEG, "image/jpeg"),
    **dict.fromkeys(decode.JPEG_LS, "image/jls"),
    **dict.fromkeys(decode.JPEG_2000, "image/jp2"),
    **dict.fromkeys(decode.HTJ2K, "image/jphc"),
    decode.RLE: "image/dicom-rle",
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{n}" for n in (92, 93)), "image/jpx"),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{n}" for n in (100, 101)), "video/mpeg"),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{n}" for n in range(102, 109)), "video/mp4"),
}


def media_type(transfer_syntax: str) -> str:
    """What a frame is as it is stored."""
    return _MEDIA_TYPES.get(transfer_syntax, "application/octet-stream")


@dataclass(frozen=True, kw_only=True, slots=True)
class Frames:
    """Frames on their way out."""

    media_type: str
    transfer_syntax: str
    parts: Iterator[bytes]


class PixelData:
    """The pixels behind the retrieval door."""

    def __init__(self, retrieve: Retrieve) -> None:
        self._retrieve = retrieve
        self._decoding = threading.BoundedSemaphore(_DECODINGS)

    def frames(self, access: Access, located: Located, numbers: Sequence[int], *, as_stored: bool) -> Frames:
        """The numbered frames (from 1): as they are stored, or as native little endian; NotFound beyond the last."""
        layout = frames.pixel_format(self._retrieve.header(access, located))
        native = located.transfer_syntax in NATIVE
        raw = self._raw(access, located, layout, numbers)
        if native or as_stored:
            syntax = EXPLICIT_LITTLE if native else located.transfer_syntax
            return Frames(media_type=media_type(syntax), transfer_syntax=syntax, parts=raw)
        decoded = (self._decode(frame, located, layout).tobytes() for frame in raw)
        return Frames(media_type="application/octet-stream", transfer_syntax=EXPLICIT_LITTLE, parts=decoded)

    def picture(self, access: Access, located: Located, number: int, wanted: Rendering) -> bytes:
        """One frame as an image file."""
        header = self._retrieve.header(access, located)
        layout = frames.pixel_format(header)
        raw = next(self._raw(access, located, layout, [number]))
        if located.transfer_syntax in NATIVE:
            pixels = decode.native(raw, layout)
        else:
            pixels = self._decode(raw, located, layout)
            layout = transcode.decoded_format(located.transfer_syntax, layout)
        if layout.photometric == "PALETTE COLOR":
            pixels, layout = self._coloured(access, located, pixels, layout)
        return render.picture(pixels, layout, header, wanted)

    def explicit_little(self, access: Access, located: Located) -> bytes:
        """The instance as a file in Explicit VR Little Endian."""
        header = self._retrieve.header(access, located)
        layout = frames.pixel_format(header) if "7FE00010" in header else None
        with self._decoding:
            return transcode.to_explicit_little(self._retrieve.file(access, located), located.transfer_syntax, layout)

    def report(self, access: Access, located: Located, *, html: bool) -> str:
        """A structured report for people; raises Unprocessable for what is none, or can't be read."""
        if not is_report(located):
            raise Unprocessable("Only structured reports are rendered as text.", expression="00080016")
        dataset = pydicom.dcmread(BytesIO(self._retrieve.file(access, located)))
        try:
            return report.as_html(dataset) if html else report.as_text(dataset)
        except UnreadableReport as error:
            raise Unprocessable(f"The report can't be read: {error}", expression="0040A730") from error

    def _decode(self, frame: bytes, located: Located, layout: PixelFormat) -> decode.Pixels:
        with self._decoding:
            return decode.decode(frame, located.transfer_syntax, layout)

    def _coloured(
        self, access: Access, located: Located, pixels: decode.Pixels, layout: PixelFormat
    ) -> tuple[decode.Pixels, PixelFormat]:
        dataset = pydicom.dcmread(BytesIO(self._retrieve.file(access, located)), stop_before_pixels=True)
        try:
            coloured = apply_color_lut(pixels, dataset)
        except (ValueError, AttributeError, KeyError, IndexError) as error:
            raise Unprocessable("The palette's lookup tables are damaged.", expression="00281101") from error
        bits = coloured.dtype.itemsize * 8
        return coloured, replace(layout, samples=3, photometric="RGB", bits_stored=bits)

    def _raw(self, access: Access, located: Located, layout: PixelFormat, numbers: Sequence[int]) -> Iterator[bytes]:
        """The frames as they are stored, native ones in little endian; checks every number before the first."""
        highest, lowest = max(numbers, default=1), min(numbers, default=1)
        if not 1 <= lowest <= highest <= layout.frames:
            raise NotFound(f"There are only frames 1 to {layout.frames}.", expression="frames")
        if located.pixel_length is not None and located.pixel_length != UNDEFINED and located.pixel_offset is not None:
            return self._native(access, located, layout, numbers)
        value, start, length = self._retrieve.pixels(access, located)
        if length != UNDEFINED:
            return (_cut(value, start, length, layout, number) for number in numbers)
        offsets = self._extended_offsets(access, located)
        return (frames.encapsulated(value, layout, number, offsets) for number in numbers)

    def _native(self, access: Access, located: Located, layout: PixelFormat, numbers: Sequence[int]) -> Iterator[bytes]:
        """Each frame by a ranged read."""
        base, length = located.pixel_offset or 0, located.pixel_length or 0
        width = layout.bits_allocated // 8
        frames.native_span(layout, max(numbers), length)
        for number in numbers:
            start, count, bit = frames.native_span(layout, number, length)
            raw = b"".join(self._retrieve.stream(access, located, base + start, count))
            raw = frames.aligned(raw, layout, bit)
            yield swapped(raw, width) if located.transfer_syntax == EXPLICIT_BIG and width > 1 else raw

    def _extended_offsets(self, access: Access, located: Located) -> tuple[bytes, bytes] | None:
        """The Extended Offset Table (7FE0,0001) and its lengths (7FE0,0002), where the instance has them."""
        header = self._retrieve.header(access, located)
        if "7FE00001" not in header or "7FE00002" not in header:
            return None
        file = BytesIO(self._retrieve.file(access, located))
        tables = pydicom.dcmread(file, specific_tags=[0x7FE00001, 0x7FE00002])
        return bytes(tables[0x7FE00001].value), bytes(tables[0x7FE00002].value)


def _cut(value: bytes, base: int, length: int, layout: PixelFormat, number: int) -> bytes:
    start, count, bit = frames.native_span(layout, number, length)
    return frames.aligned(value[base + start : base + start + count], layout, bit)


def is_report(located: Located) -> bool:
    """Whether the instance is a structured report."""
    return located.sop_class.startswith(_REPORT)
