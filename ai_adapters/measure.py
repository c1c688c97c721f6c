"""What is measured of a lesion: volume, its two axes on its largest axial slice, and its outline there.

The lesion is a share map (how much of each voxel it fills), so the volume is a sum and small lesions do not jump by
whole voxels. Lengths are mm.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ai_adapters.volume import Volume

Block = npt.NDArray[np.float32]
Pixel = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Axes:
    """Long and short axis on one slice, as SCOORD points (column, row), the first pixel's centre at (0.5, 0.5)."""

    #: Slice of the volume.
    slice_index: int
    long_mm: float
    short_mm: float
    long: tuple[Pixel, Pixel]
    #: At a right angle to the long one.
    short: tuple[Pixel, Pixel]
    #: Closed polygon along pixel edges, first point repeated at the end.
    outline: tuple[Pixel, ...]


@dataclass(frozen=True, kw_only=True)
class Region:
    """A lesion on the source grid: a box of shares and its corner (slice, row, column)."""

    origin: tuple[int, int, int]
    share: Block

    @property
    def mask(self) -> npt.NDArray[np.bool_]:
        """Voxels that the lesion fills by half or more; at least its fullest one."""
        return self.share >= min(0.5, float(self.share.max()))


def to_source(share: Block, origin: tuple[int, int, int], grid: Volume, source: Volume) -> Region:
    """A share map of ``grid`` (same axes and first voxel) on the finer or coarser grid of ``source``, linearly."""
    ratio = np.asarray(grid.spacing) / np.asarray(source.spacing)
    filled = np.argwhere(share > 0.02)
    low = np.floor((filled.min(axis=0) - 1 + origin) * ratio).astype(int)
    high = np.ceil((filled.max(axis=0) + 1 + origin) * ratio).astype(int) + 1
    low, high = np.maximum(low, 0), np.minimum(high, source.voxels.shape)
    axes = [np.arange(a, b) / r - o for a, b, r, o in zip(low, high, ratio, origin, strict=True)]
    places = np.stack(np.meshgrid(*axes, indexing="ij"))
    fine = ndimage.map_coordinates(share, places, order=1, mode="constant", prefilter=False)
    return Region(origin=(int(low[0]), int(low[1]), int(low[2])), share=fine.astype(np.float32))


def sphere_diameter(volume_mm3: float) -> float:
    """The diameter (mm) of the sphere of that volume: (6 V / pi)^(1/3)."""
    return float((6 * volume_mm3 / np.pi) ** (1 / 3))


def axes(region: Region, volume: Volume) -> Axes:
    """Long axis, and the longest chord at a right angle to it, on the slice where the lesion is largest."""
    areas = region.mask.sum(axis=(1, 2))
    where = int(areas.argmax())
    plane = region.share[where]
    _, row_mm, column_mm = volume.spacing
    points = _rim(plane) * (row_mm, column_mm)
    start, end = _farthest(points)
    along = (end - start) / max(float(np.linalg.norm(end - start)), 1e-9)
    first, second = _widest_chord(points, start, along)
    offset = np.asarray(region.origin[1:]) + 0.5

    def pixel(point: npt.NDArray[np.float64]) -> Pixel:
        row, column = point / (row_mm, column_mm) + offset
        return (float(column), float(row))

    return Axes(
        slice_index=region.origin[0] + where,
        long_mm=float(np.linalg.norm(end - start)),
        short_mm=float(np.linalg.norm(second - first)),
        long=(pixel(start), pixel(end)),
        short=(pixel(first), pixel(second)),
        outline=outline(region.mask[where], (region.origin[1], region.origin[2])),
    )


