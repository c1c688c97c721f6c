"""A surface around the voxels of a mask, as triangles: naive surface nets (Gibson 1998), with no table of cases.

One vertex for each cell of eight voxels that the surface crosses, in the middle of where its edges are crossed; one
square for each crossed edge between two voxels.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Volume = NDArray[np.float32]
#: Corners of a cell, (slice, row, column).
_CORNERS = [(a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1)]
_EDGES = [
    (one, other)
    for one in range(8)
    for other in range(one + 1, 8)
    if sum(abs(x - y) for x, y in zip(_CORNERS[one], _CORNERS[other], strict=True)) == 1
]


@dataclass(frozen=True, kw_only=True)
class Surface:
    """Triangles; voxel indices (slice, row, column), the centre of the first voxel at 0."""

    vertices: NDArray[np.float32]
    #: Three indices of vertices each, counter-clockwise seen from outside in a right-handed (slice, row, column).
    triangles: NDArray[np.uint32]


def surface(mask: NDArray[np.bool_], smoothing: float = 0.6) -> Surface:
    """The surface of a mask, smoothed by so many voxels; without triangles for an empty one."""
    padded = np.pad(mask, 2).astype(np.float32)
    field = ndimage.gaussian_filter(padded, smoothing) if smoothing else padded
    if field.max() <= 0.5:
        field = padded
    return _nets(field - np.float32(0.5), offset=2)


def _nets(field: Volume, offset: int) -> Surface:
    inside = field > 0
    cells = tuple(size - 1 for size in field.shape)
    values = [_shifted(field, corner, cells) for corner in _CORNERS]
    filled = np.sum([value > 0 for value in values], axis=0)
    crossed = np.asarray((filled > 0) & (filled < 8))
    index = np.full(cells, -1, np.int64)
    index[crossed] = np.arange(int(crossed.sum()))
    vertices = _vertices([value[crossed] for value in values]) + np.argwhere(crossed)
    squares = [_squares(inside, index, axis) for axis in range(3)]
    quads = np.concatenate(squares) if squares else np.empty((0, 4), np.int64)
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    return Surface(vertices=(vertices - offset).astype(np.float32), triangles=triangles.astype(np.uint32))


def _shifted(field: Volume, corner: tuple[int, int, int], cells: tuple[int, ...]) -> Volume:
    a, b, c = corner
    return field[a : a + cells[0], b : b + cells[1], c : c + cells[2]]


def _vertices(values: list[Volume]) -> NDArray[np.float64]:
    """The mean of the places where a cell's edges are crossed, from its first corner."""
    total = np.zeros((len(values[0]), 3))
    count = np.zeros(len(values[0]))
    for one, other in _EDGES:
        first, second = values[one], values[other]
        crosses = (first > 0) != (second > 0)
        share = np.where(crosses, first / np.where(crosses, first - second, 1), 0)
        start, way = np.array(_CORNERS[one]), np.array(_CORNERS[other]) - np.array(_CORNERS[one])
        total += np.where(crosses[:, None], start + share[:, None] * way, 0)
        count += crosses
    return total / np.maximum(count, 1)[:, None]


def _squares(inside: NDArray[np.bool_], index: NDArray[np.int64], axis: int) -> NDArray[np.int64]:
    """The squares between voxels along one axis, turned so that their front is outside."""
    near = np.moveaxis(inside, axis, 0)
    cells = np.moveaxis(index, axis, 0)
    first, second = near[:-1, 1:-1, 1:-1], near[1:, 1:-1, 1:-1]
    out = []
    # Moving the axis to the front keeps or mirrors the order of the other two.
    mirrored = axis == 1
    for leaves, flipped in ((first & ~second, mirrored), (~first & second, not mirrored)):
        at = np.argwhere(leaves)
        i, j, k = at[:, 0], at[:, 1], at[:, 2]
        corners = [cells[i, j, k], cells[i, j + 1, k], cells[i, j + 1, k + 1], cells[i, j, k + 1]]
        out.append(np.stack(corners[::-1] if flipped else corners, axis=1))
    return np.concatenate(out)
