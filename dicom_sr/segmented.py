"""Segments of what a person placed and sized but did not outline: a ball, and so named (PS3.3 C.8.20.4).

A report whose numbers a person changed has a segmentation that fits them: the program's voxels no longer do.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from pydicom import Dataset

from dicom_sr.edit import size_of
from dicom_sr.findings import Finding, Findings, Mask, Point
from dicom_sr.geometry import Plane, nearest, plane
from dicom_sr.voxels import pack

#: Segment Algorithm Name (0062,0009) of such a segment.
BALL = "ball of the mean diameter"


def segmented(findings: Findings, sources: Sequence[Dataset]) -> Findings:
    """The findings, those of a person that have a place and a size but no voxels as balls.

    ``sources`` are headers of the images. Without a volume (parallel images, all of which are there) nothing changes.
    """
    wanting = [one for one in findings.findings if one.by_person and one.mask is None]
    planes = _volume(findings, sources) if wanting else []
    if not planes:
        return findings
    found = tuple(replace(one, mask=_ball(one, planes)) if one in wanting else one for one in findings.findings)
    return replace(findings, findings=found)


def segments(findings: Findings) -> tuple[tuple[object, ...], ...]:
    """What a SEG says of the findings: two reports with the same segments need no other one."""
    return tuple(
        (one.tracking_id, one.tracking_uid, one.finding, one.site, one.laterality, one.mask)
        for one in findings.findings
        if one.mask is not None
    )


def _volume(findings: Findings, sources: Sequence[Dataset]) -> list[Plane]:
    """The planes of ``findings.sources``; empty where they are not of one volume."""
    headers = {str(one.SOPInstanceUID): one for one in sources}
    planes: list[Plane] = []
    for source in findings.sources:
        header = headers.get(source.sop_instance_uid)
        at = plane(header, source.frame_number) if header is not None else None
        if at is None or (planes and not planes[0].is_parallel(at)):
            return []
        planes.append(at)
    return planes if len(planes) > 1 and findings.frame_of_reference_uid else []


def _ball(finding: Finding, planes: Sequence[Plane]) -> Mask | None:
    radius = size_of(finding) / 2
    middle = nearest(finding.center_mm, planes) if finding.center_mm is not None else None
    if finding.center_mm is None or middle is None or not radius:
        return None
    center = finding.center_mm
    touched = [index for index, at in enumerate(planes) if at.distance(center) < radius] or [middle]
    first, last = min(touched), max(touched)
    (top, bottom), (left, right) = _extent(planes[middle], center, radius)
    if top >= bottom or left >= right:
        return None
    box = np.zeros((last - first + 1, bottom - top, right - left), np.bool_)
    for index in touched:
        column, row = planes[index].to_pixel(center)
        down = (np.arange(top, bottom) + 0.5 - row)[:, None] * planes[index].spacing[0]
        across = (np.arange(left, right) + 0.5 - column)[None] * planes[index].spacing[1]
        box[index - first] = down**2 + across**2 + planes[index].distance(center) ** 2 <= radius**2
    column, row = planes[middle].to_pixel(center)
    # What is smaller than a voxel is the voxel that it lies in.
    box[middle - first, min(int(row), bottom - 1) - top, min(int(column), right - 1) - left] = True
    mask = pack(box, (first, top, left))
    return None if mask is None else replace(mask, method=BALL)


def _extent(at: Plane, center: Point, radius: float) -> tuple[tuple[int, int], tuple[int, int]]:
    """Rows and columns of an image that a ball may touch, each as first and one past the last."""
    column, row = at.to_pixel(center)
    down, across = radius / at.spacing[0] + 1, radius / at.spacing[1] + 1
    rows = max(0, math.floor(row - down)), min(at.rows, math.ceil(row + down))
    columns = max(0, math.floor(column - across)), min(at.columns, math.ceil(column + across))
    return rows, columns
