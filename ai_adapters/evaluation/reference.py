"""The lesions of a study by its reference: reports by TID 1500 (read into Findings) or a LIDC-IDRI reading.

Several reports of one study are several readers; marks of different readers within half of a diameter are one lesion,
and a lesion is asked for when enough of them marked it. A size is the first of: the diameter that the report gives, the
mean of its two axes, its only axis, the sphere of its volume, the sphere of its segment, the width of its graphic.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from ai_adapters.evaluation.froc import Truth
from ai_adapters.evaluation.lidc import lesions
from ai_adapters.evaluation.segment import Segment, agreed, on_grid
from ai_adapters.measure import sphere_diameter
from ai_adapters.volume import Volume
from dicom_sr import codes
from dicom_sr.findings import Finding, Findings, Region
from dicom_sr.geometry import bounding_rectangle, plane
from terminology.codings import Coding

#: Concepts whose value is a lesion's density: PS3.16 Annex D, "Lesion Density" and "Density".
_DENSITY = tuple(Coding(value=value, scheme="DCM", meaning="Density") for value in ("111035", "112118"))
#: A mark without any size, e.g. a point: as LIDC's marks below 3 mm.
_NO_SIZE_MM = 3.0


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The lesions of one study, each with its segment where there is one."""

    truths: tuple[Truth, ...]
    segments: tuple[Segment | None, ...]


@dataclass(frozen=True, kw_only=True)
class _Mark:
    """One reader's lesion."""

    reader: int
    truth: Truth
    segment: Segment | None


def of_reports(
    reports: Sequence[Findings], volume: Volume, images: Iterable[Dataset] = (), needed: int | None = None
) -> Reference:
    """The lesions that at least ``needed`` reports mark (more than half unless told); others count for nothing.

    ``images`` are headers by which a graphic's size is known. Findings without a place are left out.
    """
    headers = {str(image.SOPInstanceUID): image for image in images}
    wanted = len(reports) // 2 + 1 if needed is None else needed
    marks = [
        _Mark(reader=reader, truth=place[0], segment=place[1])
        for reader, report in enumerate(reports)
        for finding in report.findings
        if (place := placed(finding, report, volume, headers)) is not None
    ]
    groups = [_consensus(group, wanted) for group in _groups(marks)]
    return Reference(truths=tuple(truth for truth, _ in groups), segments=tuple(segment for _, segment in groups))


def of_lidc(xml: Path, volume: Volume, needed: int) -> Reference:
    """The lesions of a LIDC-IDRI reading that at least ``needed`` of its readers outlined; others count for nothing."""
    truths, segments = [], []
    for lesion in lesions(xml, volume):
        truths.append(
            Truth(
                center_mm=lesion.center_mm,
                diameter_mm=lesion.diameter_mm,
                volume_mm3=math.pi / 6 * lesion.diameter_mm**3,
                density=lesion.density,
                certain=lesion.readers >= needed,
            )
        )
        segments.append(Segment(origin=lesion.origin, voxels=lesion.share >= 0.5 - 1e-6))
    return Reference(truths=tuple(truths), segments=tuple(segments))


def placed(
    finding: Finding, report: Findings, volume: Volume, headers: Mapping[str, Dataset]
) -> tuple[Truth, Segment | None] | None:
    """Where a report's finding lies and how large it is, with its segment; None where it has no place."""
    segment = None if finding.mask is None else on_grid(finding.mask, report.sources, volume)
    center = finding.center_mm
    if segment is not None:
        filled = np.argwhere(segment.voxels).mean(axis=0) + segment.origin
        center = volume.to_patient([float(value) for value in filled])
    if center is None:
        return None
    spanned = None if segment is None else float(segment.voxels.sum()) * float(np.prod(volume.spacing))
    given = _measured(finding, codes.VOLUME)
    size = spanned if given is None else given
    diameter = _diameter(finding) or (sphere_diameter(size) if size else _width(finding.region, headers))
    density = next((each.value.meaning for each in finding.qualities if each.concept in _DENSITY), "")
    truth = Truth(center_mm=center, diameter_mm=diameter or _NO_SIZE_MM, volume_mm3=size, density=density)
    return truth, segment


def _measured(finding: Finding, concept: Coding) -> float | None:
    return next((each.value for each in finding.measurements if each.concept == concept and each.value > 0), None)


def _diameter(finding: Finding) -> float | None:
    given = _measured(finding, codes.DIAMETER)
    if given is not None:
        return given
    axes = [_measured(finding, concept) for concept in (codes.LONG_AXIS, codes.SHORT_AXIS)]
    lengths = [axis for axis in axes if axis is not None]
    return sum(lengths) / len(lengths) if lengths else None


def _width(region: Region | None, headers: Mapping[str, Dataset]) -> float | None:
    """The mean of a graphic's width and height, mm; None for a point and where the image is not at hand."""
    if region is None or len(region.points) < 2 or region.image.sop_instance_uid not in headers:
        return None
    at = plane(headers[region.image.sop_instance_uid], region.image.frame_number)
    if at is None:
        return None
    corners = bounding_rectangle(region.graphic_type, region.points)
    (left, top), (right, bottom) = corners[0], corners[2]
    return ((right - left) * at.spacing[1] + (bottom - top) * at.spacing[0]) / 2


def _groups(marks: Sequence[_Mark]) -> list[list[_Mark]]:
    """Marks of different readers at one place, the largest first."""
    groups: list[list[_Mark]] = []
    for mark in sorted(marks, key=lambda each: -each.truth.diameter_mm):
        for group in groups:
            others = all(other.reader != mark.reader for other in group)
            if others and math.dist(mark.truth.center_mm, group[0].truth.center_mm) <= group[0].truth.diameter_mm / 2:
                group.append(mark)
                break
        else:
            groups.append([mark])
    return groups


def _consensus(group: Sequence[_Mark], wanted: int) -> tuple[Truth, Segment | None]:
    """The mean of the readers, and the voxels that at least half of those marked who marked any."""
    truths = [mark.truth for mark in group]
    x, y, z = np.mean([truth.center_mm for truth in truths], axis=0)
    volumes = [truth.volume_mm3 for truth in truths if truth.volume_mm3 is not None]
    densities = Counter(truth.density for truth in truths if truth.density)
    truth = replace(
        truths[0],
        center_mm=(float(x), float(y), float(z)),
        diameter_mm=float(np.mean([truth.diameter_mm for truth in truths])),
        volume_mm3=float(np.mean(volumes)) if volumes else None,
        density=densities.most_common(1)[0][0] if densities else "",
        certain=len(group) >= wanted,
    )
    return truth, agreed([mark.segment for mark in group if mark.segment is not None])
