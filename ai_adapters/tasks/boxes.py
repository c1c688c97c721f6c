"""Boxes that models draw: from their own columns and units into the grid, thinned out, and joined over slices.

A box is (low, high) of (slice, row, column) on the grid, its borders between voxels: the voxels a to b span a-1/2 to
b+1/2.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ai_adapters.tasks.tensors import Block

Corner = npt.NDArray[np.float64]

#: What a model's columns may be called: first and last border, or centre and extent, along each axis.
COLUMNS = ("x1", "y1", "z1", "x2", "y2", "z2", "cx", "cy", "cz", "w", "h", "d")
_AXES = (("z", "d"), ("y", "h"), ("x", "w"))


@dataclass(frozen=True, kw_only=True)
class Box:
    """One candidate with the box that the model drew round it."""

    confidence: float
    low: Corner
    high: Corner

    @property
    def center(self) -> Corner:
        """Its middle."""
        return (self.low + self.high) / 2


def missing_axis(columns: Sequence[str], flat: bool) -> str | None:
    """The axis that columns do not tell; None where they tell all that are wanted."""
    for axis, extent in _AXES[1:] if flat else _AXES:
        if not ({f"{axis}1", f"{axis}2"} <= set(columns) or {f"c{axis}", extent} <= set(columns)):
            return axis
    return None


def decoded(
    rows: Block, scores: Block, columns: Sequence[str], tile: tuple[int, int, int], *, share: bool, head_first: bool
) -> list[Box]:
    """The boxes of one tile in voxels of the tile; ``share``: the model counts in parts of the tile.

    A model counts borders from the tile's first border, so that a tile of n voxels spans 0 to n.
    """
    named = {name: rows[:, number].astype(np.float64) for number, name in enumerate(columns)}
    low, high = np.zeros((len(rows), 3)), np.ones((len(rows), 3))
    for axis, (name, extent) in enumerate(_AXES):
        if f"{name}1" in named:
            low[:, axis], high[:, axis] = named[f"{name}1"], named[f"{name}2"]
        elif f"c{name}" in named:
            half = named[extent] / 2
            low[:, axis], high[:, axis] = named[f"c{name}"] - half, named[f"c{name}"] + half
        else:
            continue
        if share:
            low[:, axis] *= tile[axis]
            high[:, axis] *= tile[axis]
    if head_first and tile[0] > 1:
        low[:, 0], high[:, 0] = tile[0] - high[:, 0], tile[0] - low[:, 0]
    pairs = zip(scores.tolist(), low - 0.5, high - 0.5, strict=True)
    return [Box(confidence=float(score), low=a, high=b) for score, a, b in pairs if np.all(b > a)]


def moved(box: Box, corner: Sequence[int]) -> Box:
    """A box of a tile on the whole grid."""
    return replace(box, low=box.low + corner, high=box.high + corner)


def overlaps(box: Box, low: Corner, high: Corner) -> Corner:
    """Intersection over union of a box with each of several, whose corners are the rows."""
    axes = low.shape[1]
    own_low, own_high = box.low[-axes:], box.high[-axes:]
    both = np.prod(np.maximum(np.minimum(high, own_high) - np.maximum(low, own_low), 0), axis=1)
    whole = np.prod(high - low, axis=1) + np.prod(own_high - own_low) - both
    share: Corner = both / np.where(whole > 0, whole, 1)
    return share


def thinned(boxes: Sequence[Box], most: float, limit: int) -> list[Box]:
    """By falling confidence, without those that overlap more than ``most`` with a surer one or lie in it."""
    kept: list[Box] = []
    for box in sorted(boxes, key=lambda each: -each.confidence):
        if kept:
            low, high = np.array([each.low for each in kept]), np.array([each.high for each in kept])
            inside = np.all((low <= box.center) & (box.center <= high), axis=1)
            if inside.any() or (overlaps(box, low, high) > most).any():
                continue
        kept.append(box)
        if len(kept) == limit:
            break
    return kept


def joined(boxes: Sequence[Box], least: float) -> list[Box]:
    """Boxes of single slices as boxes of lesions: those of neighbouring slices that overlap by ``least`` in plane.

    The confidence is the highest, the box holds all of them.
    """
    lesions: list[list[Box]] = []
    open_: list[list[Box]] = []
    for box in sorted(boxes, key=lambda each: (float(each.low[0]), -each.confidence)):
        open_ = [lesion for lesion in open_ if box.low[0] - lesion[-1].low[0] < 1.5]
        lesion = _continued(box, [lesion for lesion in open_ if box.low[0] - lesion[-1].low[0] > 0.5], least)
        if lesion is None:
            lesion = []
            lesions.append(lesion)
            open_.append(lesion)
        lesion.append(box)
    return [
        Box(
            confidence=max(box.confidence for box in lesion),
            low=np.min([box.low for box in lesion], axis=0),
            high=np.max([box.high for box in lesion], axis=0),
        )
        for lesion in lesions
    ]


def _continued(box: Box, lesions: Sequence[list[Box]], least: float) -> list[Box] | None:
    """The lesion whose box on the slice before overlaps most; None where none does enough."""
    if not lesions:
        return None
    last = [lesion[-1] for lesion in lesions]
    shares = overlaps(box, np.array([each.low[1:] for each in last]), np.array([each.high[1:] for each in last]))
    best = int(shares.argmax())
    return lesions[best] if shares[best] > 0 and shares[best] >= least else None
