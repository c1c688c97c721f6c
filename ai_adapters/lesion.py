"""A nodule among its neighbours: how much of each voxel of the source grid it fills, by the CT's own numbers.

The network says where a nodule is and what belongs to it, on a grid of its own. How far it reaches is said by the
attenuation: a voxel at the border holds as much of the nodule as its HU lies above the lung's, of what the nodule's
own tissue lies above it, so that thick slices and soft kernels neither swell nor shrink it (partial volume).
Lengths are mm, attenuations HU.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ai_adapters.measure import Region
from ai_adapters.volume import Volume

Block = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

#: How far around the network's region the CT is looked at.
_AROUND_MM = 10.0
#: Width of the filter that quiets noise before anything is compared with a threshold (standard deviation).
_QUIET_MM = 0.6
#: Where the lung around it is sampled: between these distances from the region.
_LUNG_MM = (2.5, 8.0)
#: Aerated lung; what is denser belongs to vessels, walls or other lesions.
_LUNG_HU = (-1000.0, -650.0)
#: Lung where none can be sampled, and soft tissue where a nodule is too small to show its own.
_USUAL_LUNG, SOFT_TISSUE = -860.0, 40.0
#: Denser than this is soft tissue more than lung or ground glass.
SOLID_FROM = -350.0
#: Ground glass lies between these, where it can't be measured; its usual level.
_GLASS_HU, _USUAL_GLASS = (-780.0, -430.0), -600.0
#: Flat is what changes by less a mm, below this; a nodule of which this share is flat has ground glass.
_FLAT_HU_MM, _FLAT_BELOW_HU, _FLAT_SHARE = 170.0, -400.0, 0.165
_DENSER_THAN_LUNG = 100.0
#: How far beyond the half-way contour its tissue still shows: the blur of kernel and slice.
REACH_MM = 1.6
#: What is within this depth may be partly lung.
_SKIN_MM = 1.2
#: The contour that holds the volume lies at a share between these.
_MIDDLE = (0.3, 0.7)
#: How far the border may lie from the network's, and how much nearer than to a neighbour its tissue lies.
_FARTHEST_MM, _NEARER = 2.5, 0.3


@dataclass(frozen=True, kw_only=True)
class Lesion:
    """A nodule's own part of a box of the source grid, and what the box shows."""

    region: Region
    #: HU of the box, noise quieted.
    quiet: Block
    spacing: tuple[float, float, float]
    #: HU of the lung around it, and of its outer layer.
    lung: float
    level: float
    #: Whether its outer layer is ground glass, and how near that is to the other (0 clear, 1 on the border).
    subsolid: bool
    doubt: float
    #: Voxels half filled or more, and what is as dense and not the nodule's: vessels, walls.
    own: Mask
    others: Mask
    #: What it fills, mm3; not the sum of the shares, which are held within 0 and 1.
    volume_mm3: float


def examine(region: Region, volume: Volume) -> Lesion:
    """The lesion that the network's region stands for."""
    box, share = _around(region, volume)
    spacing = volume.spacing
    raw = volume.voxels[tuple(slice(a, a + n) for a, n in zip(box, share.shape, strict=True))].astype(np.float32)
    quiet = ndimage.gaussian_filter(raw, [_QUIET_MM / step for step in spacing], mode="nearest")
    # Of a faint nodule the network fills no voxel, and a body of its fullest one alone would leave the rest to others.
    body = share >= 0.5 * float(share.max())
    lung = _lung(raw, quiet, distance(~body, spacing))
    flat = _flat_share(quiet, body, lung, spacing)
    subsolid = flat > _FLAT_SHARE
    level = (_glass if subsolid else _soft_tissue)(quiet, body, spacing)
    own, others = _divided(quiet > (lung + level) / 2, share, body, spacing)
    level = (_glass if subsolid else _soft_tissue)(quiet, own, spacing)
    held = _held(quiet, own, others, (lung, level), spacing)
    if held.sum() < min(1.0, float(share.sum())):
        # Nothing there is denser than the lung, so the network's word is all that is known.
        held = share
    return Lesion(
        region=Region(origin=box, share=_as_large(np.clip(held, 0.0, 1.0), float(held.sum()))),
        quiet=quiet,
        spacing=spacing,
        lung=lung,
        level=level,
        subsolid=subsolid,
        doubt=_FLAT_SHARE / flat if subsolid else flat / _FLAT_SHARE,
        own=own,
        others=others,
        volume_mm3=float(held.sum()) * float(np.prod(spacing)),
    )


def _held(
    quiet: Block, own: Mask, others: Mask, levels: tuple[float, float], spacing: tuple[float, float, float]
) -> Block:
    """The share of each voxel: whole inside, by attenuation at the border, where noise may take it below 0."""
    filled = (quiet - levels[0]) / (levels[1] - levels[0])
    away = distance(~own, spacing)
    near = (distance(~own, _flat(spacing)) <= REACH_MM) & (distance(~others, spacing) > away)
    inner = distance(own, spacing) > _SKIN_MM
    held = np.where(inner, 1.0, np.where(own, np.minimum(filled, 1.0), filled))
    return np.where(near, held, 0.0).astype(np.float32)


