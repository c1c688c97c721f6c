"""How a solid nodule is bounded: circumscribed or spiculated, by its outline as seen from its middle.

In each of many directions the distance at which the CT falls half-way to lung. A spicule is narrow: it stands out from
the median of its neighbourhood; where the neighbourhood itself goes on (a wall, a vessel), nothing is asked. What is
left of the distances when an ellipsoid is taken away says how even the outline is. A logistic model of these figures
gives each margin a chance; ``training/margins.py`` fits it and says how good it is. Lengths are mm.
"""

from dataclasses import astuple, dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import ndimage, sparse

from ai_adapters.density import Density
from ai_adapters.directions import directions
from ai_adapters.lesion import Lesion
from ai_adapters.measure import sphere_diameter
from ai_adapters.tasks.crops import sampled
from ai_adapters.volume import Volume
from terminology.codings import Coding
from terminology.private_scheme import SOLID

Floats = npt.NDArray[np.floating]
Mask = npt.NDArray[np.bool_]

# PS3.16: the concept of CAD reports for what bounds a finding, and values of CID 6120.
MARGINS = Coding(value="111037", scheme="DCM", meaning="Margins")
CIRCUMSCRIBED = Coding(value="263706005", scheme="SCT", meaning="Circumscribed")
SPICULATED = Coding(value="112136", scheme="DCM", meaning="Spiculated")

#: Edge of the cube that is looked at, voxels; its voxels' edge for nodules up to a diameter, and for larger ones.
SIZE = 48
FINE_UP_TO_MM, _FINE_MM, _COARSE_MM = 17.0, 0.75, 1.5
#: Below this nothing is told: the spread of the CT hides it.
FROM_MM = 6.0
#: Directions, and the distances along each that are looked at, in radii of the sphere of the nodule's volume.
_DIRECTIONS = 1600
_ALONG = np.arange(0.3, 2.3, 0.04)
#: A direction's neighbourhood, and who is next to it, degrees; how wide an unevenness is at least, 1 / (1 - cos).
_AROUND, _NEXT, _WIDTH = 40.0, 6.0, 14.0
#: What stands out by this part of its neighbourhood is a spike, if it takes so many directions.
_STANDS_OUT, _LEAST_DIRECTIONS = 0.12, 2
#: Where the neighbourhood goes on this far, something else begins.
_OPEN = 1.6

#: Mean and spread of each figure, and for each answer its weights and what it begins with: fitted by
#: ``training/margins.py`` to solid nodules of 6 mm and more in the phantoms that the second network learnt from.
_MEANS = np.array([0.0474, 1.6388, 0.0169, 0.0815, 2.3994])
_SPREADS = np.array([0.0437, 0.8246, 0.0178, 0.0425, 0.3987])
_WEIGHTS = {
    CIRCUMSCRIBED: (np.array([-0.28, -0.4, 0.52, -1.06, 0.0]), 0.32),
    SPICULATED: (np.array([1.84, 0.74, -0.58, -0.17, -0.3]), -0.74),
    None: (np.array([-1.56, -0.34, 0.06, 1.23, 0.29]), 0.43),
}
#: The chance from which each is told: on scans left out of the fit 85 % of spiculated are right so and 95 % of
#: circumscribed (README.md there).
_FROM = {CIRCUMSCRIBED: 0.7, SPICULATED: 0.5}


@dataclass(frozen=True, kw_only=True)
class Outline:
    """What the distances to the border say."""

    #: Share of the free surface that stands out.
    rough: float
    #: Logarithm of one and the spikes there were if all of it were free.
    spikes: float
    #: Share of all directions that the widest of them takes.
    widest: float
    #: Range (5 to 95 %) of the smoothed distances from an ellipsoid, in radii.
    uneven: float
    #: Logarithm of the diameter in mm.
    size: float


def margin(lesion: Lesion, kind: Density, volume: Volume) -> tuple[Coding, float] | None:
    """The margin and its chance (0..1); None where nothing sure can be told."""
    diameter = sphere_diameter(lesion.volume_mm3)
    if kind.kind != SOLID or diameter < FROM_MM:
        return None
    step = _FINE_MM if diameter <= FINE_UP_TO_MM else _COARSE_MM
    middle = np.array(ndimage.center_of_mass(lesion.region.share)) + lesion.region.origin
    cube = sampled(volume, middle * volume.spacing, SIZE, step)
    chances = told(outline(cube, np.full(3, (SIZE - 1) / 2), diameter, step))
    for code, least in _FROM.items():
        if chances[code] >= least:
            return code, chances[code]
    return None


