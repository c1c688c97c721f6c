"""Frames of a Segmentation as pictures: each segment in the colour that it recommends (PS3.3 C.8.20)."""

import numpy as np
from numpy.typing import NDArray

from server.imaging import attributes as read
from server.imaging import colour
from server.imaging.dataset import Attributes
from server.imaging.decode import Pixels
from server.imaging.frames import PixelFormat
from server.imaging.head import Head

#: Segmentation Storage and Label Map Segmentation Storage (PS3.4 B.5).
_SEGMENTATIONS = frozenset({"1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"})


def is_segmentation(header: Attributes) -> bool:
    """Whether the frames are masks or labels."""
    return read.text(header, "00080016") in _SEGMENTATIONS


def shown(pixels: Pixels, layout: PixelFormat, head: Head, frame: int) -> NDArray[np.uint8]:
    """One frame: a mask in its segment's colour on black, or every label in its own."""
    header = head.attributes
    colours = {
        number: _colour(item)
        for item in read.items(header, "00620002")
        if (number := read.integer(item, "00620004")) is not None
    }
    if read.text(header, "00620001") == "LABELMAP":
        out = np.zeros((*pixels.shape, 3), np.uint8)
        for number, shade in colours.items():
            out[pixels == number] = shade
        return out
    whole = 1 if layout.bits_allocated == 1 else read.integer(header, "0062000E") or 255
    number = read.integer(head.group("0062000A", frame), "0062000B")
    strength = np.clip(pixels.astype(np.float32) / whole, 0, 1)[..., None]
    return (strength * np.array(colours.get(number or 0, (255, 255, 255)), np.float32)).astype(np.uint8)


def _colour(item: Attributes) -> tuple[int, int, int]:
    encoded = [value for value in read.values(item, "0062000D") if isinstance(value, int)]
    return colour.of_cielab(encoded) if len(encoded) == 3 else (255, 255, 255)
