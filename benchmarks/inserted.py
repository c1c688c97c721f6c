"""Nodules made by a second method and put into real lung, with their exact truth.

Nothing here is shared with the phantoms or with the training's drawing: a body is the level set of a few superposed
blobs whose sizes are log-normal, roughened by a filtered noise field; its tissue is cut from soft tissue of the same
CT, noise included; faint bodies fill the air of the lung that is there. Bodies are computed on a grid of a quarter of a
millimetre or finer than a thirtieth of their size, spread by the scan's own edges (measured in the plane) and its slice
thickness, and only then sampled at the CT's voxels.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ai_adapters.lung_mask import lung_mask
from ai_adapters.measure import sphere_diameter
from ai_adapters.volume import HIGHEST_HU, LOWEST_HU, Volume, resample

Floats = npt.NDArray[np.floating]
Rng = np.random.Generator

#: Wishes for one CT.
A_SCAN = 10
DENSITIES = ("solid", "part-solid", "ground-glass")
ATTACHMENTS = ("none", "vessel", "pleura")
#: Lung is looked at on this grid for places, mm.
_PLACES_MM = 1.5
#: Two bodies, or a body and a real lesion, keep this distance, mm.
_APART_MM = 12.0
#: HU of what fills the air of a faint body's lung.
_TISSUE = 40.0


@dataclass(frozen=True, kw_only=True)
class Inserted:
    """The truth of one nodule that was put in."""

    center_mm: tuple[float, float, float]
    volume_mm3: float
    #: Of the sphere of that volume.
    diameter_mm: float
    density: str
    attachment: str
    #: Of the sphere as large as the solid part; None where there is none.
    solid_diameter_mm: float | None


@dataclass(frozen=True, kw_only=True)
class _Body:
    """A body on its own fine grid around (0, 0, 0), axes as the volume's."""

    step: float
    #: Share of each fine cell, nought to one.
    whole: Floats
    core: Floats | None

    @property
    def volume_mm3(self) -> float:
        return float(self.whole.sum()) * self.step**3


@dataclass(frozen=True, kw_only=True)
class Host:
    """A CT that takes nodules, and what has to be known of it."""

    volume: Volume
    #: (centre mm, diameter mm) of what is there already.
    lesions: tuple[tuple[tuple[float, float, float], float], ...]
    grid: Volume
    #: Distance from the border of the lung, positive inside, and from the nearest vessel, mm, on ``grid``.
    depth: Floats
    from_vessel: Floats
    #: Standard deviation of the in-plane point spread, mm, and the slice thickness.
    spread_mm: float
    thickness_mm: float
    #: Blocks of soft tissue (slice, row, column corners) that lend their texture.
    tissue: npt.NDArray[np.int_]


def host(volume: Volume, lesions: tuple[tuple[tuple[float, float, float], float], ...], thickness_mm: float) -> Host:
    """Look at a CT once: lungs, vessels, sharpness, tissue."""
    grid = resample(volume, _PLACES_MM)
    lungs = lung_mask(grid.voxels, _PLACES_MM)
    depth = ndimage.distance_transform_edt(lungs) - ndimage.distance_transform_edt(~lungs)
    dense = lungs & (ndimage.gaussian_filter(grid.voxels.astype(np.float32), 0.5) > -600)
    parts, count = ndimage.label(dense)
    sizes = ndimage.sum_labels(dense, parts, np.arange(count + 1))
    vessels = sizes[parts] >= 40
    return Host(
        volume=volume,
        lesions=lesions,
        grid=grid,
        depth=(depth * _PLACES_MM).astype(np.float32),
        from_vessel=(ndimage.distance_transform_edt(~vessels) * _PLACES_MM).astype(np.float32),
        spread_mm=_spread(volume),
        thickness_mm=thickness_mm,
        tissue=_tissue(volume),
    )


