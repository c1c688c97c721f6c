"""Runs a bundle on a scan, for its evaluation: all candidates, not cut by the bundle's threshold."""

import math
import time
from collections.abc import Sequence

from ai_adapters.evaluation.froc import Found, Scan, Truth
from ai_adapters.evaluation.reference import Reference
from ai_adapters.evaluation.segment import Segment, dice
from ai_adapters.registry import Bundle
from ai_adapters.run import Measured, read_nodules
from ai_adapters.volume import Volume


def read_scan(bundle: Bundle, name: str, volume: Volume, reference: Reference, threads: int | None = None) -> Scan:
    """What the bundle finds in a scan, beside what the reference has; raises UnusableSeries."""
    begin = time.perf_counter()
    nodules, _, _ = read_nodules(bundle, volume, threads)
    seconds = round(time.perf_counter() - begin, 2)
    found = tuple(_found(nodule, reference) for nodule in nodules)
    return Scan(name=name, seconds=seconds, truths=reference.truths, found=found)


def _found(nodule: Measured, reference: Reference) -> Found:
    x, y, z = (round(value, 2) for value in nodule.center_mm)
    segment = Segment(origin=nodule.region.origin, voxels=nodule.region.mask)
    return Found(
        center_mm=(x, y, z),
        confidence=round(nodule.confidence, 4),
        volume_mm3=round(nodule.volume_mm3, 1),
        diameter_mm=round((nodule.axes.long_mm + nodule.axes.short_mm) / 2, 2),
        dice=tuple(_overlaps(segment, nodule.center_mm, reference)),
    )


def _overlaps(segment: Segment, center: Sequence[float], reference: Reference) -> list[tuple[int, float]]:
    """Dice with each segment of a lesion that the finding may be meant for."""
    return [
        (number, round(dice(segment, other), 4))
        for number, (truth, other) in enumerate(zip(reference.truths, reference.segments, strict=True))
        if other is not None and _near(center, truth)
    ]


def _near(center: Sequence[float], truth: Truth) -> bool:
    return math.dist(center, truth.center_mm) <= truth.diameter_mm
