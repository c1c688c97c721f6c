"""How a volume becomes the tensors that somebody else's model reads, by what its manifest declares.

A grid of the declared spacing (or of the declared size over the whole volume), tiles of the declared size with an
overlap, windows as channels, values in the declared range, axes in the declared order. Places on the grid are (slice,
row, column), slices from feet to head, voxel centres at whole numbers.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ai_adapters.lung_mask import grown, lung_mask
from ai_adapters.volume import UnusableSeries, Volume, resample

Block = npt.NDArray[np.float32]
Box = npt.NDArray[np.float64]

#: The spacing on which lungs are looked for, mm, and how far beyond them a place still counts, voxels of it.
_LUNG_SPACING, _LUNG_RIM = 3.0, 2.0


@dataclass(frozen=True, kw_only=True)
class TensorPlan:
    """What the manifest declares of the model's input."""

    #: (slice, row, column), mm; None for the series' own.
    spacing: tuple[float, float, float] | None
    #: HU, one pair for each channel.
    windows: tuple[tuple[float, float], ...]
    #: What a window's ends become.
    range: tuple[float, float]
    #: The tensor's axes in order, of the letters N C D H W; without D the model reads single slices.
    layout: str
    #: How often the grey image is repeated over the channels.
    repeat: int
    #: Neighbouring slices as channels, the middle one is the slice that is read; 1 for none.
    neighbours: int
    #: Of a tile along its axes, (D,) H, W; None for the whole grid at once.
    size: tuple[int, ...] | None
    #: The whole volume (3-D) or slice (2-D) is scaled to ``size`` instead of cut into tiles.
    whole: bool
    #: Sizes of the whole grid are rounded up to this.
    multiple_of: int
    #: Share of a tile that overlaps with the next one.
    overlap: float
    #: Only tiles and findings in the lungs count.
    in_lungs: bool
    #: Whether the first slice of the tensor is the one nearest to the head.
    head_first: bool

    @property
    def flat(self) -> bool:
        """Whether the model reads single slices."""
        return "D" not in self.layout

    @property
    def channels(self) -> int:
        """How many the tensor has."""
        return len(self.windows) * self.repeat * self.neighbours


def tensor_plan(content: dict[str, Any]) -> TensorPlan:
    """The plan in a manifest's ``preprocessing``, ``tensor`` and ``patches``."""
    before, tensor, patches = (content.get(name, {}) for name in ("preprocessing", "tensor", "patches"))
    windows = before.get("window_hu", [-1000, 400])
    pairs = windows if isinstance(windows[0], list) else [windows]
    spacing = before.get("spacing_mm")
    low, high = before.get("range", [0, 1])
    size = tensor.get("size")
    return TensorPlan(
        spacing=_spacing(spacing),
        windows=tuple((float(a), float(b)) for a, b in pairs),
        range=(float(low), float(high)),
        layout=tensor.get("layout", "NCDHW"),
        repeat=int(tensor.get("repeat", 1)),
        neighbours=int(tensor.get("neighbours", 1)),
        size=None if size is None else tuple(int(count) for count in size),
        whole=tensor.get("fit", "tiles") == "whole",
        multiple_of=int(tensor.get("multiple_of", 1)),
        overlap=float(patches.get("overlap", 0.25)),
        in_lungs=patches.get("inside", "all") == "lungs",
        head_first=tensor.get("first_slice", "feet") == "head",
    )


def _spacing(given: float | list[float] | None) -> tuple[float, float, float] | None:
    if given is None:
        return None
    if isinstance(given, int | float):
        return (float(given),) * 3
    along, down, across = (float(value) for value in given)
    return along, down, across


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A volume as the model sees it."""

    volume: Volume
    #: (slice, row, column) of a tile; slices 1 where the model reads single ones.
    tile: tuple[int, int, int]
    #: Where findings count; None for everywhere.
    lungs: npt.NDArray[np.bool_] | None

    def counts(self, index: Box) -> bool:
        """Whether a finding at a place counts."""
        if self.lungs is None:
            return True
        place = np.clip(np.rint(index).astype(int), 0, np.asarray(self.lungs.shape) - 1)
        return bool(self.lungs[tuple(place)])


def grid_of(volume: Volume, plan: TensorPlan) -> Grid:
    """The volume on the model's grid; raises UnusableSeries where lungs are wanted and none are seen."""
    spacing = _grid_spacing(volume, plan)
    same = np.allclose(spacing, volume.spacing, rtol=1e-3)
    grid = volume if same else resample(volume, spacing)
    return Grid(volume=grid, tile=_tile(grid.voxels.shape, plan), lungs=_lungs(grid) if plan.in_lungs else None)


def _grid_spacing(volume: Volume, plan: TensorPlan) -> tuple[float, float, float]:
    own = volume.spacing
    if plan.whole and plan.size is not None:
        counts = (volume.voxels.shape[0], *plan.size) if plan.flat else plan.size
        along, down, across = (n * s / c for n, s, c in zip(volume.voxels.shape, own, counts, strict=True))
        return along, down, across
    if plan.spacing is None:
        return own
    # A model of single slices reads those that there are.
    return (own[0], *plan.spacing[1:]) if plan.flat else plan.spacing


