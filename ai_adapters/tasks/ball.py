"""How large a ball the CT itself shows about a place, where no network says how far a nodule reaches.

The median over all directions, at each distance, is blind to vessels that pass and to a wall on one side. Lengths are
voxels, attenuations HU.
"""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ai_adapters.directions import directions

Block = npt.NDArray[np.float32]
Point = npt.NDArray[np.float64]

_DIRECTIONS = 300
#: Distances that are looked at; the middle is within the first, the lung beyond the second.
_STEP, _FARTHEST = 0.25, 9.0
_INSIDE, _OUTSIDE = 0.75, 4.0
#: What stands out by less is noise.
_LEAST_HU = 80.0


def ball(hounsfield: Block, middle: Point) -> Block | None:
    """The part of each voxel that the ball about ``middle`` fills; None where the CT shows none."""
    radius = _radius(hounsfield, middle)
    if radius is None:
        return None
    away = np.sqrt(((np.indices(hounsfield.shape) - middle[:, None, None, None]) ** 2).sum(axis=0))
    share: Block = np.clip(0.5 + radius - away, 0, 1).astype(np.float32)
    return share


def _radius(hounsfield: Block, middle: Point) -> float | None:
    """Where the median falls half-way from the middle's to the lung's."""
    along = np.arange(0.0, _FARTHEST, _STEP)
    places = middle[:, None, None] + directions(_DIRECTIONS).T[:, :, None] * along
    shells = np.median(ndimage.map_coordinates(hounsfield, places, order=1, mode="nearest", prefilter=False), axis=0)
    inside, lung = shells[along <= _INSIDE].mean(), np.percentile(shells[along >= _OUTSIDE], 25)
    below = shells < (inside + lung) / 2
    if inside - lung < _LEAST_HU or not below.any():
        return None
    return float(along[int(below.argmax())]) - _STEP / 2
