"""Endless patches for training: a place in a case, turned and scaled at random, with nodules and vessels drawn in."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from training.cases import SPACING, Case
from training.synthesis import Block, Drawn, diameter, draw_nodule, draw_plate, draw_vessel, rotation

SIZE = 48
WINDOW = (-1000.0, 400.0)


@dataclass(kw_only=True)
class Patch:
    """What the network sees and what it should say."""

    image: Block
    #: Half resolution.
    heat: Block
    #: Half resolution: 0 where nothing is asked.
    heat_weight: Block
    share: Block
    share_weight: Block


def patches(cases: list[Case], weights: list[float], seed: int) -> Iterator[Patch]:
    """Patches without end; ``weights`` say how often each case is drawn from."""
    rng = np.random.default_rng(seed)
    chance = np.array(weights) / sum(weights)
    while True:
        patch = _patch(cases[int(rng.choice(len(cases), p=chance))], rng)
        yield patch
        # Drawing costs half as much as learning: each patch is seen once more, mirrored and with its axes changed.
        yield _mirrored(patch, rng)


def _mirrored(patch: Patch, rng: np.random.Generator) -> Patch:
    """The same patch seen from elsewhere."""
    order, flips = rng.permutation(3), [axis for axis in range(3) if rng.random() < 0.5]
    if rng.random() < 0.6:
        order = np.array([0, 2, 1])

    def turned(block: Block) -> Block:
        return np.ascontiguousarray(np.flip(block.transpose(order), flips))

    return Patch(
        image=turned(patch.image),
        heat=turned(patch.heat),
        heat_weight=turned(patch.heat_weight),
        share=turned(patch.share),
        share_weight=turned(patch.share_weight),
    )


def _patch(case: Case, rng: np.random.Generator) -> Patch:
    """One patch of one case."""
    center, kind = _place(case, rng)
    matrix = _turn(rng)
    offset = center - matrix @ (np.full(3, (SIZE - 1) / 2) + rng.uniform(-7, 7, 3))

    def take(block: npt.NDArray[np.generic], order: int) -> Block:
        source = block if block.dtype != np.bool_ else block.view(np.uint8)
        return ndimage.affine_transform(
            source, matrix, offset, (SIZE,) * 3, np.float32, order, mode="nearest", prefilter=False
        )

    image, share = take(case.hu, 1), np.zeros((SIZE,) * 3, dtype=np.float32)
    scale = abs(np.linalg.det(matrix)) ** (1 / 3)
    drawn = _own(case, matrix, offset, scale)
    if drawn:
        share = take(case.share, 1) / 255
    ignore = take(case.ignore, 0) > 0.5
    lung = take(case.lung, 0) > 0.5
    if kind != "hard" and rng.random() < (0.8 if kind == "lung" else 0.3):
        _distract(image, rng)
        _add_nodules(image, share, lung, drawn, rng)
    _disturb(image, rng)
    # The share answers "if this is a nodule, how far does it reach?"; whether it is one, the heat says.
    near = ndimage.maximum_filter(share > 0.02, size=11)
    share_weight = np.where(ignore, 0, np.where(near, 1, 0.02)).astype(np.float32)
    heat, heat_weight = _heat(drawn, ignore)
    return Patch(image=normalised(image), heat=heat, heat_weight=heat_weight, share=share, share_weight=share_weight)


def normalised(hounsfield: Block) -> Block:
    """HU to -1..1 by the window."""
    low, high = WINDOW
    return (np.clip(hounsfield, low, high) - low) / (high - low) * 2 - 1


def _place(case: Case, rng: np.random.Generator) -> tuple[npt.NDArray[np.float64], str]:
    """Where to cut: at a nodule, at a place once mistaken for one, or anywhere in the lung."""
    draw = rng.random()
    if len(case.nodules) and draw < (0.3 if len(case.nodules) < 10 else 0.4):
        # Small ones more often: they are the harder ones.
        chance = 1 / case.nodules[:, 3]
        return case.nodules[int(rng.choice(len(chance), p=chance / chance.sum())), :3].copy(), "nodule"
    if len(case.hard) and draw < 0.6:
        return case.hard[int(rng.integers(len(case.hard)))].astype(float), "hard"
    pool = case.border if rng.random() < 0.35 else case.inside
    return np.array(np.unravel_index(int(rng.choice(pool)), case.lung.shape), dtype=float), "lung"


def _turn(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Patch voxels to case voxels: mirrored, scaled, and turned by a little or (sometimes) by anything."""
    scale = np.exp(rng.normal(0, 0.1)) * np.exp(rng.normal(0, 0.04, 3))
    flip = rng.choice([-1.0, 1.0], 3)
    if rng.random() < 0.25:
        turn = rotation(rng)
    else:
        a, b, c = rng.normal(0, 0.15, 3)
        turn = _about(0, a) @ _about(1, b) @ _about(2, c)
    return turn @ np.diag(scale * flip)


def _about(axis: int, angle: float) -> npt.NDArray[np.float64]:
    """Rotation about one axis."""
    i, j = [other for other in range(3) if other != axis]
    turn = np.eye(3)
    turn[i, i] = turn[j, j] = np.cos(angle)
    turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
    return turn


