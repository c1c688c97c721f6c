"""The frames of an instance, as they are stored (PS3.3 C.7.6.3, PS3.5 8.2 and A.4)."""

from dataclasses import dataclass

import numpy as np

from server.errors import NotFound, Unprocessable
from server.imaging import attributes as read
from server.imaging.dataset import Attributes, swapped

#: Largest native frame that anybody is given, bytes.
MAX_FRAME = 512 << 20
#: Frames that are looked for together.
MOST_FRAMES = 1 << 18
#: Float and Double Float Pixel Data.
FLOATING = ("7FE00008", "7FE00009")


@dataclass(frozen=True, kw_only=True, slots=True)
class PixelFormat:
    """How the pixels of an instance are laid out (PS3.3 C.7.6.3.1)."""

    rows: int
    columns: int
    samples: int
    bits_allocated: int
    bits_stored: int
    signed: bool
    #: Planes one after the other instead of samples side by side.
    planar: bool
    photometric: str
    frames: int

    @property
    def bits(self) -> int:
        """Bits of one native frame."""
        samples = 2 if self.subsampled else self.samples
        return self.rows * self.columns * samples * self.bits_allocated

    @property
    def subsampled(self) -> bool:
        """Whether native pixels share their colour by pairs (PS3.3 C.7.6.3.1.2, YBR_FULL_422)."""
        return self.samples == 3 and self.photometric.endswith("_422")

    @property
    def size(self) -> int:
        """Bytes of one native frame."""
        return (self.bits + 7) // 8


def pixel_format(header: Attributes) -> PixelFormat:
    """The layout that the header declares; raises Unprocessable where it is incomplete or beyond the limit."""
    rows, columns = (read.integer(header, key) for key in ("00280010", "00280011"))
    allocated = read.integer(header, "00280100")
    samples = read.integer(header, "00280002") or 1
    if not rows or not columns or allocated not in (1, 8, 16, 32, 64) or samples not in (1, 3, 4):
        raise Unprocessable(
            "Rows, Columns, Bits Allocated and Samples per Pixel don't describe an image.", expression="00280100"
        )
    found = PixelFormat(
        rows=rows,
        columns=columns,
        samples=samples,
        bits_allocated=allocated,
        bits_stored=read.integer(header, "00280101") or allocated,
        signed=read.integer(header, "00280103") == 1,
        planar=read.integer(header, "00280006") == 1,
        photometric=read.text(header, "00280004"),
        frames=max(read.integer(header, "00280008") or 1, 1),
    )
    if found.size > MAX_FRAME:
        raise Unprocessable(f"A frame of {found.size} bytes is beyond the limit of {MAX_FRAME}.", expression="00280010")
    return found


def native_span(layout: PixelFormat, number: int, length: int) -> tuple[int, int, int]:
    """First byte, number of bytes and first bit of frame ``number`` (from 1) in ``length`` bytes of pixel data."""
    _check(number, layout)
    first = (number - 1) * layout.bits
    start, bit = divmod(first, 8)
    count = (bit + layout.bits + 7) // 8
    if start + count > length:
        raise Unprocessable("The pixel data are shorter than Rows, Columns and frames declare.", expression="7FE00010")
    return start, count, bit


def aligned(raw: bytes, layout: PixelFormat, bit: int) -> bytes:
    """A frame of single bits that starts inside a byte, moved to start at one (PS3.5 8.1.1: lowest bit first)."""
    if layout.bits_allocated != 1 or (bit == 0 and layout.bits % 8 == 0):
        return raw
    bits = np.unpackbits(np.frombuffer(raw, np.uint8), bitorder="little")[bit : bit + layout.bits]
    return np.packbits(bits, bitorder="little").tobytes()


def little_endian(raw: bytes, layout: PixelFormat, vr: str) -> bytes:
    """Big-endian native pixels turned round: by pixel, or by OW's words where pixels are smaller."""
    if layout.bits_allocated > 8:
        return swapped(raw, layout.bits_allocated // 8)
    return swapped(raw, 2) if vr == "OW" else raw


def _check(number: int, layout: PixelFormat) -> None:
    if not 1 <= number <= layout.frames:
        raise NotFound(f"There is no frame {number}; the instance has {layout.frames}.", expression="frames")
