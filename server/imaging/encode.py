"""Pixels to one compressed frame, and frames to encapsulated pixel data (PS3.5 annex A.4)."""

import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import imagecodecs
import jpeg_ls
import numpy as np
import rle

from server.errors import NotAcceptable
from server.imaging.decode import Pixels
from server.imaging.frames import PixelFormat
from server.imaging.transfer_syntax import (
    DECODABLE,
    HTJ2K,
    HTJ2K_ANY,
    HTJ2K_RPCL,
    JPEG,
    JPEG_2000,
    JPEG_2000_ANY,
    JPEG_BASELINE,
    JPEG_EXTENDED,
    JPEG_LS,
    JPEG_LS_NEAR,
    LOSSY,
    RLE,
)

#: Transfer syntax -> Lossy Image Compression Method (0028,2114), PS3.3 C.7.6.1.1.5.1.
METHODS = {
    JPEG_BASELINE: "ISO_10918_1",
    JPEG_EXTENDED: "ISO_10918_1",
    JPEG_LS_NEAR: "ISO_14495_1",
    JPEG_2000_ANY: "ISO_15444_1",
    HTJ2K_ANY: "ISO_15444_15",
}
#: Largest difference of a value that near-lossless JPEG-LS may make.
_NEAR = 2
#: Frames of fewer samples may grow by being encoded.
_SMALL = 4096
#: Quality of JPEG, 1 to 100; what JPEG 2000 and HTJ2K may be off on average, as a part of the frame's range of values.
_JPEG_QUALITY, _TOLERANCE = 90, 1 / 512
_ITEM, _DELIMITER = struct.Struct("<HHI"), struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Encapsulated:
    """Frames as the value of Pixel Data, and the tables that their number of bytes may need."""

    value: bytes
    #: Extended Offset Table (7FE0,0001) and its lengths (7FE0,0002); empty where the basic table does.
    offsets: bytes = b""
    lengths: bytes = b""


def encoded_format(target: str, layout: PixelFormat) -> PixelFormat:
    """How the header describes decoded pixels once they are encoded; raises NotAcceptable where they can't be."""
    if target not in DECODABLE:
        raise NotAcceptable("Nothing is encoded in this transfer syntax here; ask for transfer-syntax=*.")
    deepest = {RLE: 32, JPEG_BASELINE: 8, JPEG_EXTENDED: 12}.get(target, 16)
    depth = layout.bits_allocated if target == RLE else layout.bits_stored
    if depth > deepest or layout.bits_allocated < 8 or layout.samples not in (1, 3):
        raise NotAcceptable(f"Pixels of {depth} bits don't go into this transfer syntax; ask for transfer-syntax=*.")
    if target in (JPEG_BASELINE, JPEG_EXTENDED) and layout.signed:
        raise NotAcceptable("Signed pixels don't go into this transfer syntax; ask for transfer-syntax=*.")
    if target in LOSSY and layout.photometric == "PALETTE COLOR":
        raise NotAcceptable("Numbers of a palette can't lose anything; ask for a lossless transfer syntax.")
    photometric = layout.photometric
    if layout.samples == 3 and photometric == "RGB":
        if target in JPEG_2000 | HTJ2K:
            photometric = "YBR_ICT" if target in LOSSY else "YBR_RCT"
        elif target in LOSSY and target in JPEG:
            photometric = "YBR_FULL_422"
    # PS3.5 8.2.2: RLE keeps its planes apart.
    return replace(layout, photometric=photometric, planar=target == RLE and layout.samples > 1)


def encode(pixels: Pixels, target: str, layout: PixelFormat) -> bytes:
    """One frame, samples side by side, in the transfer syntax; of even length."""
    kind = next(codec for syntaxes, codec in _CODECS if target in syntaxes)
    frame = kind(np.ascontiguousarray(pixels), target, layout)
    return frame + b"\0" * (len(frame) & 1)


def encapsulate(frames: Sequence[bytes]) -> Encapsulated:
    """A fragment for each frame behind a basic offset table, or extended ones where offsets outgrow it (A.4)."""
    starts, at = [], 0
    for frame in frames:
        starts.append(at)
        at += len(frame) + _ITEM.size
    extended = at > 0xFFFFFFFF
    basic = b"" if extended else struct.pack(f"<{len(starts)}I", *starts)
    parts = [_ITEM.pack(0xFFFE, 0xE000, len(basic)), basic]
    for frame in frames:
        parts += [_ITEM.pack(0xFFFE, 0xE000, len(frame)), frame]
    value = b"".join([*parts, _DELIMITER])
    if not extended:
        return Encapsulated(value=value)
    return Encapsulated(
        value=value,
        offsets=struct.pack(f"<{len(starts)}Q", *starts),
        lengths=struct.pack(f"<{len(frames)}Q", *(len(frame) for frame in frames)),
    )


def _rle(pixels: Pixels, _target: str, layout: PixelFormat) -> bytes:
    return bytes(
        rle.utils.encode_pixel_data(
            pixels.tobytes(), rows=layout.rows, columns=layout.columns, samples_per_pixel=layout.samples,
            bits_allocated=layout.bits_allocated, byteorder="<",
        )
    )  # fmt: skip


