"""Where the lungs are in a chest CT, nodules on their border and vessels inside them included.

Air inside the body, by thresholds and connected parts, closed by a ball so that what grows on the pleura or at the
hilum lies inside. All lengths are mm, so the result does not depend on the grid.
"""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Mask = npt.NDArray[np.bool_]

#: Between lung (about -850 HU) and soft tissue (about 40 HU).
_AIR_HU = -400
#: Lungs are at least this large together, in ml; less is no chest.
_SMALLEST_ML = 300.0
#: A part of the lungs is at least this share of the largest part.
_SMALLEST_SHARE = 0.08


def lung_mask(hounsfield: npt.NDArray[np.int16], spacing: float, closing_mm: float = 18.0) -> Mask:
    """The lungs of an isotropic volume (``spacing`` mm), its first axis along the body; empty if there are none."""
    air = _air_inside(hounsfield, spacing)
    parts, count = ndimage.label(air)
    if not count:
        return np.zeros(air.shape, dtype=bool)
    sizes = np.bincount(parts.ravel())[1:]
    kept = np.flatnonzero(sizes >= _SMALLEST_SHARE * sizes.max()) + 1
    lungs = np.isin(parts, kept)
    if lungs.sum() * spacing**3 / 1000 < _SMALLEST_ML:
        return np.zeros(air.shape, dtype=bool)
    return _closed(lungs, closing_mm / spacing)


def _air_inside(hounsfield: npt.NDArray[np.int16], spacing: float) -> Mask:
    """Air that the body surrounds in its own axial slice."""
    tissue = hounsfield > _AIR_HU
    cut = ndimage.binary_opening(tissue, iterations=max(1, round(3 / spacing)))
    parts, count = ndimage.label(cut)
    if not count:
        return np.zeros(tissue.shape, dtype=bool)
    body = parts == int(np.argmax(np.bincount(parts.ravel())[1:])) + 1
    filled = np.stack([ndimage.binary_fill_holes(each) for each in body])
    inside: Mask = filled & ~tissue
    # Thin bridges (a bowel loop, a bronchus) are cut so that each part is judged by its own size.
    return np.asarray(ndimage.binary_opening(inside, iterations=1), dtype=bool)


def _closed(mask: Mask, radius: float) -> Mask:
    """Morphological closing by a ball of ``radius`` voxels, by distances, so the cost does not grow with the radius."""
    margin = int(np.ceil(radius)) + 1
    padded = np.pad(mask, margin)
    grown = ndimage.distance_transform_edt(~padded) <= radius
    closed = ndimage.distance_transform_edt(grown) > radius
    inner = tuple(slice(margin, -margin) for _ in range(3))
    return np.asarray(closed[inner] | mask, dtype=bool)


def grown(mask: Mask, radius: float) -> Mask:
    """The mask and all within ``radius`` voxels of it."""
    return np.asarray(ndimage.distance_transform_edt(~mask) <= radius, dtype=bool)