def _spread(volume: Volume) -> float:
    """In-plane point spread from edges between air and body: a step D blurred by sigma rises by D/(sigma sqrt(2 pi)).

    The sharpest tenth stands for the scanner; the others are oblique or no plain steps.
    """
    found = []
    for plane in volume.voxels[:: max(1, len(volume.voxels) // 20)].astype(np.float32):
        rows, columns = np.gradient(plane)
        slope = np.hypot(rows, columns)
        step = ndimage.maximum_filter(plane, 9) - ndimage.minimum_filter(plane, 9)
        top = (slope == ndimage.maximum_filter(slope, 5)) & (step > 850) & (step < 1150) & (plane > -900) & (slope > 0)
        found.append(step[top] / (slope[top] * np.sqrt(2 * np.pi)))
    return float(np.percentile(np.concatenate(found), 10)) * volume.spacing[1]


def _tissue(volume: Volume) -> npt.NDArray[np.int_]:
    """Corners of blocks of even soft tissue, 5 slices and 16 pixels wide."""
    soft = (volume.voxels > -60) & (volume.voxels < 160)
    share = ndimage.uniform_filter(soft.astype(np.float32), (5, 16, 16))
    corners = np.argwhere(share > 0.995) - (2, 8, 8)
    inside = np.all((corners >= 0) & (np.add(corners, (5, 16, 16)) <= volume.voxels.shape), axis=1)
    return corners[inside][::50]


def insert(target: Host, wishes: list[tuple[float, str, str]], rng: Rng) -> tuple[Volume, list[Inserted]]:
    """The CT with a nodule for each wish (diameter mm, density, attachment) that finds a place, and the truths."""
    voxels = target.volume.voxels.astype(np.float32)
    taken = list(target.lesions)
    done = []
    for diameter, density, attachment in wishes:
        place = _place(target, diameter, attachment, taken, rng)
        if place is None:
            continue
        body = _clipped(target, _body(diameter, density, rng), place)
        if body.volume_mm3 < 0.4 * np.pi / 6 * diameter**3:
            continue
        _paint(target, voxels, body, place, density, rng)
        truth = _truth(target, body, place, density, attachment)
        taken.append((truth.center_mm, truth.diameter_mm))
        done.append(truth)
    whole = np.clip(np.rint(voxels), LOWEST_HU, HIGHEST_HU).astype(np.int16)
    return replace(target.volume, voxels=whole), done


def wishes(rng: Rng, count: int) -> Iterator[tuple[float, str, str]]:
    """What to put in: half of it below 6 mm, every density, every attachment."""
    for number in range(count):
        low, high = ((3.0, 6.0), (6.0, 10.0), (10.0, 22.0))[(0, 1, 0, 2, 0, 1)[number % 6]]
        diameter = float(np.exp(rng.uniform(np.log(low), np.log(high))))
        density = str(rng.choice(DENSITIES, p=(0.5, 0.2, 0.3)))
        if density == "part-solid" and diameter < 6:
            density = "solid"
        if density == "ground-glass" and diameter < 4:
            density = "solid"
        yield diameter, density, ATTACHMENTS[int(rng.integers(3))]


def _place(
    target: Host,
    diameter: float,
    attachment: str,
    taken: list[tuple[tuple[float, float, float], float]],
    rng: Rng,
) -> npt.NDArray[np.float64] | None:
    """A fractional (slice, row, column) of the CT that suits the attachment; None where there is none."""
    radius = diameter / 2
    depth, vessel = target.depth, target.from_vessel
    if attachment == "none":
        fits = (depth > radius + 3) & (vessel > 0.9 * radius + 1.5)
    elif attachment == "vessel":
        fits = (depth > radius + 3) & (vessel > 0.7 * radius) & (vessel < max(0.95 * radius, 0.7 * radius + 1.0))
    else:
        fits = (depth > 0.3 * radius) & (depth < max(0.8 * radius, 0.3 * radius + 1.0)) & (vessel > 0.6 * radius)
    pool = np.argwhere(fits)
    for index in rng.permutation(len(pool))[:200]:
        point = target.grid.to_patient(pool[index] + rng.uniform(-0.4, 0.4, 3))
        if all(np.linalg.norm(np.subtract(point, other)) > radius + size / 2 + _APART_MM for other, size in taken):
            return np.array(target.volume.to_index(point))
    return None


def _body(diameter: float, density: str, rng: Rng) -> _Body:
    """Superposed blobs, roughened and cut at the level that gives the volume asked for."""
    step = min(0.25, diameter / 30) if diameter < 12 else diameter / 40
    whole = _blobs(diameter, step, rng, rough=0.3)
    core = None
    if density == "part-solid":
        inner = _blobs(diameter * rng.uniform(0.35, 0.65), step, rng, rough=0.3)
        room = (np.array(whole.shape) - inner.shape) // 2
        shift = np.rint(rng.normal(0, 0.08 * diameter, 3) / step).astype(int)
        low = np.clip(room + shift, 0, np.array(whole.shape) - inner.shape)
        core = np.zeros_like(whole)
        core[tuple(slice(a, a + n) for a, n in zip(low, inner.shape, strict=True))] = inner
        core = np.minimum(core, whole)
    return _Body(step=step, whole=whole, core=core)


def _blobs(diameter: float, step: float, rng: Rng, rough: float) -> Floats:
    """Share of each cell of a cube of 2.4 diameters that the body fills."""
    half = int(np.ceil(1.2 * diameter / step))
    axes = np.indices((2 * half + 1,) * 3).astype(np.float32) - half
    axes *= step / (diameter / 2)
    field = np.exp(-(axes**2).sum(axis=0))
    for _ in range(int(rng.poisson(3.0))):
        way = rng.normal(size=3)
        way *= rng.lognormal(np.log(0.75), 0.35) / np.linalg.norm(way)
        width = min(rng.lognormal(np.log(0.5), 0.3), 1.0)
        square = ((axes - way.astype(np.float32)[:, None, None, None]) ** 2).sum(axis=0)
        field += np.float32(rng.uniform(0.4, 1.0)) * np.exp(-square / np.float32(width) ** 2)
    noise = ndimage.gaussian_filter(rng.normal(size=field.shape).astype(np.float32), 0.12 * diameter / step)
    field *= np.exp(np.float32(rough) * noise / noise.std())
    wanted = np.pi / 6 * diameter**3 / step**3
    level = float(np.partition(field.ravel(), -int(wanted))[-int(wanted)])
    parts, _ = ndimage.label(field >= level)
    main = parts == int(np.bincount(parts.ravel())[1:].argmax()) + 1
    # A cell at the border is filled in part, by how far the level is from its middle.
    slope = np.maximum(np.sqrt(sum(g**2 for g in np.gradient(field))), 1e-9)
    near = ndimage.binary_dilation(main, iterations=2)
    filled: Floats = np.where(near, np.clip(0.5 + (field - level) / slope, 0, 1), 0).astype(np.float32)
    return filled


def _points(target: Host, body: _Body, place: npt.NDArray[np.float64], spacing: tuple[float, float, float]) -> Floats:
    """The body's cells as fractional indexes of a grid of that spacing with the CT's first voxel and axes."""
    half = (body.whole.shape[0] - 1) / 2
    offset = (np.arange(body.whole.shape[0]) - half) * body.step
    middle = place * np.array(target.volume.spacing)
    axes = [(m + offset) / s for m, s in zip(middle, spacing, strict=True)]
    points: Floats = np.stack(np.meshgrid(*axes, indexing="ij"))
    return points


def _clipped(target: Host, body: _Body, place: npt.NDArray[np.float64]) -> _Body:
    """The body without what lies outside the lung."""
    points = _points(target, body, place, target.grid.spacing)
    depth = ndimage.map_coordinates(target.depth, points, order=1, mode="nearest", prefilter=False)
    inside = np.clip(0.5 + depth / body.step, 0, 1)
    core = None if body.core is None else body.core * inside
    return _Body(step=body.step, whole=body.whole * inside, core=core)


def _seen(target: Host, body: _Body, share: Floats, place: npt.NDArray[np.float64]) -> tuple[tuple[slice, ...], Floats]:
    """The share of each CT voxel that the body fills as the scanner shows it, and the box of those voxels."""
    pad = int(np.ceil(max(4 * target.spread_mm, target.thickness_mm) / body.step)) + 2
    fine = np.pad(share, pad)
    fine = ndimage.gaussian_filter1d(fine, target.spread_mm / body.step, axis=1)
    fine = ndimage.gaussian_filter1d(fine, target.spread_mm / body.step, axis=2)
    fine = ndimage.uniform_filter1d(fine, max(1, round(target.thickness_mm / body.step)), axis=0)
    half = (fine.shape[0] - 1) / 2
    spacing = np.array(target.volume.spacing)
    reach = half * body.step / spacing
    low = np.maximum(np.ceil(place - reach).astype(int), 0)
    high = np.minimum(np.floor(place + reach).astype(int) + 1, target.volume.voxels.shape)
    axes = [(np.arange(a, b) - p) * s / body.step + half for a, b, p, s in zip(low, high, place, spacing, strict=True)]
    places = np.stack(np.meshgrid(*axes, indexing="ij"))
    seen = ndimage.map_coordinates(fine, places, order=1, mode="constant", prefilter=False)
    return tuple(slice(a, b) for a, b in zip(low, high, strict=True)), seen.astype(np.float32)


def _paint(target: Host, voxels: Floats, body: _Body, place: npt.NDArray[np.float64], density: str, rng: Rng) -> None:
    """Mix the body into the CT, in place."""
    box, seen = _seen(target, body, body.whole, place)
    here = voxels[box]
    if density == "solid":
        here += seen * (_texture(target, seen.shape, rng) - here)
        return
    # Ground glass: so much of the air is filled; vessels within stay what they are.
    uneven = ndimage.gaussian_filter(rng.normal(size=seen.shape), (0.8, 2.0, 2.0))
    filled = rng.uniform(0.18, 0.5) * (1 + 0.2 * uneven / max(float(uneven.std()), 1e-6))
    here += seen * filled.astype(np.float32) * np.maximum(_TISSUE - here, 0)
    if body.core is not None:
        _, core = _seen(target, body, body.core, place)
        here += core * (_texture(target, seen.shape, rng) - here)


def _texture(target: Host, shape: tuple[int, ...], rng: Rng) -> Floats:
    """Soft tissue of the same CT, mirrored until it is large enough."""
    k, j, i = target.tissue[int(rng.integers(len(target.tissue)))]
    block = target.volume.voxels[k : k + 5, j : j + 16, i : i + 16].astype(np.float32)
    more = [(0, max(0, n - have)) for n, have in zip(shape, block.shape, strict=True)]
    large = np.pad(block, more, mode="symmetric")
    out: Floats = large[tuple(slice(0, n) for n in shape)]
    return out


def _truth(target: Host, body: _Body, place: npt.NDArray[np.float64], density: str, attachment: str) -> Inserted:
    """What was put in, measured on the fine grid after clipping."""
    middle = (np.array(ndimage.center_of_mass(body.whole)) - (body.whole.shape[0] - 1) / 2) * body.step
    center = target.volume.to_patient(place + middle / np.array(target.volume.spacing))
    solid = {"solid": body.whole, "part-solid": body.core, "ground-glass": None}[density]
    return Inserted(
        center_mm=(round(center[0], 2), round(center[1], 2), round(center[2], 2)),
        volume_mm3=round(body.volume_mm3, 2),
        diameter_mm=round(sphere_diameter(body.volume_mm3), 2),
        density=density,
        attachment=attachment,
        solid_diameter_mm=None if solid is None else round(sphere_diameter(float(solid.sum()) * body.step**3), 2),
    )
