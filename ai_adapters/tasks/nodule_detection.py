"""Finds lung nodules: a heat map over the lungs, its peaks read again in mirrored views, each with its own outline.

The detector has one input (batch, 1, z, y, x) in -1..1 and two outputs: ``heat`` at half resolution, the chance that a
nodule's centre lies there, and ``share`` at full resolution, the part of the voxel that the nodule fills. Where the
bundle has a second network (``reduction.py``), many more candidates are gathered and that one says which are nodules; a
third may point at small ones that the heat misses: its one output is their chance at each voxel.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ai_adapters.lung_mask import Mask, lung_mask
from ai_adapters.tasks.ball import ball
from ai_adapters.tasks.candidates import Place, peaks
from ai_adapters.tasks.reduction import Judge, Look, Reduction, looks
from ai_adapters.volume import UnusableSeries, Volume, resample
from ai_adapters.watch import Watch

Block = npt.NDArray[np.float32]
#: (heat, share) of a batch of blocks of normalised voxels, (batch, z, y, x).
Network = Callable[[Block], tuple[Block, Block]]
#: The chance of small ones in a batch of blocks, at each voxel.
Pointer = Callable[[Block], Block]

#: The axes that are mirrored in each view of the second reading.
_VIEWS: tuple[tuple[int, ...], ...] = ((), (1, 2, 3))
#: Crops that go through the network at once.
_AT_ONCE = 8

#: A voxel belongs to the body of a nodule from this share on; its rim reaches this many voxels further.
_FILLED, _RIM = 0.5, 2.5
#: The body of a nodule begins within this many voxels of its peak.
_NEAR = 3.0
#: A nodule of which the share map holds less than this part of the ball that the CT shows was not seen by the detector.
_UNSEEN = 0.5


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How the network reads a volume; from the manifest."""

    #: Isotropic grid, mm.
    spacing_mm: float
    #: HU that become -1 and 1.
    window: tuple[float, float]
    #: Longest edge of a tile of the first reading, voxels, a multiple of 16.
    tile: int
    #: Border of a tile whose heat is not used, voxels.
    margin: int
    #: Edge of a crop of the second reading, voxels, a multiple of 16.
    crop: int
    #: Heat, or the second network's chance, from which a candidate is read again.
    candidate: float
    #: Peaks that are read again at most.
    most_candidates: int
    #: Two peaks nearer than this are one, mm.
    apart_mm: float
    #: None where the detector's own heat decides.
    reduction: Reduction | None = None


@dataclass(frozen=True, kw_only=True)
class Nodule:
    """One candidate after its second reading."""

    #: Mean heat of all views, or what the second network says; 0..1.
    confidence: float
    #: Fractional (z, y, x) on the network's grid.
    index: tuple[float, float, float]
    #: Corner of ``share`` on the network's grid.
    origin: tuple[int, int, int]
    #: The part of each voxel that the nodule fills; nought where there is something else.
    share: Block
    #: What the second network makes of its density; empty where it tells none.
    densities: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Reading:
    """All that was found in one volume."""

    #: The network's grid: same axes and first voxel as the source.
    grid: Volume
    lungs: Mask
    #: By falling confidence; not yet cut by the threshold.
    nodules: tuple[Nodule, ...]


def detect(
    volume: Volume,
    network: Network,
    plan: Plan,
    watch: Watch | None = None,
    judge: Judge | None = None,
    pointer: Pointer | None = None,
) -> Reading:
    """All candidates of a volume; raises UnusableSeries where no lungs are seen."""
    watch = watch or Watch()
    grid, lungs, heat = survey(volume, network, plan, watch)
    if plan.reduction is None or judge is None:
        places = peaks(heat, lungs, plan.candidate, plan.most_candidates, plan.apart_mm / plan.spacing_mm)
        seen = [Look(place=place, chance=math.nan) for place in places]
    else:
        with watch.stage("candidates"):
            places = many(heat, grid, lungs, plan, plan.reduction, pointer)
        with watch.stage("second network"):
            found = looks(volume, places, plan.spacing_mm, plan.window, judge, plan.reduction)
            seen = _best(found, plan)
    with watch.stage("second reading"):
        nodules = _second_reading(grid.voxels, seen, network, plan)
    return Reading(grid=grid, lungs=lungs, nodules=tuple(_distinct(nodules, plan)))


