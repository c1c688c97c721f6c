"""What a classifier of candidates sees: one cube finely sampled, and one twice as far, about the same middle.

Lengths are mm, positions fractional (z, y, x) voxels.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ai_adapters.volume import Volume

Block = npt.NDArray[np.float32]
Point = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Cube:
    """How large a classifier's cubes are."""

    #: Voxels along each edge.
    size: int
    #: Edge of a voxel of each channel, mm; the finest first.
    spacings_mm: tuple[float, ...]


def cubes(source: Volume, place_mm: Point, cube: Cube) -> Block:
    """HU about a place (mm from the source's first voxel along its axes), (channel, z, y, x).

    Beyond the volume its nearest voxel is repeated.
    """
    return np.stack([sampled(source, place_mm, cube.size, spacing) for spacing in cube.spacings_mm])


def sampled(source: Volume, place_mm: Point, size: int, spacing: float) -> Block:
    """One cube of ``size`` voxels of ``spacing`` mm, read linearly along each axis; mean of what it spans."""
    taps = [
        _taps((place_mm[axis] + (np.arange(size) - (size - 1) / 2) * spacing) / step, spacing / step, count)
        for axis, (step, count) in enumerate(zip(source.spacing, source.voxels.shape, strict=True))
    ]
    ranges = [slice(int(at.min()), int(at.max()) + 1) for at, _ in taps]
    part = source.voxels[tuple(ranges)].astype(np.float32)
    for axis, ((at, weights), where) in enumerate(zip(taps, ranges, strict=True)):
        # No matrices: for so small ones the threads of BLAS cost more than they save.
        along = [-1 if other == axis else 1 for other in range(3)]
        read = np.zeros([size if other == axis else n for other, n in enumerate(part.shape)], dtype=np.float32)
        for one, weight in zip(at, weights, strict=True):
            read += part.take(one - where.start, axis=axis) * weight.reshape(along)
        part = read
    return np.ascontiguousarray(part)


def _taps(at: npt.NDArray[np.float64], reach: float, count: int) -> tuple[npt.NDArray[np.int_], Block]:
    """Source voxels of each sample and how much each counts: a triangle as wide as the coarser of the two grids."""
    reach = max(reach, 1.0)
    at = np.clip(at, 0, count - 1)
    near = np.ceil(at - reach).astype(int) + np.arange(int(np.floor(2 * reach)) + 1)[:, None]
    weights = np.maximum(1 - np.abs(near - at) / reach, 0) * ((near >= 0) & (near < count))
    return np.clip(near, 0, count - 1), (weights / weights.sum(axis=0)).astype(np.float32)
