"""Segments on a volume's grid, and how much two of them overlap."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ai_adapters.volume import Volume
from dicom_sr.findings import ImageReference, Mask
from dicom_sr.voxels import unpack

Voxels = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A box of voxels and its first corner, (slice, row, column)."""

    origin: tuple[int, int, int]
    voxels: Voxels


def on_grid(mask: Mask, sources: Sequence[ImageReference], volume: Volume) -> Segment | None:
    """A report's mask on the grid of a volume of the same series; None where it lies on other images."""
    slices = {image.sop_instance_uid: number for number, image in enumerate(volume.sources)}
    box = unpack(mask)
    first, top, left = mask.origin
    if first + len(box) > len(sources):
        return None
    where = [slices.get(sources[first + number].sop_instance_uid) for number in range(len(box))]
    known = [place for place in where if place is not None]
    if len(known) < len(where):
        return None
    voxels = np.zeros((max(known) - min(known) + 1, *box.shape[1:]), dtype=np.bool_)
    for place, plane in zip(known, box, strict=True):
        voxels[place - min(known)] = plane
    return Segment(origin=(min(known), top, left), voxels=voxels)


def agreed(segments: Sequence[Segment]) -> Segment | None:
    """The voxels in at least half of the segments; None where there are none."""
    if not segments:
        return None
    low = np.min([segment.origin for segment in segments], axis=0)
    high = np.max([np.add(segment.origin, segment.voxels.shape) for segment in segments], axis=0)
    count = np.zeros(tuple(high - low), dtype=np.int32)
    for segment in segments:
        count[_box(segment, low)] += segment.voxels
    return Segment(origin=(int(low[0]), int(low[1]), int(low[2])), voxels=2 * count >= len(segments))


def dice(one: Segment, other: Segment) -> float:
    """Dice coefficient, 2 |A and B| / (|A| + |B|)."""
    low = np.maximum(one.origin, other.origin)
    high = np.minimum(np.add(one.origin, one.voxels.shape), np.add(other.origin, other.voxels.shape))
    if np.any(low >= high):
        return 0.0
    both = _part(one, low, high) & _part(other, low, high)
    return 2.0 * int(both.sum()) / max(int(one.voxels.sum()) + int(other.voxels.sum()), 1)


def _box(segment: Segment, low: npt.NDArray[np.int_]) -> tuple[slice, ...]:
    start = np.asarray(segment.origin) - low
    return tuple(slice(int(a), int(a) + n) for a, n in zip(start, segment.voxels.shape, strict=True))


def _part(segment: Segment, low: npt.NDArray[np.int_], high: npt.NDArray[np.int_]) -> Voxels:
    corner = np.asarray(segment.origin)
    part: Voxels = segment.voxels[
        tuple(slice(int(a), int(b)) for a, b in zip(low - corner, high - corner, strict=True))
    ]
    return part