def survey(volume: Volume, network: Network, plan: Plan, watch: Watch | None = None) -> tuple[Volume, Mask, Block]:
    """The volume on the network's grid, its lungs and the heat map (half resolution)."""
    watch = watch or Watch()
    with watch.stage("resampling"):
        grid = resample(volume, plan.spacing_mm)
    with watch.stage("finding the lungs"):
        lungs = _lungs(grid, plan.spacing_mm)
    with watch.stage("first reading"):
        return grid, lungs, _over_lungs(grid.voxels, lungs, lambda tiles: network(tiles)[0], plan, 2)


def many(
    heat: Block, grid: Volume, lungs: Mask, plan: Plan, reduction: Reduction, pointer: Pointer | None
) -> list[Place]:
    """The heat's peaks, and small ones in which the detector saw nothing."""
    apart = reduction.apart_mm / plan.spacing_mm
    taken = peaks(heat, lungs, reduction.least_heat, reduction.peaks, apart)
    if pointer is None:
        return taken
    small = _over_lungs(grid.voxels, lungs, pointer, plan, 1)
    return [*taken, *peaks(small, lungs, reduction.least_small, reduction.small, apart, taken)]


def _best(found: list[Look], plan: Plan) -> list[Look]:
    """The likeliest, without those that came to lie beside a likelier one."""
    kept: list[Look] = []
    for look in sorted(found, key=lambda each: -each.chance):
        if look.chance < plan.candidate:
            break
        if all(np.linalg.norm(look.place - other.place) * plan.spacing_mm >= plan.apart_mm for other in kept):
            kept.append(look)
        if len(kept) == plan.most_candidates:
            break
    return kept


def _lungs(grid: Volume, spacing: float) -> Mask:
    """The lungs on the network's grid, found on one twice as coarse."""
    coarse = lung_mask(grid.voxels[::2, ::2, ::2], spacing * 2)
    if not coarse.any():
        raise UnusableSeries("no lungs are seen in the series")
    fine = coarse.repeat(2, axis=0).repeat(2, axis=1).repeat(2, axis=2)
    return fine[: grid.voxels.shape[0], : grid.voxels.shape[1], : grid.voxels.shape[2]]


def normalised(hounsfield: npt.NDArray[np.generic], window: tuple[float, float]) -> Block:
    """HU to -1..1."""
    low, high = window
    return ((np.clip(hounsfield.astype(np.float32), low, high) - low) * (2 / (high - low)) - 1).astype(np.float32)


