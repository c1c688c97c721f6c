"""One compressed frame to its pixels (PS3.5 annex A.4); what the codestream claims is checked before it is decoded."""

import re
import struct
from dataclasses import replace
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from server.errors import NotAcceptable, Unprocessable
from server.imaging.frames import PixelFormat
from server.imaging.transfer_syntax import DECODABLE, HTJ2K_LOSSLESS, HTJ2K_RPCL, JPEG, JPEG_DCT, JPEG_LS, RLE

Pixels = NDArray[Any]

#: Two bytes of RLE make at most 128 (PS3.5 G.3.1).
_RLE_RATIO = 64
#: Start of frame of JPEG and JPEG-LS, and image and tile size of JPEG 2000.
_SOF = re.compile(rb"\xff[\xc0-\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf\xf7]", re.DOTALL)
_SIZ = b"\xff\x4f\xff\x51"
#: Adobe's marker of colours, whole (ISO/IEC 10918-6, 6.5.3): some encoders write something like it.
_APP14 = re.compile(rb"\xff\xee\x00\x0eAdobe.{6}[\x00\x01]", re.DOTALL)


def decoded_format(transfer_syntax: str, layout: PixelFormat) -> PixelFormat:
    """The layout of frames as they come from ``decode`` or ``native``: samples side by side, a colour to each pixel."""
    photometric = layout.photometric
    if layout.samples == 3:
        if transfer_syntax in JPEG_DCT or photometric in ("YBR_RCT", "YBR_ICT"):
            photometric = "RGB"
        elif photometric.endswith("_422"):
            photometric = "YBR_FULL"
    return replace(layout, photometric=photometric, planar=False)


def decode(frame: bytes, transfer_syntax: str, layout: PixelFormat) -> Pixels:
    """Rows x columns (x samples) pixels, samples side by side; raises Unprocessable, or NotAcceptable for video."""
    if transfer_syntax == RLE:
        return _rle(frame, layout)
    if transfer_syntax not in DECODABLE:
        raise NotAcceptable("Frames of this transfer syntax are given as they are stored only; ask for it by name.")
    _check_claim(frame, transfer_syntax, layout)
    try:
        pixels = _codec(transfer_syntax)(frame, **_colours(frame, transfer_syntax, layout))
    except (imagecodecs.DelayedImportError, RuntimeError, ValueError) as error:
        raise Unprocessable("The frame can't be decoded; it is damaged.", expression="7FE00010") from error
    expected = (layout.rows, layout.columns) + ((layout.samples,) if layout.samples > 1 else ())
    if pixels.shape != expected:
        raise Unprocessable("The frame has another size than Rows and Columns say.", expression="00280010")
    return _typed(pixels, layout)


def _codec(transfer_syntax: str) -> Any:
    if transfer_syntax in JPEG:
        return imagecodecs.jpeg8_decode
    if transfer_syntax in (HTJ2K_LOSSLESS, HTJ2K_RPCL):
        # The faster one; it does not clip what lossy frames overshoot.
        return imagecodecs.htj2k_decode
    return imagecodecs.jpegls_decode if transfer_syntax in JPEG_LS else imagecodecs.jpeg2k_decode


def _colours(frame: bytes, transfer_syntax: str, layout: PixelFormat) -> dict[str, str]:
    """RGB stays RGB: a JPEG decoder takes three components for YCbCr unless an Adobe marker says more."""
    if transfer_syntax not in JPEG or layout.samples != 3:
        return {}
    plain = layout.photometric == "RGB" and not _APP14.search(frame, 0, 1024)
    return {"colorspace": "RGB", "outcolorspace": "RGB"} if plain or transfer_syntax not in JPEG_DCT else {}