def _unsigned(pixels: Pixels, layout: PixelFormat) -> tuple[Pixels, int]:
    """Two's complement as its bits, which is all that JPEG and JPEG-LS know, and how many bits there are."""
    plain = pixels.view(np.dtype(f"u{pixels.dtype.itemsize}"))
    bits = layout.bits_stored
    if layout.signed:
        low, high = int(pixels.min()), int(pixels.max())
        bits = bits if -(1 << (bits - 1)) <= low and high < 1 << (bits - 1) else layout.bits_allocated
        return plain & plain.dtype.type((1 << bits) - 1), bits
    # Bits above the stored ones, e.g. an overlay's, belong to what has to come back.
    return plain, bits if int(plain.max()) < 1 << bits else layout.bits_allocated


def _jpeg(pixels: Pixels, target: str, layout: PixelFormat) -> bytes:
    plain, bits = _unsigned(pixels, layout)
    colour = layout.samples == 3
    options: dict[str, Any]
    if target in LOSSY:
        options = {"level": _JPEG_QUALITY, "bitspersample": 8 if bits <= 8 else 12}
        if colour:
            inner = "YCBCR" if layout.photometric in ("RGB", "YBR_FULL") else "RGB"
            outer = "YCBCR" if layout.photometric == "YBR_FULL" else "RGB"
            options |= {"colorspace": outer, "outcolorspace": inner, "subsampling": "422"}
        return bytes(imagecodecs.jpeg8_encode(plain, **options))
    options = {"lossless": True, "predictor": 1, "bitspersample": max(bits, 2)}
    if colour:
        options |= {"colorspace": "RGB", "outcolorspace": "RGB"}
    return bytes(imagecodecs.jpeg8_encode(plain, **options))


def _jpeg_ls(pixels: Pixels, target: str, layout: PixelFormat) -> bytes:
    plain, bits = _unsigned(pixels, layout)
    if target in LOSSY and layout.signed:
        raise NotAcceptable("Signed pixels don't go into near-lossless JPEG-LS; ask for transfer-syntax=*.")
    near = _NEAR if target in LOSSY else 0
    if plain.size < _SMALL:
        # The other encoder's buffer is too short for frames that grow.
        return bytes(imagecodecs.jpegls_encode(plain, level=near, out=plain.nbytes * 2 + _SMALL))
    return bytes(
        jpeg_ls.encode_pixel_data(
            plain.tobytes(), lossy_error=near, rows=layout.rows, columns=layout.columns,
            samples_per_pixel=layout.samples, bits_stored=max(bits, 2), planar_configuration=0,
        )
    )  # fmt: skip


def _jpeg_2000(pixels: Pixels, target: str, layout: PixelFormat) -> bytes:
    bits = layout.bits_stored
    if layout.signed:
        low, high = int(pixels.min()), int(pixels.max())
        bits = bits if -(1 << (bits - 1)) <= low and high < 1 << (bits - 1) else layout.bits_allocated
    elif int(pixels.max()) >= 1 << bits:
        bits = layout.bits_allocated
    mct = layout.photometric == "RGB"
    # Fewer resolutions where the picture is too small to be halved so often.
    resolutions = max(1, min(6, min(layout.rows, layout.columns).bit_length()))
    options: dict[str, Any] = {
        "codecformat": "J2K",
        "bitspersample": bits,
        "mct": mct,
        "resolutions": resolutions,
        "numthreads": 1,
    }
    if target in LOSSY:
        decibel = 20 * math.log10((1 << bits) / _tolerance(pixels))
        return bytes(imagecodecs.jpeg2k_encode(pixels, level=round(decibel), reversible=False, **options))
    return bytes(imagecodecs.jpeg2k_encode(pixels, level=0, reversible=True, **options))


def _tolerance(pixels: Pixels) -> float:
    return max((int(pixels.max()) - int(pixels.min())) * _TOLERANCE, 0.5)


def _htj2k(pixels: Pixels, target: str, layout: PixelFormat) -> bytes:
    options: dict[str, Any] = {"rgb": layout.photometric == "RGB"} if layout.samples == 3 else {}
    # PS3.5 10.18: as many halvings as bring the lowest resolution down to 64 pixels.
    options["resolutions"] = max(5, (max(layout.rows, layout.columns) - 1).bit_length() - 6)
    if target in LOSSY:
        step = _tolerance(pixels) / (1 << 8 * pixels.dtype.itemsize)
        return bytes(imagecodecs.htj2k_encode(pixels, level=step, reversible=False, **options))
    return bytes(imagecodecs.htj2k_encode(pixels, reversible=True, tlm=target == HTJ2K_RPCL, **options))


_CODECS: tuple[tuple[frozenset[str], Callable[[Pixels, str, PixelFormat], bytes]], ...] = (
    (frozenset({RLE}), _rle),
    (JPEG, _jpeg),
    (JPEG_LS, _jpeg_ls),
    (JPEG_2000, _jpeg_2000),
    (HTJ2K, _htj2k),
)