def _over_lungs(
    voxels: npt.NDArray[np.int16], lungs: Mask, read: Callable[[Block], Block], plan: Plan, step: int
) -> Block:
    """What a network's map, ``step`` times as coarse, says of the box around the lungs; nought elsewhere."""
    whole = np.zeros(tuple(-(-count // step) for count in voxels.shape), dtype=np.float32)
    where = np.argwhere(lungs)
    low, high = where.min(axis=0) // 2 * 2, where.max(axis=0) + 1
    inner = np.array([_inner(int(extent), plan) for extent in high - low])
    edge = plan.margin // step
    for steps in np.ndindex(*(-(-(high - low) // inner))):
        corner = low + steps * inner
        if not lungs[tuple(slice(a, a + b) for a, b in zip(corner, inner, strict=True))].any():
            continue
        tile = normalised(cut(voxels, corner - plan.margin, inner + 2 * plan.margin), plan.window)
        found = read(tile[None])[0]
        target = tuple(slice(a // step, (a + b) // step) for a, b in zip(corner, inner, strict=True))
        room = whole[target].shape
        whole[target] = found[tuple(slice(edge, edge + count) for count in room)]
    return whole


def _inner(extent: int, plan: Plan) -> int:
    """The used part of a tile along one axis: as few and as small tiles as cover the extent."""
    most = plan.tile - 2 * plan.margin
    tiles = -(-extent // most)
    whole = -(-(-(-extent // tiles) + 2 * plan.margin) // 16) * 16
    return min(whole, plan.tile) - 2 * plan.margin


def cut(voxels: npt.NDArray[np.int16], low: npt.NDArray[np.int_], size: npt.NDArray[np.int_]) -> npt.NDArray[np.int16]:
    """The box of ``size`` with its corner at ``low``; beyond the volume the nearest voxel is repeated."""
    axes = [np.clip(np.arange(a, a + b), 0, n - 1) for a, b, n in zip(low, size, voxels.shape, strict=True)]
    part: npt.NDArray[np.int16] = voxels[np.ix_(*axes)]
    return part


def _second_reading(voxels: npt.NDArray[np.int16], seen: list[Look], network: Network, plan: Plan) -> list[Nodule]:
    """Read a crop around each place in mirrored views, several at once."""
    corners = [np.rint(look.place - plan.crop / 2).astype(int) for look in seen]
    nodules = []
    for start in range(0, len(seen), _AT_ONCE):
        part = corners[start : start + _AT_ONCE]
        crops = [cut(voxels, low, np.full(3, plan.crop)) for low in part]
        images = normalised(np.stack(crops), plan.window)
        heats, shares = [], []
        for view in _VIEWS:
            heat, share = network(np.ascontiguousarray(np.flip(images, view)))
            heats.append(np.flip(heat, view))
            shares.append(np.flip(share, view))
        for number, low in enumerate(part):
            heat, share = (
                np.mean([one[number] for one in heats], axis=0),
                np.mean([one[number] for one in shares], axis=0),
            )
            look = seen[start + number]
            own = _own_part(share, look.place - low)
            if plan.reduction is not None:
                own = _at_least_the_ball(own, crops[number], look.place - low)
            nodules.append(_nodule(look, low, heat, own, plan))
    return nodules


def _nodule(look: Look, low: npt.NDArray[np.int_], heat: Block, own: Block, plan: Plan) -> Nodule:
    """What the maps of one crop (its corner at ``low``) say of a candidate; ``own`` is its part of the share map."""
    confidence = look.chance
    if math.isnan(confidence):
        middle = np.indices(heat.shape).astype(np.float32) * 2 + 0.5
        away = np.sqrt(sum((axis - (p - c)) ** 2 for axis, p, c in zip(middle, look.place, low, strict=True)))
        confidence = float(heat[away * plan.spacing_mm <= plan.apart_mm].max(initial=0.0))
    z, y, x = (float(a + b) for a, b in zip(ndimage.center_of_mass(own), low, strict=True))
    return Nodule(
        confidence=confidence,
        index=(z, y, x),
        origin=(int(low[0]), int(low[1]), int(low[2])),
        share=own,
        densities=look.densities,
    )


def _own_part(share: Block, center: npt.NDArray[np.float64]) -> Block:
    """The part of the share map that belongs to the nodule at ``center``, its soft rim included.

    Where no voxel near the centre is filled by half, the centre's own voxel stands for the nodule.
    """
    away = np.sqrt(((np.indices(share.shape) - center[:, None, None, None]) ** 2).sum(axis=0))
    share = share.copy()
    middle = tuple(int(v) for v in np.unravel_index(int(away.argmin()), share.shape))
    if not (share[away <= _NEAR] >= _FILLED).any():
        share[middle] = _FILLED
    parts, _ = ndimage.label(share >= _FILLED)
    mine = parts == parts[np.unravel_index(int(np.where(parts > 0, away, np.inf).argmin()), share.shape)]
    to_mine = ndimage.distance_transform_edt(~mine)
    others = (parts > 0) & ~mine
    closer = to_mine < ndimage.distance_transform_edt(~others) if others.any() else np.ones_like(mine)
    return np.where((to_mine <= _RIM) & closer, share, 0).astype(np.float32)


def _at_least_the_ball(own: Block, voxels: npt.NDArray[np.int16], middle: Place) -> Block:
    """The share, or where it holds too little of it the ball that the CT shows where the second network points."""
    shown = ball(voxels.astype(np.float32), middle)
    return shown if shown is not None and float(own.sum()) < _UNSEEN * float(shown.sum()) else own


def _distinct(nodules: list[Nodule], plan: Plan) -> list[Nodule]:
    """By falling confidence, without those whose centre lies in (or beside) a better one."""
    kept: list[Nodule] = []
    for nodule in sorted(nodules, key=lambda each: -each.confidence):
        if not any(_same(nodule, other, plan) for other in kept):
            kept.append(nodule)
    return kept


def _same(one: Nodule, other: Nodule, plan: Plan) -> bool:
    """Whether two candidates are one lesion."""
    if np.linalg.norm(np.subtract(one.index, other.index)) * plan.spacing_mm < plan.apart_mm:
        return True
    place = np.rint(np.subtract(one.index, other.origin)).astype(int)
    if np.any(place < 0) or np.any(place >= other.share.shape):
        return False
    return bool(other.share[tuple(place)] >= 0.5)