def _rim(plane: Block) -> npt.NDArray[np.float64]:
    """Points (row, column) where the share passes one half between neighbours, interpolated."""
    level = min(0.5, float(plane.max()) * 0.5)
    padded = np.pad(plane.astype(float), 1)
    points = []
    for axis in (0, 1):
        before = padded[:-1, :] if axis == 0 else padded[:, :-1]
        after = padded[1:, :] if axis == 0 else padded[:, 1:]
        crossing = np.argwhere((before >= level) != (after >= level))
        at = tuple(crossing.T)
        fraction = (level - before[at]) / (after[at] - before[at])
        here = crossing.astype(float) - 1
        here[:, axis] += fraction
        points.append(here)
    return np.concatenate(points)


def _farthest(points: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The two points that are farthest apart; they lie on the convex hull."""
    # Large, and most processes that know of adapters measure nothing.
    from scipy.spatial import ConvexHull, QhullError

    try:
        corners = points[ConvexHull(points).vertices]
    except QhullError:
        corners = points
    apart = np.linalg.norm(corners[:, None] - corners[None], axis=2)
    one, other = np.unravel_index(int(apart.argmax()), apart.shape)
    return corners[one], corners[other]


def _widest_chord(
    points: npt.NDArray[np.float64], start: npt.NDArray[np.float64], along: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Ends of the longest chord of the points' convex hull at a right angle to ``along``."""
    across = np.array([-along[1], along[0]])
    t, s = (points - start) @ along, (points - start) @ across
    stations = np.linspace(t.min(), t.max(), 65)[1:-1]
    upper, lower = _hull_side(t, s, stations, 1.0), _hull_side(t, s, stations, -1.0)
    best = int((upper - lower).argmax())
    base = start + stations[best] * along
    return base + lower[best] * across, base + upper[best] * across


def _hull_side(
    t: npt.NDArray[np.float64], s: npt.NDArray[np.float64], stations: npt.NDArray[np.float64], sign: float
) -> npt.NDArray[np.float64]:
    """Height of the convex hull's upper (sign 1) or lower (-1) side at the stations (Andrew's monotone chain)."""
    chain: list[tuple[float, float]] = []
    for point in sorted(zip(t.tolist(), (sign * s).tolist(), strict=True)):
        while len(chain) >= 2 and _turn(chain[-2], chain[-1], point) >= 0:
            chain.pop()
        chain.append(point)
    heights: npt.NDArray[np.float64] = sign * np.interp(stations, [p[0] for p in chain], [p[1] for p in chain])
    return heights


def _turn(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> float:
    """Positive for a turn to the left on the way a, b, c."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def outline(mask: npt.NDArray[np.bool_], origin: tuple[int, int]) -> tuple[Pixel, ...]:
    """The border of the mask's largest part along pixel edges, as (column, row) corners; closed."""
    parts, _ = ndimage.label(mask)
    part = np.pad(parts == int(np.argmax(np.bincount(parts.ravel())[1:])) + 1, 1)
    row, column = (int(v) for v in np.argwhere(part)[0])
    start = place = (row, column)
    # Walk with the mask on the right hand; a step is (rows, columns).
    step = (0, 1)
    corners: list[Pixel] = []
    while True:
        place = (place[0] + step[0], place[1] + step[1])
        turn = _next_step(part, place, step)
        if turn != step:
            corners.append((float(place[1] - 1 + origin[1]), float(place[0] - 1 + origin[0])))
        step = turn
        if place == start and step == (0, 1):
            return (*corners, corners[0])


def _next_step(part: npt.NDArray[np.bool_], corner: tuple[int, int], step: tuple[int, int]) -> tuple[int, int]:
    """Where to go from a pixel corner, keeping the mask on the right hand: left where it can, ahead, or right."""
    left, right = (-step[1], step[0]), (step[1], -step[0])
    if not part[_cell(corner[0], step[0] + right[0]), _cell(corner[1], step[1] + right[1])]:
        return right
    return left if part[_cell(corner[0], step[0] + left[0]), _cell(corner[1], step[1] + left[1])] else step


def _cell(corner: int, direction: int) -> int:
    """The pixel row (or column) that lies from a corner in a direction."""
    return corner if direction > 0 else corner - 1
