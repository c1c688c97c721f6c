"""The scan's voxel grid, coarse copies of it, and cubic interpolation between the two.

All points are DICOM patient coordinates in mm (LPS, PS3.3 C.7.6.2.1.1): x to the left, y to the back, z to the head.
Volumes are indexed [slice, row, column], slices from feet to head.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

Floats = npt.NDArray[np.floating[Any]]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid:
    """A regular grid of voxel centres."""

    #: (slices, rows, columns).
    shape: tuple[int, int, int]
    #: (slice, row, column) distances, mm.
    spacing: tuple[float, float, float]
    #: Centre of the first voxel (x, y, z), mm.
    origin: tuple[float, float, float]

    def axis(self, number: int) -> Floats:
        """Coordinates along array axis 0 (z), 1 (y) or 2 (x), mm."""
        return self.origin[2 - number] + self.spacing[number] * np.arange(self.shape[number], dtype=np.float64)

    def coarse(self, step: float, margin: int = 2) -> "Grid":
        """A grid of ``step`` mm that covers this one with ``margin`` cells around it."""
        counts = [
            int(np.ceil((n - 1) * s / step)) + 2 * margin + 1 for n, s in zip(self.shape, self.spacing, strict=True)
        ]
        x, y, z = (o - margin * step for o in self.origin)
        return Grid(shape=(counts[0], counts[1], counts[2]), spacing=(step,) * 3, origin=(x, y, z))

    def binned(self, factor: int) -> "Grid":
        """The same field of view with pixels ``factor`` times as large, slices unchanged."""
        nz, ny, nx = self.shape
        sz, sy, sx = self.spacing
        x, y, z = self.origin
        shift = (factor - 1) / 2
        return Grid(
            shape=(nz, -(-ny // factor), -(-nx // factor)),
            spacing=(sz, sy * factor, sx * factor),
            origin=(x + shift * sx, y + shift * sy, z),
        )


def cubic_weights(source_start: float, step: float, count: int, targets: Floats) -> Floats:
    """The matrix that interpolates ``count`` samples at ``targets``: Keys' cubic convolution with a = -1/2, 1981."""
    where = np.clip((np.asarray(targets, dtype=np.float64) - source_start) / step, 0.0, count - 1.0)
    base = np.floor(where).astype(np.int64)
    weights = np.zeros((len(where), count), dtype=np.float32)
    rows = np.arange(len(where))
    for offset in (-1, 0, 1, 2):
        t = np.abs(where - (base + offset))
        near = 1.5 * t**3 - 2.5 * t**2 + 1.0
        far = -0.5 * t**3 + 2.5 * t**2 - 4.0 * t + 2.0
        value = np.where(t <= 1.0, near, np.where(t < 2.0, far, 0.0))
        np.add.at(weights, (rows, np.clip(base + offset, 0, count - 1)), value.astype(np.float32))
    return weights


class Resampler:
    """Takes planes of a coarse field to the slices of a finer grid.

    Sparse products: dense ones would hand every slice to BLAS's threads, which costs more than it saves.
    """

    def __init__(self, coarse: Grid, fine: Grid) -> None:
        self._z, y, x = (
            cubic_weights(coarse.origin[2 - k], coarse.spacing[k], coarse.shape[k], fine.axis(k)) for k in range(3)
        )
        self._y, self._x = csr_array(y), csr_array(x)

    def slice(self, field: Floats, index: int) -> Floats:
        """The field on one slice of the fine grid."""
        weights = self._z[index]
        plane: Floats = sum(weights[k] * field[k] for k in np.flatnonzero(weights))
        return np.ascontiguousarray((self._x @ np.ascontiguousarray((self._y @ plane).T)).T)


class Lattice:
    """Smooth random variation fixed to the patient: normal numbers on a lattice, cubic in between, unit deviation."""

    def __init__(self, rng: np.random.Generator, step: float, reach: float = 330.0) -> None:
        self._step = step
        self._start = -reach
        count = int(2 * reach / step) + 1
        self._values = rng.standard_normal((count, count, count), dtype=np.float32)

    def on(self, grid: Grid, center: tuple[float, float, float]) -> Floats:
        """Values on a grid, the lattice centred on the patient at ``center``."""
        count = self._values.shape[0]
        out = self._values
        for k in range(3):
            # Each pass takes the first axis to the grid and puts it last; after three they are in order again.
            weights = csr_array(cubic_weights(self._start, self._step, count, grid.axis(k) - center[2 - k]))
            flat = weights @ out.reshape(count, -1)
            out = np.ascontiguousarray(np.moveaxis(flat.reshape(len(flat), *out.shape[1:]), 0, -1))
        return out


def sample(field: Floats, grid: Grid, points: Floats) -> Floats:
    """Trilinear values of a field at points (n, 3); outside the grid the border's value."""
    index = [
        np.clip((points[:, 2 - k] - grid.origin[2 - k]) / grid.spacing[k], 0, grid.shape[k] - 1.001) for k in range(3)
    ]
    base = [np.floor(i).astype(np.int64) for i in index]
    part = [i - b for i, b in zip(index, base, strict=True)]
    total = np.zeros(len(points), dtype=np.float64)
    for dz, dy, dx in corners():
        weight = np.ones(len(points))
        for fraction, step in zip(part, (dz, dy, dx), strict=True):
            weight = weight * (fraction if step else 1.0 - fraction)
        total += weight * field[base[0] + dz, base[1] + dy, base[2] + dx]
    return total


def corners() -> Iterator[tuple[int, int, int]]:
    """The eight corners of a cell."""
    for number in range(8):
        yield number >> 2 & 1, number >> 1 & 1, number & 1


def gradient(field: Floats, grid: Grid) -> tuple[Floats, Floats, Floats]:
    """Derivatives of a field along x, y and z, per mm."""
    dz, dy, dx = (np.asarray(part, dtype=field.dtype) for part in np.gradient(field, *grid.spacing))
    return dx, dy, dz


def as_distance(level: Floats, grid: Grid) -> Floats:
    """First-order signed distance (mm) of an implicit surface: level / |grad level|, negative inside."""
    dx, dy, dz = gradient(level, grid)
    out: Floats = level / np.maximum(np.sqrt(dx * dx + dy * dy + dz * dz), 1e-4)
    return out