def _typed(pixels: Pixels, layout: PixelFormat) -> Pixels:
    """As the header types them: a codec knows no sign that JPEG does not carry."""
    kind = np.dtype(f"{'i' if layout.signed else 'u'}{max(layout.bits_allocated // 8, 1)}")
    if pixels.dtype == kind or pixels.dtype.kind == kind.kind:
        return pixels.astype(kind, copy=False)
    if not layout.signed:
        return pixels.astype(kind)
    # Bits above the stored ones repeat the sign or are nothing; shifting there and back repeats it anew.
    spare = kind.itemsize * 8 - layout.bits_stored
    return np.asarray(pixels.astype(kind) << spare >> spare, kind)


def _check_claim(frame: bytes, transfer_syntax: str, layout: PixelFormat) -> None:
    """The codestream's own size against Rows and Columns, before memory is taken by it."""
    if transfer_syntax in JPEG | JPEG_LS:
        found = _SOF.search(frame)
        size = struct.unpack_from(">HH", frame, found.start() + 5) if found and found.start() + 9 <= len(frame) else ()
    else:
        at = frame.find(_SIZ)
        size = ()
        if at >= 0 and at + 24 <= len(frame):
            right, bottom, left, top = struct.unpack_from(">IIII", frame, at + 8)
            size = (bottom - top, right - left)
    if size != (layout.rows, layout.columns):
        raise Unprocessable("The frame's own size is not what Rows and Columns say.", expression="00280010")


def _rle(frame: bytes, layout: PixelFormat) -> Pixels:
    """PS3.5 annex G: a segment for each byte of each sample, the highest byte first."""
    width = layout.bits_allocated // 8
    count = layout.samples * width
    if layout.size > _RLE_RATIO * max(len(frame), 64) or len(frame) < 64 or not width:
        raise _damaged()
    segments, *offsets = struct.unpack_from("<16I", frame)
    bounds = [*offsets[:count], len(frame)]
    if segments != count or count > 15 or bounds != sorted(bounds) or bounds[0] < 64:
        raise _damaged()
    planes = [_segment(frame[bounds[i] : bounds[i + 1]], layout.rows * layout.columns) for i in range(count)]
    samples = [np.stack(planes[at : at + width][::-1], axis=-1) for at in range(0, count, width)]
    return native(np.stack(samples).tobytes(), layout, planar=True)


def _segment(raw: bytes, size: int) -> NDArray[np.uint8]:
    try:
        pixels = np.frombuffer(imagecodecs.packbits_decode(raw), np.uint8)
    except (imagecodecs.PackbitsError, ValueError) as error:
        raise _damaged() from error
    # A padding byte may have made one value more of the end (G.3.1).
    if len(pixels) < size:
        raise _damaged()
    return pixels[:size]


def _damaged() -> Unprocessable:
    return Unprocessable("The RLE frame is damaged, or too short for Rows and Columns.", expression="7FE00010")


def native(raw: bytes, layout: PixelFormat, *, planar: bool | None = None, floating: bool = False) -> Pixels:
    """Native bytes as pixels, samples side by side; raises Unprocessable where there are too few.

    ``floating``: they are Float or Double Float Pixel Data (PS3.3 C.7.6.24, C.7.6.25).
    """
    if len(raw) < layout.size:
        raise Unprocessable("The pixel data are shorter than Rows and Columns declare.", expression="7FE00010")
    if layout.bits_allocated == 1:
        bits = np.unpackbits(np.frombuffer(raw, np.uint8), bitorder="little")
        return bits[: layout.rows * layout.columns].reshape(layout.rows, layout.columns)
    kind = np.dtype(f"<{'f' if floating else 'i' if layout.signed else 'u'}{layout.bits_allocated // 8}")
    pixels: Pixels = np.frombuffer(raw[: layout.size], kind)
    if layout.samples == 1:
        return pixels.reshape(layout.rows, layout.columns)
    if layout.subsampled and planar is None:
        pairs = pixels.reshape(layout.rows, layout.columns // 2, 4)
        return pairs[..., [[0, 2, 3], [1, 2, 3]]].reshape(layout.rows, layout.columns, 3)
    if layout.planar if planar is None else planar:
        return np.moveaxis(pixels.reshape(layout.samples, layout.rows, layout.columns), 0, -1)
    return pixels.reshape(layout.rows, layout.columns, layout.samples)