def _as_large(share: Block, voxels: float) -> Block:
    """The shares bent so that the voxels filled by half or more are as many as the shares' sum.

    Blur pulls the half-way contour of a small ball inwards; what is drawn and measured along it would be too small.
    """
    falling = np.sort(share[share > 0.05])[::-1]
    if len(falling) < 2:
        return share
    middle = float(np.interp(voxels, np.arange(len(falling)) + 0.5, falling))
    bent: Block = share ** np.float32(np.log(0.5) / np.log(np.clip(middle, *_MIDDLE)))
    return bent


def distance(mask: Mask, spacing: tuple[float, float, float]) -> npt.NDArray[np.float64]:
    """How deep (mm) each voxel lies in the mask; everything is infinitely deep where there is nothing else."""
    if mask.all():
        return np.full(mask.shape, np.inf)
    depth: npt.NDArray[np.float64] = ndimage.distance_transform_edt(mask, sampling=spacing)
    return depth


def _flat(spacing: tuple[float, float, float]) -> tuple[float, float, float]:
    """The spacing as blur sees it: the next slice always shows some of a voxel."""
    return (min(spacing[0], REACH_MM), spacing[1], spacing[2])


def _around(region: Region, volume: Volume) -> tuple[tuple[int, int, int], Block]:
    """Corner of the box around a region, and the region's shares in it."""
    more = [int(np.ceil(_AROUND_MM / step)) for step in volume.spacing]
    low = [max(0, a - n) for a, n in zip(region.origin, more, strict=True)]
    ends = zip(region.origin, region.share.shape, more, volume.voxels.shape, strict=True)
    high = [min(a + size + n, whole) for a, size, n, whole in ends]
    share = np.zeros([b - a for a, b in zip(low, high, strict=True)], dtype=np.float32)
    inside = zip(region.origin, low, region.share.shape, strict=True)
    share[tuple(slice(a - b, a - b + size) for a, b, size in inside)] = region.share
    return (low[0], low[1], low[2]), share


def _lung(raw: Block, quiet: Block, out: npt.NDArray[np.float64]) -> float:
    shell = (out > _LUNG_MM[0]) & (out < _LUNG_MM[1]) & (quiet > _LUNG_HU[0]) & (quiet < _LUNG_HU[1])
    return float(np.median(raw[shell])) if shell.sum() >= 30 else _USUAL_LUNG


def _flat_share(quiet: Block, body: Mask, lung: float, spacing: tuple[float, float, float]) -> float:
    """How much of what is denser than lung, here and just around, is as dense as ground glass and no slope.

    The slope from soft tissue to lung passes through the same attenuations, but steeply; and a thick slice between
    them shows the mean of both, flat within the slice.
    """
    dense = (quiet > lung + _DENSER_THAN_LUNG) & (distance(~body, spacing) <= REACH_MM)
    steep = np.sqrt(sum(slope**2 for slope in np.gradient(quiet, *spacing)))
    flat = dense & (quiet > _GLASS_HU[0]) & (quiet < _FLAT_BELOW_HU) & (steep < _FLAT_HU_MM)
    flat &= ~_between_slices(quiet, lung)
    return float(flat.sum() / max(1, dense.sum()))


def _between_slices(quiet: Block, lung: float) -> Mask:
    """Where one neighbouring slice shows soft tissue and the other lung, so that this one shows some of each."""
    padded = np.pad(quiet, ((1, 1), (0, 0), (0, 0)), mode="edge")
    before, after = padded[:-2], padded[2:]
    mean: Mask = (np.maximum(before, after) > SOLID_FROM) & (np.minimum(before, after) < lung + _DENSER_THAN_LUNG)
    return mean


def _soft_tissue(quiet: Block, mask: Mask, spacing: tuple[float, float, float]) -> float:
    """HU of a solid nodule's tissue."""
    deep = quiet[distance(mask, spacing) > 2.0]
    return max(float(np.percentile(deep, 40)), 0.0) if len(deep) >= 20 else SOFT_TISSUE


def _glass(quiet: Block, mask: Mask, spacing: tuple[float, float, float]) -> float:
    """HU of the ground glass in the mask, away from its border and from what is solid in it."""
    solid = distance(~(mask & (quiet > SOLID_FROM)), spacing)
    for skin in (_SKIN_MM, 0.6):
        part = quiet[mask & (distance(mask, spacing) > skin) & (solid > 1.0)]
        if len(part) >= 10:
            return float(np.clip(np.median(part), *_GLASS_HU))
    return _USUAL_GLASS


def _divided(dense: Mask, share: Block, body: Mask, spacing: tuple[float, float, float]) -> tuple[Mask, Mask]:
    """What is dense, as the nodule's own and as others', by the network's word and then by nearness."""
    seed = dense & body
    if not seed.any():
        seed = body
    foreign = dense & (share < 0.05) & (distance(~body, spacing) > _FARTHEST_MM)
    near = distance(~seed, spacing)
    own = dense & (near <= _FARTHEST_MM) & (near <= _NEARER * distance(~foreign, spacing))
    parts, _ = ndimage.label(own | seed)
    kept = np.unique(parts[seed])
    own = np.isin(parts, kept[kept > 0]) & (own | seed)
    return own, dense & ~own
