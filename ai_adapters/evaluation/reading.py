"""Runs a bundle on a scan, for its evaluation: all candidates, not cut by the bundle's threshold."""

import math
import time
from collections.abc import Iterable, Sequence

from pydicom.dataset import Dataset

from ai_adapters import foreign
from ai_adapters.evaluation.froc import Found, Scan, Truth
from ai_adapters.evaluation.reference import Reference, placed
from ai_adapters.evaluation.segment import Segment, dice
from ai_adapters.registry import Bundle
from ai_adapters.run import Measured, read_nodules
from ai_adapters.tasks.classification import ClassificationPlan
from ai_adapters.tasks.detection import Candidate
from ai_adapters.volume import Volume
from dicom_sr.findings import Findings


def read_scan(bundle: Bundle, name: str, volume: Volume, reference: Reference, threads: int | None = None) -> Scan:
    """What the bundle finds in a scan, beside what the reference has; raises UnusableSeries."""
    begin = time.perf_counter()
    if isinstance(bundle.manifest.plan, ClassificationPlan):
        chance = round(foreign.verdict(bundle, volume, threads)[0].chance, 4)
        seconds = round(time.perf_counter() - begin, 2)
        return Scan(name=name, seconds=seconds, truths=reference.truths, found=(), verdict=chance)
    found = _all_found(bundle, volume, reference, threads)
    seconds = round(time.perf_counter() - begin, 2)
    return Scan(name=name, seconds=seconds, truths=reference.truths, found=tuple(found))


def reported_scan(
    name: str, reports: Sequence[Findings], volume: Volume, reference: Reference, images: Iterable[Dataset] = ()
) -> Scan:
    """What a system's own reports say of a scan; a finding without a confidence has 1."""
    headers = {str(image.SOPInstanceUID): image for image in images}
    found = []
    for report in reports:
        for finding in report.findings:
            if (place := placed(finding, report, volume, headers)) is not None:
                said, segment = place
                found.append(
                    Found(
                        center_mm=said.center_mm,
                        confidence=1.0 if finding.confidence is None else finding.confidence,
                        volume_mm3=said.volume_mm3,
                        diameter_mm=said.diameter_mm,
                        dice=() if segment is None else tuple(_overlaps(segment, said.center_mm, reference)),
                    )
                )
    return Scan(name=name, seconds=0.0, truths=reference.truths, found=tuple(found))


def _all_found(bundle: Bundle, volume: Volume, reference: Reference, threads: int | None) -> list[Found]:
    if not foreign.is_foreign(bundle.manifest):
        return [_found(nodule, reference) for nodule in read_nodules(bundle, volume, threads)[0]]
    return [_box(candidate) for candidate in foreign.candidates(bundle, volume, threads)[0]]


def _box(candidate: Candidate) -> Found:
    """What a detector drew a box round, or only pointed at; the diameter is the mean of the box in plane."""
    x, y, z = (round(value, 2) for value in candidate.center_mm)
    extents = candidate.extents_mm
    return Found(
        center_mm=(x, y, z),
        confidence=round(candidate.confidence, 4),
        diameter_mm=None if extents is None else round((extents[1] + extents[2]) / 2, 2),
    )


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
