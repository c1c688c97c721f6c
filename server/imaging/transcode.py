"""An instance in Explicit VR Little Endian, whatever it is stored in (PS3.5 annex A.2, PS3.18 8.7.3.5.2)."""

import struct
from dataclasses import replace
from io import BytesIO

import pydicom
from pydicom.uid import ExplicitVRLittleEndian

from server.errors import NotAcceptable
from server.imaging import decode, frames
from server.imaging.frames import PixelFormat
from server.imaging.part10 import EXPLICIT_BIG, NATIVE

#: Largest native pixel data that a transcoding may make, bytes.
MOST_DECODED = 1 << 30
#: What pydicom raises where a header breaks the standard in a way that only writing shows.
_UNWRITABLE = (ValueError, TypeError, KeyError, AttributeError, OverflowError, NotImplementedError, struct.error)


def decoded_format(transfer_syntax: str, layout: PixelFormat) -> PixelFormat:
    """The layout of decoded frames: JPEG and JPEG 2000 decoders turn YCbCr into RGB, the others keep the colours."""
    turned = layout.samples > 1 and transfer_syntax in decode.JPEG | decode.JPEG_2000 | decode.HTJ2K
    return replace(layout, photometric="RGB" if turned else layout.photometric, planar=False)


def to_explicit_little(file: bytes, transfer_syntax: str, layout: PixelFormat | None) -> bytes:
    """The Part 10 file transcoded; ``layout`` is None without pixels.

    Raises NotAcceptable for what is given as it is stored only: video, big-endian pixels, and what grows too large.
    """
    if transfer_syntax == EXPLICIT_BIG and layout is not None:
        raise NotAcceptable("Big-endian pixels are given as they are stored only; ask for transfer-syntax=*.")
    try:
        if transfer_syntax not in NATIVE and layout is not None:
            return _decoded(file, transfer_syntax, layout)
        return _written(pydicom.dcmread(BytesIO(file)))
    except _UNWRITABLE as error:
        raise NotAcceptable(
            "The instance holds values that can't be written anew; ask for transfer-syntax=*."
        ) from error


def _decoded(file: bytes, transfer_syntax: str, layout: PixelFormat) -> bytes:
    if transfer_syntax not in decode.DECODABLE or layout.size * layout.frames > MOST_DECODED:
        raise NotAcceptable("This instance is given as it is stored only; ask for transfer-syntax=*.")
    dataset = pydicom.dcmread(BytesIO(file))
    tables = dataset.get("ExtendedOffsetTable"), dataset.get("ExtendedOffsetTableLengths")
    offsets = tables if all(tables) else None
    value = dataset.PixelData
    parts = [
        decode.decode(frames.encapsulated(value, layout, number, offsets), transfer_syntax, layout).tobytes()
        for number in range(1, layout.frames + 1)
    ]
    pixels = b"".join(parts)
    dataset.PixelData = pixels + b"\0" * (len(pixels) & 1)
    dataset["PixelData"].VR = "OB" if layout.bits_allocated <= 8 else "OW"
    dataset["PixelData"].is_undefined_length = False
    if layout.samples > 1:
        dataset.PlanarConfiguration = 0
        dataset.PhotometricInterpretation = decoded_format(transfer_syntax, layout).photometric
    for keyword in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
        if keyword in dataset:
            del dataset[keyword]
    return _written(dataset)


def _written(dataset: pydicom.Dataset) -> bytes:
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    out = BytesIO()
    dataset.save_as(out, implicit_vr=False, little_endian=True, enforce_file_format=True)
    return out.getvalue()
