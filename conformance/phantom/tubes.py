"""Tapered tubes (vessels, bronchi, ribs): values, and their share of each voxel, averaged over the slice thickness."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from conformance.phantom.grid import Floats, Grid

_BOX_SIZES = np.array([2, 4, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256, 384, 512, 768, 1024])
_CHUNK = 400_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Tubes:
    """n straight tapered pieces with round ends."""

    #: (n, 3), mm.
    start: Floats
    end: Floats
    #: (n,), mm.
    start_radius: Floats
    end_radius: Floats

    def __len__(self) -> int:
        return len(self.start_radius)

    def moved(self, rotation: Floats, shift: Floats) -> "Tubes":
        """The same tubes after a rigid motion."""
        return Tubes(
            start=self.start @ rotation.T + shift,
            end=self.end @ rotation.T + shift,
            start_radius=self.start_radius,
            end_radius=self.end_radius,
        )

    def widened(self, by: Floats | float) -> "Tubes":
        """The same tubes with other radii (mm added); pieces that vanish are left out."""
        first, last = self.start_radius + by, self.end_radius + by
        return Tubes(
            start=self.start, end=self.end, start_radius=np.maximum(first, 0.05), end_radius=np.maximum(last, 0.05)
        ).where((first > 0.1) | (last > 0.1))

    def where(self, keep: npt.NDArray[np.bool_]) -> "Tubes":
        """Those pieces that ``keep`` marks."""
        return Tubes(
            start=self.start[keep],
            end=self.end[keep],
            start_radius=self.start_radius[keep],
            end_radius=self.end_radius[keep],
        )


def joined(*parts: Tubes) -> Tubes:
    """All pieces of several."""
    return Tubes(
        start=np.concatenate([p.start for p in parts]),
        end=np.concatenate([p.end for p in parts]),
        start_radius=np.concatenate([p.start_radius for p in parts]),
        end_radius=np.concatenate([p.end_radius for p in parts]),
    )


def chain(points: list[tuple[float, float, float]] | Floats, radii: list[float] | Floats) -> Tubes:
    """One tube along a polyline."""
    line = np.asarray(points, dtype=np.float64).reshape(-1, 3)
    radius = np.asarray(radii, dtype=np.float64)
    return Tubes(start=line[:-1], end=line[1:], start_radius=radius[:-1], end_radius=radius[1:])


def nothing() -> Tubes:
    """No pieces."""
    return chain(np.zeros((1, 3)), np.zeros(1))


def subslices(thickness: float) -> Floats:
    """Offsets (mm) at which a slice's box profile is sampled: one about every 0.85 mm."""
    count = max(1, round(thickness / 0.85))
    return (np.arange(count) + 0.5) / count * thickness - thickness / 2


def coverage(tubes: Tubes, grid: Grid, thickness: float) -> Floats:
    """The share (0..1) of each voxel of the grid that lies in a tube; overlapping pieces count once."""
    out = np.zeros(grid.shape, dtype=np.float32)
    reach = np.maximum(tubes.start_radius, tubes.end_radius) + grid.spacing[2]
    low, size, inside = _boxes(tubes, grid, reach, thickness)
    chosen = np.flatnonzero(inside)
    if not chosen.size:
        return out
    size = _BOX_SIZES[np.searchsorted(_BOX_SIZES, size)]
    keys, group = np.unique(size[chosen], axis=0, return_inverse=True)
    offsets = subslices(thickness)
    for number, shape in enumerate(keys):
        members = chosen[group.ravel() == number]
        per_chunk = max(1, int(_CHUNK // (int(np.prod(shape)) * len(offsets))))
        for begin in range(0, len(members), per_chunk):
            part = members[begin : begin + per_chunk]
            _paint(out, tubes, part, low[part], (int(shape[0]), int(shape[1]), int(shape[2])), grid, offsets)
    return out


def _boxes(
    tubes: Tubes, grid: Grid, reach: Floats, thickness: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """First index, extent and visibility of each piece's bounding box, clipped to the grid."""
    first, last = np.minimum(tubes.start, tubes.end), np.maximum(tubes.start, tubes.end)
    low = np.empty((len(tubes), 3), dtype=np.int64)
    high = np.empty_like(low)
    for k in range(3):
        more = reach + (thickness / 2 if k == 0 else 0.0)
        low[:, k] = np.ceil((first[:, 2 - k] - more - grid.origin[2 - k]) / grid.spacing[k])
        high[:, k] = np.floor((last[:, 2 - k] + more - grid.origin[2 - k]) / grid.spacing[k]) + 1
    low = np.clip(low, 0, None)
    high = np.minimum(high, np.asarray(grid.shape))
    size = high - low
    return low, np.clip(size, 1, 1024), (size > 0).all(axis=1)


def _paint(
    out: Floats,
    tubes: Tubes,
    part: npt.NDArray[np.int64],
    low: npt.NDArray[np.int64],
    shape: tuple[int, int, int],
    grid: Grid,
    offsets: Floats,
) -> None:
    """Raise ``out`` to the coverage by these pieces, all of which have boxes of one shape."""
    where = [low[:, k, None] + np.arange(shape[k]) for k in range(3)]
    axis = [w * grid.spacing[k] + grid.origin[2 - k] - tubes.start[part, 2 - k, None] for k, w in enumerate(where)]
    axis[0] = (axis[0][:, :, None] + offsets).reshape(len(part), -1)
    along = (tubes.end - tubes.start)[part]
    length2 = np.maximum((along**2).sum(axis=1), 1e-6)
    project = [a * along[:, 2 - k, None] for k, a in enumerate(axis)]
    dot = _outer([p.astype(np.float32) for p in project])
    square = _outer([(a * a).astype(np.float32) for a in axis])
    l2 = length2.astype(np.float32)[:, None, None, None]
    t = np.clip(dot / l2, 0.0, 1.0)
    square += t * (t * l2 - 2.0 * dot)
    r0 = tubes.start_radius[part].astype(np.float32)[:, None, None, None]
    r1 = tubes.end_radius[part].astype(np.float32)[:, None, None, None]
    share = r0 + t * (r1 - r0) - np.sqrt(np.maximum(square, 0.0))
    share = np.clip(share / np.float32(grid.spacing[2]) + 0.5, 0.0, 1.0)
    share = share.reshape(len(part), shape[0], len(offsets), shape[1], shape[2]).mean(axis=2)
    valid = [w < n for w, n in zip(where, grid.shape, strict=True)]
    share *= valid[0][:, :, None, None] & valid[1][:, None, :, None] & valid[2][:, None, None, :]
    flat = (where[0][:, :, None, None] * grid.shape[1] + where[1][:, None, :, None]) * grid.shape[2] + where[2][
        :, None, None, :
    ]
    hit = share > 0.004
    np.maximum.at(out.reshape(-1), flat[hit], share[hit])


def _outer(parts: list[Floats]) -> Floats:
    """Sum of per-axis values over each piece's box."""
    out: Floats = parts[0][:, :, None, None] + parts[1][:, None, :, None] + parts[2][:, None, None, :]
    return out
