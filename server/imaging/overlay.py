"""Overlay planes as masks over a frame (PS3.3 C.9.2): drawn from groups 60xx or from spare bits of the pixels."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from server.imaging import attributes as read
from server.imaging.decode import Pixels
from server.imaging.frames import PixelFormat
from server.imaging.head import Head

#: Repeating groups 6000 to 601E.
_GROUPS = range(0x6000, 0x6020, 2)
_MOST = 1 << 28


def overlays(head: Head, pixels: Pixels, layout: PixelFormat, frame: int) -> Iterator[NDArray[np.bool_]]:
    """A mask of the frame's size for each overlay plane that is over ``frame`` (from 1)."""
    for group in _GROUPS:
        prefix = f"{group:04X}"
        rows, columns = (read.integer(head.attributes, f"{prefix}{n}") for n in ("0010", "0011"))
        if not rows or not columns or rows * columns > _MOST:
            continue
        plane = _plane(head, prefix, rows, columns, pixels, layout, frame)
        if plane is not None:
            yield _placed(plane, head, prefix, layout)


def _plane(
    head: Head, prefix: str, rows: int, columns: int, pixels: Pixels, layout: PixelFormat, frame: int
) -> NDArray[np.bool_] | None:
    element = head.attributes.get(f"{prefix}3000")
    if element is None:
        bit = read.integer(head.attributes, f"{prefix}0102") or 0
        if not 0 < bit < layout.bits_allocated or (rows, columns) != pixels.shape:
            return None
        return (pixels >> bit & 1).astype(bool)
    first = (read.integer(head.attributes, f"{prefix}0051") or 1) - 1
    count = read.integer(head.attributes, f"{prefix}0015") or 1
    number = frame - 1 - first if count > 1 else 0
    if not 0 <= number < count:
        return None
    bits = np.unpackbits(np.frombuffer(head.binary(element), np.uint8), bitorder="little")
    start = number * rows * columns
    if len(bits) < start + rows * columns:
        return None
    return bits[start : start + rows * columns].reshape(rows, columns).astype(bool)


def _placed(plane: NDArray[np.bool_], head: Head, prefix: str, layout: PixelFormat) -> NDArray[np.bool_]:
    """At its origin (60xx,0050), row and column from 1, cut at the frame's edges."""
    origin = [value for value in read.values(head.attributes, f"{prefix}0050") if isinstance(value, int)]
    top, left = (origin[0] - 1, origin[1] - 1) if len(origin) == 2 else (0, 0)
    out = np.zeros((layout.rows, layout.columns), bool)
    bottom, right = min(top + plane.shape[0], layout.rows), min(left + plane.shape[1], layout.columns)
    if bottom > max(top, 0) and right > max(left, 0):
        out[max(top, 0) : bottom, max(left, 0) : right] = plane[
            max(-top, 0) : bottom - top, max(-left, 0) : right - left
        ]
    return out