def _own(
    case: Case, matrix: npt.NDArray[np.float64], offset: npt.NDArray[np.float64], scale: float
) -> list[tuple[float, float, float, float]]:
    """The case's own nodules whose centres lie in the patch, as (z, y, x, diameter in mm) of the patch."""
    found = []
    for z, y, x, size in case.nodules:
        here = np.linalg.solve(matrix, np.array([z, y, x]) - offset)
        if np.all(here > -size / SPACING / 2) and np.all(here < SIZE + size / SPACING / 2):
            found.append((float(here[0]), float(here[1]), float(here[2]), size / scale))
    return found


def _distract(image: Block, rng: np.random.Generator) -> None:
    """Draw vessels and sheets that are no nodules."""
    if rng.random() < 0.4:
        for _ in range(int(rng.integers(1, 4))):
            draw_vessel(image, rng, SPACING)
    if rng.random() < 0.15:
        draw_plate(image, rng, SPACING)


def _add_nodules(
    image: Block,
    share: Block,
    lung: npt.NDArray[np.bool_],
    drawn: list[tuple[float, float, float, float]],
    rng: np.random.Generator,
) -> None:
    """Draw up to three nodules at free places of the lung; on the border as often as inside."""
    depth = ndimage.distance_transform_edt(lung)
    inner = np.zeros_like(lung)
    inner[6:-6, 6:-6, 6:-6] = True
    for _ in range(int(rng.choice([0, 1, 2, 3], p=(0.12, 0.48, 0.28, 0.12)))):
        size = diameter(rng)
        radius = size / 2 / SPACING
        wanted = (depth > 0.3 * radius) & (depth < 1.3 * radius) if rng.random() < 0.4 else depth > radius * 0.8
        if rng.random() < 0.3:
            # On a vessel, as one in three is.
            wanted = (depth > radius * 0.8) & (image > -500)
        pool = np.flatnonzero(wanted & inner)
        if not pool.size:
            continue
        center = np.array(np.unravel_index(int(rng.choice(pool)), lung.shape)) + rng.uniform(-0.5, 0.5, 3)
        if any(np.linalg.norm(np.array(other[:3]) - center) < radius + other[3] / 2 / SPACING + 3 for other in drawn):
            continue
        made = _draw_inside(image, lung, center, size, rng)
        if made is None:
            continue
        box = tuple(slice(a, a + b) for a, b in zip(made.origin, made.occupancy.shape, strict=True))
        share[box] = np.maximum(share[box], made.occupancy)
        drawn.append((*made.center, made.diameter_mm))


def _draw_inside(
    image: Block, lung: npt.NDArray[np.bool_], center: npt.NDArray[np.float64], size: float, rng: np.random.Generator
) -> Drawn | None:
    """Draw one nodule and take back what fell outside the lung: a chest wall stays a chest wall."""
    before = image.copy()
    made = draw_nodule(image, center, size, SPACING, rng)
    if made is None:
        return None
    np.copyto(image, before, where=~lung & (before > -300))
    box = tuple(slice(a, a + b) for a, b in zip(made.origin, made.occupancy.shape, strict=True))
    made.occupancy[~lung[box] & (before[box] > -300)] = 0
    volume = float(made.occupancy.sum()) * SPACING**3
    if volume < 4:
        return None
    middle = ndimage.center_of_mass(made.occupancy)
    place = tuple(float(a + b) for a, b in zip(middle, made.origin, strict=True))
    size = float((6 * volume / np.pi) ** (1 / 3))
    return Drawn(center=(place[0], place[1], place[2]), diameter_mm=size, origin=made.origin, occupancy=made.occupancy)


def _disturb(image: Block, rng: np.random.Generator) -> None:
    """Another scanner: sharper or softer, noisier, a little lighter or darker."""
    kind = rng.random()
    if kind < 0.3:
        image[:] = ndimage.gaussian_filter(image, rng.uniform(0.2, 0.7))
    elif kind < 0.5:
        image += rng.uniform(0.2, 0.9) * (image - ndimage.gaussian_filter(image, 0.8))
    if rng.random() < 0.6:
        noise = rng.normal(size=image.shape).astype(np.float32)
        if rng.random() < 0.5:
            noise = ndimage.gaussian_filter(noise, rng.uniform(0.3, 0.8))
        image += noise * (rng.uniform(0, 60) / max(float(noise.std()), 1e-6))
    image *= rng.uniform(0.95, 1.05)
    image += rng.normal(0, 15)


def _heat(drawn: list[tuple[float, float, float, float]], ignore: npt.NDArray[np.bool_]) -> tuple[Block, Block]:
    """Gaussian hills at half resolution, 1 at the voxel nearest to each centre (after CenterNet)."""
    half = SIZE // 2
    heat = np.zeros((half,) * 3, dtype=np.float32)
    axes = np.indices(heat.shape).astype(np.float32)
    for z, y, x, size in drawn:
        middle = (np.array([z, y, x]) - 0.5) / 2
        sigma = np.clip(size / 6, 1.8, 5.0) / (2 * SPACING)
        square = ((axes - middle[:, None, None, None]) ** 2).sum(axis=0)
        hill = np.exp(-square / (2 * sigma**2))
        if square.min() < 1:
            hill[np.unravel_index(int(square.argmin()), heat.shape)] = 1
        heat = np.maximum(heat, hill)
    weight = 1 - ignore[::2, ::2, ::2].astype(np.float32)
    return heat, np.maximum(weight, heat > 0.99)
