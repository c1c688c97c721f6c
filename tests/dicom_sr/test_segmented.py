"""Balls for what a person placed and sized: they fit the numbers, and the SEG says what they are."""

from dataclasses import replace

import numpy as np
import pytest

from dicom_sr import codes
from dicom_sr.edit import Edit, Spot, added, edited
from dicom_sr.findings import Findings
from dicom_sr.geometry import plane
from dicom_sr.read_seg import read_seg
from dicom_sr.revise import inherited
from dicom_sr.segmented import BALL, segmented, segments
from dicom_sr.voxels import unpack
from dicom_sr.write_seg import write_seg
from tests.dicom_sr.examples import SPACING, THICKNESS, ct, findings, references, two_nodules

VOXEL = SPACING[0] * SPACING[1] * THICKNESS


def spot(column: float = 30.5, row: float = 20.5, index: int = 4) -> Spot:
    at = plane(ct()[index])
    assert at is not None
    return Spot(image=references()[index], plane=at, column=column, row=row)


def person(*found: object) -> Findings:
    return replace(two_nodules(), findings=found, person="Wang^Fang", verified=True)


@pytest.mark.parametrize("diameter", [6.0, 7.5, 8.8])
def test_a_ball_has_the_volume_and_the_middle_of_the_numbers(diameter: float) -> None:
    edit = Edit(finding=codes.NODULE, numbers={codes.LONG_AXIS: diameter, codes.SHORT_AXIS: diameter}, spot=spot())
    (found,) = segmented(person(added(edit, tracking_id="Added 1", tracking_uid="2.25.9")), ct()).findings
    assert found.mask is not None and found.mask.method == BALL
    box = unpack(found.mask)
    assert box.sum() * VOXEL == pytest.approx(np.pi / 6 * diameter**3, rel=0.12)
    middle = np.argwhere(box).mean(axis=0) + found.mask.origin
    assert middle == pytest.approx((4, 20, 30), abs=0.01)


@pytest.mark.parametrize(("column", "row", "index"), [(0.2, 0.2, 0), (63.9, 63.9, 9), (0.5, 40.0, 5)])
def test_a_ball_at_the_edge_stays_on_the_images(column: float, row: float, index: int) -> None:
    edit = Edit(finding=codes.NODULE, numbers={codes.LONG_AXIS: 8.0}, spot=spot(column, row, min(index, len(ct()) - 1)))
    report = segmented(person(added(edit, tracking_id="Added 1", tracking_uid="2.25.9")), ct())
    seg = write_seg(report, ct())
    assert seg is not None and read_seg(seg, report) == report


def test_what_is_smaller_than_a_voxel_is_one() -> None:
    edit = Edit(finding=codes.NODULE, numbers={codes.LONG_AXIS: 0.1}, spot=spot(30.9, 20.1))
    (found,) = segmented(person(added(edit, tracking_id="Added 1", tracking_uid="2.25.9")), ct()).findings
    assert found.mask is not None and (found.mask.origin, found.mask.shape) == ((4, 20, 30), (1, 1, 1))


def test_only_what_a_person_changed_is_a_ball_and_the_segmentation_says_so() -> None:
    before = two_nodules()
    larger = edited(before.findings[0], Edit(numbers={codes.LONG_AXIS: 9.0, codes.SHORT_AXIS: 9.0}), spot())
    after = segmented(inherited(person(larger, before.findings[1]), before), ct())
    assert after.findings[1] == before.findings[1]
    seg = write_seg(after, ct())
    assert seg is not None
    first, second = seg.SegmentSequence
    assert (first.SegmentAlgorithmType, first.SegmentAlgorithmName) == ("SEMIAUTOMATIC", BALL)
    assert "SegmentationAlgorithmIdentificationSequence" not in first
    assert (second.SegmentAlgorithmType, second.SegmentAlgorithmName) == ("AUTOMATIC", "nodule_detection")
    assert segments(after) != segments(before)


def test_another_kind_at_the_same_size_keeps_its_voxels() -> None:
    before = two_nodules()
    mass = replace(before.findings[0], finding=codes.FINDING, mask=None)
    after = inherited(person(mass, before.findings[1]), before)
    assert after.findings[0].mask == before.findings[0].mask


def test_without_a_volume_nothing_is_drawn() -> None:
    edit = Edit(finding=codes.NODULE, numbers={codes.LONG_AXIS: 8.0}, spot=spot())
    report = person(added(edit, tracking_id="Added 1", tracking_uid="2.25.9"))
    assert segmented(report, ct()[:2]) == report
    tilted = ct()
    tilted[3].ImageOrientationPatient = [1, 0, 0, 0, 0, 1]
    assert segmented(report, tilted) == report
    assert segmented(findings(), ct()) == findings()
