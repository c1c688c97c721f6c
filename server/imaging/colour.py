"""Pixels in colour, as red, green and blue of eight bits (PS3.3 C.7.6.3.1.2, C.7.6.3.1.5, C.10.7.1.1)."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from server.errors import Unprocessable
from server.imaging import attributes as read
from server.imaging.decode import Pixels
from server.imaging.frames import PixelFormat
from server.imaging.head import Head

#: Descriptor, table and segmented table of red, green and blue.
_PALETTE = (
    ("00281101", "00281201", "00281221"),
    ("00281102", "00281202", "00281222"),
    ("00281103", "00281203", "00281223"),
)
#: White point D65 over D50, and PCS to linear sRGB (IEC 61966-2-1).
_LINEAR = np.array([[3.1339, -1.6169, -0.4906], [-0.9788, 1.9161, 0.0335], [0.0719, -0.2290, 1.4052]])
_D50 = np.array([0.9642, 1.0, 0.8249])


def rgb(pixels: Pixels, layout: PixelFormat) -> NDArray[np.uint8]:
    """Colours by sample, whatever they are stored as."""
    if layout.photometric.startswith("YBR_FULL") and layout.bits_allocated == 8:
        return np.asarray(Image.fromarray(pixels[..., :3].astype(np.uint8), "YCbCr").convert("RGB"))
    return (pixels[..., :3] >> max(layout.bits_stored - 8, 0)).astype(np.uint8)


def palette(pixels: Pixels, head: Head) -> NDArray[np.uint8]:
    """Numbers of a palette looked up; raises Unprocessable where its tables are damaged."""
    channels = []
    for descriptor_key, table_key, segmented_key in _PALETTE:
        descriptor = [value for value in read.values(head.attributes, descriptor_key) if isinstance(value, int)]
        if len(descriptor) != 3:
            raise _damaged()
        count, first, bits = descriptor[0] & 0xFFFF or 0x10000, descriptor[1], descriptor[2]
        element = head.attributes.get(table_key)
        table = _plain(head.binary(element), count, bits)
        if element is None:
            table = _segmented(head.binary(head.attributes.get(segmented_key)), count, bits)
        if len(table) < 1:
            raise _damaged()
        at = np.clip(pixels.astype(np.int64) - first, 0, len(table) - 1)
        channels.append(table[at])
    return np.stack(channels, axis=-1)


def _plain(raw: bytes, count: int, bits: int) -> NDArray[np.uint8]:
    if len(raw) >= 2 * count:
        wide = np.frombuffer(raw[: 2 * count], "<u2")
        # Some write eight-bit entries into words.
        return (wide if bits <= 8 or not (wide > 0xFF).any() else wide >> 8).astype(np.uint8)
    return np.frombuffer(raw[:count], np.uint8)


def _segmented(raw: bytes, count: int, bits: int) -> NDArray[np.uint8]:
    """Discrete, linear and indirect segments (PS3.3 C.7.9.2)."""
    words = np.frombuffer(raw[: len(raw) & ~1], "<u2") if bits > 8 else np.frombuffer(raw, np.uint8)
    out: list[float] = []
    _expand(words, 0, len(words), out, count, nested=False)
    return (np.array(out[:count]) / (256 if bits > 8 else 1)).astype(np.uint8)


def _expand(words: NDArray[np.generic], at: int, segments: int, out: list[float], count: int, *, nested: bool) -> None:
    while at + 2 < len(words) + nested and segments and len(out) <= count:
        kind, length = int(words[at]), int(words[at + 1])
        segments -= 1
        if kind == 0:
            out += [float(value) for value in words[at + 2 : at + 2 + length]]
            at += 2 + length
        elif kind == 1 and out and at + 2 < len(words):
            out += [float(value) for value in np.linspace(out[-1], float(words[at + 2]), length + 1)[1:]]
            at += 3
        elif kind == 2 and not nested and at + 3 < len(words):
            wide = 16 if words.dtype.itemsize == 2 else 8
            if wide == 16:
                place = (int(words[at + 2]) | int(words[at + 3]) << 16) // 2
                at += 4
            else:
                place = int.from_bytes(bytes(words[at + 2 : at + 6]), "little")
                at += 6
            _expand(words, place, length, out, count, nested=True)
        else:
            raise _damaged()


def of_cielab(encoded: list[int]) -> tuple[int, int, int]:
    """A PCS colour as DICOM encodes it (PS3.3 C.10.7.1.1), as sRGB."""
    lightness, a, b = encoded[0] * 100 / 65535, encoded[1] * 255 / 65535 - 128, encoded[2] * 255 / 65535 - 128
    middle = (lightness + 16) / 116
    parts = np.array([middle + a / 500, middle, middle - b / 200])
    xyz = np.where(parts > 6 / 29, parts**3, 3 * (6 / 29) ** 2 * (parts - 4 / 29)) * _D50
    linear = np.clip(_LINEAR @ xyz, 0.0, 1.0)
    shown = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    red, green, blue = (round(float(value) * 255) for value in shown)
    return red, green, blue


def _damaged() -> Unprocessable:
    return Unprocessable("The palette's lookup tables are damaged or missing.", expression="00281101")