def told(seen: Outline) -> dict[Coding | None, float]:
    """The chance of each margin, and of any other."""
    figures = (np.array(astuple(seen)) - _MEANS) / _SPREADS
    logits = {code: float(figures @ weights) + first for code, (weights, first) in _WEIGHTS.items()}
    whole = float(np.logaddexp.reduce(list(logits.values())))
    return {code: float(np.exp(logit - whole)) for code, logit in logits.items()}


def outline(cube: Floats, middle: Floats, diameter: float, step: float) -> Outline:
    """The figures of a nodule of that diameter (mm) about ``middle`` (voxels of ``step`` mm) of a cube in HU."""
    cosines = _cosines()
    radii = _radii(cube, middle, diameter / 2 / step)
    base = np.array([np.median(radii[near]) for near in cosines > np.cos(np.radians(_AROUND))])
    free = base < _OPEN
    spike = (radii / np.maximum(base, 0.3) > 1 + _STANDS_OUT) & free
    sizes = _groups(spike)
    share = float(free.mean())
    return Outline(
        rough=float(spike.sum() / max(1, free.sum())),
        spikes=float(np.log1p(len(sizes) / max(share, 0.3))),
        widest=float(max(sizes, default=0)) / _DIRECTIONS,
        uneven=_uneven(np.minimum(radii, _OPEN), free & (radii < _OPEN)),
        size=float(np.log(diameter)),
    )


def _radii(cube: Floats, middle: Floats, radius: float) -> Floats:
    """Where each direction falls half-way to lung, in radii."""
    places = middle[:, None, None] + directions(_DIRECTIONS).T[:, :, None] * (_ALONG * radius)
    seen = ndimage.map_coordinates(cube, places, order=1, mode="nearest", prefilter=False)
    half = (np.median(seen[:, _ALONG < 0.5]) + np.percentile(seen[:, _ALONG > 1.3], 25)) / 2
    below = seen < half
    first = np.where(below.any(axis=1), below.argmax(axis=1), len(_ALONG) - 1)
    rows, last = np.arange(len(seen)), np.maximum(first, 1)
    before, after = seen[rows, last - 1], seen[rows, last]
    between = (before - half) / np.maximum(before - after, 1) * (_ALONG[1] - _ALONG[0])
    crossed = below.any(axis=1) & (first > 0)
    radii: Floats = np.where(crossed, _ALONG[last - 1] + between, _ALONG[first])
    return radii


def _groups(spike: Mask) -> list[int]:
    """How many directions each spike takes."""
    chosen = np.flatnonzero(spike)
    if not len(chosen):
        return []
    next_to = _cosines()[np.ix_(chosen, chosen)] > np.cos(np.radians(_NEXT))
    _, group = sparse.csgraph.connected_components(sparse.csr_array(next_to), directed=False)
    return [int(count) for count in np.bincount(group) if count >= _LEAST_DIRECTIONS]


def _uneven(radii: Floats, free: Mask) -> float:
    """How far the smoothed distances of the free surface lie from those of an ellipsoid (to first order)."""
    if free.sum() < _DIRECTIONS // 16:
        return 0.0
    kernel = np.exp((_cosines() - 1) * _WIDTH)
    smooth = kernel @ radii / kernel.sum(axis=1)
    z, y, x = directions(_DIRECTIONS).T
    terms = np.stack([np.ones_like(z), z, y, x, z * y, z * x, y * x, z * z - 1 / 3, y * y - 1 / 3], axis=1)
    weights = np.linalg.lstsq(terms[free], smooth[free], rcond=None)[0]
    low, high = np.percentile((smooth - terms @ weights)[free], (5, 95))
    return float(high - low)


@lru_cache(maxsize=1)
def _cosines() -> Floats:
    """Between all directions."""
    cosines: Floats = directions(_DIRECTIONS) @ directions(_DIRECTIONS).T
    return cosines
