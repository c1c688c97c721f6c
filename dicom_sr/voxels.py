"""Masks as arrays and back: the layout that findings.Mask describes."""

import zlib

import numpy as np
from numpy.typing import NDArray

from dicom_sr.errors import UnwritableFindings
from dicom_sr.findings import Mask

Voxels = NDArray[np.bool_]


def pack(box: Voxels, origin: tuple[int, int, int] = (0, 0, 0)) -> Mask | None:
    """The smallest Mask around the set voxels of a box at ``origin`` (slice, row, column); None if none is set."""
    if not box.any():
        return None
    extents = [np.flatnonzero(box.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    low = [int(extent[0]) for extent in extents]
    high = [int(extent[-1]) + 1 for extent in extents]
    inside = box[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
    return Mask(
        origin=(origin[0] + low[0], origin[1] + low[1], origin[2] + low[2]),
        shape=(high[0] - low[0], high[1] - low[1], high[2] - low[2]),
        bits=zlib.compress(np.packbits(inside).tobytes()),
    )


def unpack(mask: Mask) -> Voxels:
    """The box of a Mask; raises UnwritableFindings where its bits don't fill its shape."""
    count = int(np.prod(mask.shape))
    if min(mask.shape) < 1 or min(mask.origin) < 0:
        raise UnwritableFindings("a box without extent or outside the volume", place="mask")
    try:
        # One byte more than declared is enough to see that there is too much.
        packed = zlib.decompressobj().decompress(mask.bits, (count + 7) // 8 + 1)
    except zlib.error as error:
        raise UnwritableFindings("the bits are no zlib stream", place="mask.bits") from error
    if len(packed) != (count + 7) // 8:
        raise UnwritableFindings("the bits don't fill the shape", place="mask.bits")
    return np.unpackbits(np.frombuffer(packed, np.uint8), count=count).reshape(mask.shape).astype(np.bool_)
