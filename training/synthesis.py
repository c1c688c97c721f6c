"""Draws nodules, and things that are none, into a patch of lung.

All is drawn on the patch's own isotropic grid. ``occupancy`` is the share of each voxel that the nodule fills: it is
what the network learns to give back, so the sum of it is the volume.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Block = npt.NDArray[np.float32]
Rng = np.random.Generator

DENSITIES = ("solid", "part_solid", "ground_glass")


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A nodule that was drawn."""

    #: Centre of mass, voxels.
    center: tuple[float, float, float]
    #: Of the sphere of the same volume, mm.
    diameter_mm: float
    #: Corner of the box of ``occupancy``.
    origin: tuple[int, int, int]
    occupancy: Block


def diameter(rng: Rng) -> float:
    """A diameter in mm: half are below 7 mm, where most is missed; large ones are not rare."""
    draw = rng.random()
    if draw < 0.09:
        return float(rng.uniform(18, 36))
    low, high = (2.8, 7.0) if draw < 0.62 else (5.0, 20.0)
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def draw_nodule(
    patch: Block, center: npt.NDArray[np.float64], size_mm: float, spacing: float, rng: Rng
) -> Drawn | None:
    """Draw one nodule into ``patch`` (HU, changed in place); None when too little of it lies inside the patch."""
    density = str(rng.choice(DENSITIES, p=(0.44, 0.20, 0.36)))
    if size_mm < 4.5 and density == "part_solid":
        density = "solid"
    low = np.maximum(np.floor(center - size_mm / spacing - 3).astype(int), 0)
    high = np.minimum(np.ceil(center + size_mm / spacing + 4).astype(int), patch.shape)
    if np.any(high - low < 3):
        return None
    occupancy = shape(low, high, center, size_mm, spacing, rng)
    if occupancy.sum() < 3:
        return None
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    _blend(patch[box], occupancy, density, rng)
    weights = np.argwhere(occupancy > 0.05)
    middle = np.average(weights, axis=0, weights=occupancy[occupancy > 0.05]) + low
    volume = float(occupancy.sum()) * spacing**3
    return Drawn(
        center=(float(middle[0]), float(middle[1]), float(middle[2])),
        diameter_mm=float((6 * volume / np.pi) ** (1 / 3)),
        origin=(int(low[0]), int(low[1]), int(low[2])),
        occupancy=occupancy,
    )


def shape(
    low: npt.NDArray[np.int_],
    high: npt.NDArray[np.int_],
    center: npt.NDArray[np.float64],
    size_mm: float,
    spacing: float,
    rng: Rng,
) -> Block:
    """Occupancy of an irregular body about ``center`` in the box ``low``..``high``."""
    axes = np.indices(tuple(high - low)).astype(np.float32)
    axes += (low - center)[:, None, None, None]
    axes *= spacing
    stretch = np.exp(rng.normal(0, 0.18, 3))
    stretch /= np.prod(stretch) ** (1 / 3)
    turned = np.tensordot(rotation(rng), axes, axes=1)
    turned /= stretch[:, None, None, None]
    radius = size_mm / 2
    distance = np.sqrt((turned**2).sum(axis=0)) - radius
    if rng.random() < 0.35 and size_mm > 5:
        for _ in range(int(rng.integers(1, 4))):
            offset = rng.normal(size=3)
            offset *= radius * rng.uniform(0.4, 0.9) / np.linalg.norm(offset)
            lobe = np.sqrt(((turned - offset[:, None, None, None]) ** 2).sum(axis=0)) - radius * rng.uniform(0.35, 0.8)
            distance = np.minimum(distance, lobe)
    rough = rng.uniform(0, 0.3) * radius
    distance += rough * _smooth_noise(distance.shape, max(1.2, radius / spacing * 0.6), rng)
    if rng.random() < 0.25 and size_mm > 7:
        distance = np.minimum(distance, _spicules(turned, radius, spacing, rng))
    return np.clip(0.5 - distance / spacing, 0, 1).astype(np.float32)


def _spicules(axes: Block, radius: float, spacing: float, rng: Rng) -> Block:
    """Signed distance to thin rays that leave the body and taper."""
    best = np.full(axes.shape[1:], np.inf, dtype=np.float32)
    for _ in range(int(rng.integers(4, 14))):
        ray = rng.normal(size=3)
        ray /= np.linalg.norm(ray)
        along = np.tensordot(ray, axes, axes=1)
        across = np.sqrt(np.maximum((axes**2).sum(axis=0) - along**2, 0))
        reach = radius * rng.uniform(1.2, 1.9)
        width = 0.22 * radius * np.clip(1 - along / reach, 0, 1)
        best = np.minimum(best, np.where((along > 0) & (along < reach), across - width, spacing * 2).astype(np.float32))
    return best