def _tile(shape: tuple[int, ...], plan: TensorPlan) -> tuple[int, int, int]:
    whole = tuple(-(-count // plan.multiple_of) * plan.multiple_of for count in shape)
    if plan.size is None:
        return (1, whole[1], whole[2]) if plan.flat else (whole[0], whole[1], whole[2])
    depth, rows, columns = (1, *plan.size) if plan.flat else plan.size
    return depth, rows, columns


def _lungs(grid: Volume) -> npt.NDArray[np.bool_]:
    """The lungs and a little around them, on the grid."""
    coarse = resample(grid, _LUNG_SPACING)
    lungs = lung_mask(coarse.voxels, _LUNG_SPACING)
    if not lungs.any():
        raise UnusableSeries("no lungs are seen in the series")
    near = grown(lungs, _LUNG_RIM)
    axes = [
        np.clip(np.rint(np.arange(count) * own / _LUNG_SPACING).astype(int), 0, most - 1)
        for count, own, most in zip(grid.voxels.shape, grid.spacing, near.shape, strict=True)
    ]
    fine: npt.NDArray[np.bool_] = near[np.ix_(*axes)]
    return fine


def corners(grid: Grid, plan: TensorPlan) -> Iterator[tuple[int, int, int]]:
    """The first voxel of each tile that is read; the last one along an axis ends with the grid."""
    starts = []
    for count, size in zip(grid.volume.voxels.shape, grid.tile, strict=True):
        # Rounded down: with a wider step, what lies between the middles of two tiles would be nobody's to tell.
        step = max(1, size if size == 1 else int(size * (1 - plan.overlap)))
        tiles = max(1, -(-(count - size) // step) + 1) if count > size else 1
        starts.append([max(0, min(number * step, count - size)) for number in range(tiles)])
    for first in starts[0]:
        for top in starts[1]:
            for left in starts[2]:
                inside = tuple(slice(a, a + b) for a, b in zip((first, top, left), grid.tile, strict=True))
                if grid.lungs is None or grid.lungs[inside].any():
                    yield first, top, left


def central(place: Box, corner: tuple[int, int, int], grid: Grid, overlap: float) -> bool:
    """Whether a place of the grid is this tile's to tell: not in the outer half of an overlap with the next tile.

    What a model says at the border of a tile it says of something cut off.
    """
    for axis, (low, size, count) in enumerate(zip(corner, grid.tile, grid.volume.voxels.shape, strict=True)):
        edge = size * overlap / 2 if size > 1 else 0.0
        first = low + edge - 0.5 if low > 0 else -np.inf
        last = low + size - edge - 0.5 if low + size < count else np.inf
        if not first <= place[axis] <= last:
            return False
    return True


def tensor(grid: Grid, corner: tuple[int, int, int], plan: TensorPlan) -> Block:
    """The tensor of one tile; beyond the grid lies what the window's lower end becomes."""
    around = plan.neighbours // 2
    slices = np.arange(corner[0] - around, corner[0] + grid.tile[0] + around)
    block = _cut(grid.volume.voxels, slices, corner, grid.tile)
    channels = [_windowed(block, window, plan.range) for window in plan.windows for _ in range(plan.repeat)]
    if plan.flat:
        planes = [plane for channel in channels for plane in channel[:: -1 if plan.head_first else 1]]
        return _ordered(np.stack(planes)[None], "NCHW", plan.layout)
    stack = np.stack(channels)[:, :: -1 if plan.head_first else 1]
    return _ordered(stack[None], "NCDHW", plan.layout)


def _cut(
    voxels: npt.NDArray[np.int16],
    slices: npt.NDArray[np.int_],
    corner: tuple[int, int, int],
    tile: tuple[int, int, int],
) -> npt.NDArray[np.float32]:
    """A box; beyond the first and last slice those again where neighbours are asked for, air elsewhere."""
    block = np.full((len(slices), tile[1], tile[2]), -np.inf, dtype=np.float32)
    near = np.clip(slices, 0, len(voxels) - 1) if tile[0] == 1 else slices
    part = voxels[:, corner[1] : corner[1] + tile[1], corner[2] : corner[2] + tile[2]]
    for number, place in enumerate(near):
        if 0 <= place < len(voxels):
            block[number, : part.shape[1], : part.shape[2]] = part[place]
    return block


def _windowed(block: npt.NDArray[np.float32], window: tuple[float, float], into: tuple[float, float]) -> Block:
    (low, high), (start, end) = window, into
    scaled = (np.clip(block, low, high) - low) * ((end - start) / (high - low)) + start
    return scaled.astype(np.float32)


def _ordered(stack: npt.NDArray[np.float32], axes: str, layout: str) -> Block:
    return np.ascontiguousarray(stack.transpose([axes.index(letter) for letter in layout]))


def unordered(values: Block, layout: str) -> Block:
    """An output laid out as the input is, as (N, C, D, H, W) or (N, C, H, W)."""
    axes = "NCDHW" if "D" in layout else "NCHW"
    return values.transpose([layout.index(letter) for letter in axes])
