"""Where a nodule may be: peaks of a network's map over the lungs (LUNA16: candidate detection).

Places are (z, y, x) on the grid of the volume that was read.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ai_adapters.lung_mask import Mask, grown

Block = npt.NDArray[np.float32]
Place = npt.NDArray[np.float64]

#: How far beyond the lung mask is looked, in voxels of half the grid: it often leaves out what touches a wall.
_BEYOND = 2.0


def peaks(
    chances: Block, lungs: Mask, least: float, most: int, apart: float, taken: Sequence[Place] = ()
) -> list[Place]:
    """The highest local maxima that lie ``apart`` (voxels) from each other and from what is taken.

    The map is as fine as the lungs' mask, or half as fine.
    """
    step = 1 if chances.shape == lungs.shape else 2
    near = grown(lungs[::2, ::2, ::2], _BEYOND)
    if step == 1:
        near = near.repeat(2, axis=0).repeat(2, axis=1).repeat(2, axis=2)
    seen = np.where(near[tuple(slice(count) for count in chances.shape)], chances, 0)
    top = (seen == ndimage.maximum_filter(seen, size=3)) & (seen >= least)
    places = np.argwhere(top)[np.argsort(-seen[top], kind="stable")]
    return _apart((place * step + (step - 1) / 2 for place in places), taken, most, apart)


def _apart(places: Iterable[Place], taken: Sequence[Place], most: int, apart: float) -> list[Place]:
    """The first ``most`` places of which none is nearer than ``apart`` to one before or to one that is taken."""
    kept = np.array([*taken, *([(0.0, 0.0, 0.0)] * most)]).reshape(-1, 3)
    count = len(taken)
    for place in places:
        if count == len(kept):
            break
        if count == 0 or float(((kept[:count] - place) ** 2).sum(axis=1).min()) >= apart**2:
            kept[count] = place
            count += 1
    return list(kept[len(taken) : count])