def _blend(region: Block, occupancy: Block, density: str, rng: Rng) -> None:
    """Mix the nodule's tissue into ``region`` with a point spread of its own."""
    spread = rng.uniform(0.15, 0.75, 3) * np.array([rng.uniform(1, 1.8), 1, 1])
    spread[2] = spread[1]
    seen = ndimage.gaussian_filter(occupancy, spread)
    noise = ndimage.gaussian_filter(rng.normal(size=region.shape), 0.6).astype(np.float32)
    noise *= rng.uniform(0, 40) / max(float(noise.std()), 1e-6)
    solid = rng.uniform(200, 600) if rng.random() < 0.05 else rng.normal(20, 45)
    if density == "solid":
        region += seen * (solid + noise - region)
        return
    # As dense as the lung around it and 90 to 480 HU more: the faintest are hardly seen.
    around = float(np.median(region[occupancy < 0.1])) if (occupancy < 0.1).any() else -850.0
    faint = min(around, -600) + float(np.exp(rng.uniform(np.log(90), np.log(480)))) + 0.5 * noise
    region += seen * np.maximum(faint - region, 0)
    if density == "part_solid":
        inner = rng.uniform(0.3, 0.7)
        distance = ndimage.distance_transform_edt(occupancy > 0.5)
        core = np.clip(distance - (1 - inner) * max(float(distance.max()), 1.0) + 0.5, 0, 1)
        core = ndimage.gaussian_filter(core.astype(np.float32), spread)
        region += core * np.maximum(solid + noise - region, 0)


def draw_vessel(patch: Block, rng: Rng, spacing: float) -> None:
    """Draw a bent, tapering, sometimes forking tube: what a nodule is most often mistaken for."""
    size = np.array(patch.shape)
    point = rng.uniform(0.1, 0.9, 3) * size
    way = rng.normal(size=3)
    way /= np.linalg.norm(way)
    radius = float(np.exp(rng.uniform(np.log(0.7), np.log(4.5)))) / spacing
    solid = rng.normal(30, 40)
    bend = rng.uniform(0, 0.25)
    seen = np.zeros(patch.shape, dtype=np.float32)
    for _ in range(int(rng.integers(10, 45))):
        _stamp(seen, point, radius)
        way += rng.normal(0, bend, 3)
        way /= np.linalg.norm(way)
        point = point + way * max(radius * 0.7, 0.6)
        radius *= rng.uniform(0.96, 1.0)
        if np.any(point < 0) or np.any(point >= size):
            break
    patch += seen * np.maximum(solid - patch, 0)


def draw_plate(patch: Block, rng: Rng, spacing: float) -> None:
    """Draw a bent thin sheet: a fissure, a band, an edge of pleura."""
    axes = np.indices(patch.shape).astype(np.float32)
    axes -= (rng.uniform(0.2, 0.8, 3) * np.array(patch.shape))[:, None, None, None]
    turned = np.tensordot(rotation(rng), axes, axes=1)
    height = turned[0] + rng.normal(0, 0.008) * turned[1] ** 2 + rng.normal(0, 0.008) * turned[2] ** 2
    extent = rng.uniform(6, 30)
    thick = rng.uniform(0.3, 1.6) / spacing
    seen = np.clip(thick + 0.5 - np.abs(height), 0, 1) * (np.hypot(turned[1], turned[2]) < extent)
    patch += ndimage.gaussian_filter(seen.astype(np.float32), 0.5) * np.maximum(rng.uniform(-700, 0) - patch, 0)


def _stamp(seen: Block, point: npt.NDArray[np.float64], radius: float) -> None:
    """Add a soft ball to ``seen``."""
    low = np.maximum(np.floor(point - radius - 1.5).astype(int), 0)
    high = np.minimum(np.ceil(point + radius + 2.5).astype(int), seen.shape)
    if np.any(high <= low):
        return
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    axes = np.indices(tuple(high - low)).astype(np.float32) + (low - point)[:, None, None, None]
    ball = np.clip(0.5 + radius - np.sqrt((axes**2).sum(axis=0)), 0, 1)
    seen[box] = np.maximum(seen[box], ball)


def rotation(rng: Rng) -> npt.NDArray[np.float64]:
    """A uniformly drawn rotation (QR of a Gaussian matrix)."""
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    turned: npt.NDArray[np.float64] = q * np.sign(np.diag(r))
    return turned


def _smooth_noise(extent: tuple[int, ...], scale: float, rng: Rng) -> Block:
    """Noise of unit standard deviation, smooth over ``scale`` voxels."""
    noise = ndimage.gaussian_filter(rng.normal(size=extent), scale).astype(np.float32)
    return noise / np.float32(max(float(noise.std()), 1e-6))
