"""Pixels to patient and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset

from dicom_sr.geometry import bounding_rectangle, nearest, plane
from tests.dicom_sr.examples import ct


def test_the_first_pixel_lies_at_the_image_position() -> None:
    at = plane(ct()[0])
    assert at is not None
    assert at.to_patient(0.5, 0.5) == (-24.0, -30.5, 100.0)
    assert at.to_pixel((-24.0, -30.5, 100.0)) == (0.5, 0.5)


@given(st.floats(-0.7, 0.7), st.floats(0, 60), st.floats(0, 60))
def test_there_and_back_on_a_tilted_plane(angle: float, column: float, row: float) -> None:
    image = ct()[2]
    image.ImageOrientationPatient = [float(np.cos(angle)), 0, float(np.sin(angle)), 0, 1, 0]
    at = plane(image)
    assert at is not None
    point = at.to_patient(column, row)
    assert at.to_pixel(point) == pytest.approx((column, row), abs=1e-6)
    assert at.distance(point) == pytest.approx(0, abs=1e-9)


def test_the_nearest_slice() -> None:
    planes = [plane(image) for image in ct()]
    assert nearest((0, 0, 103.6), planes) == 3
    assert nearest((0, 0, 0), [None]) is None


def test_frames_of_an_enhanced_image() -> None:
    shared, frame, image = Dataset(), Dataset(), Dataset()
    position, orientation, measures = Dataset(), Dataset(), Dataset()
    position.ImagePositionPatient = [1, 2, 3]
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    measures.PixelSpacing = [0.5, 0.5]
    frame.PlanePositionSequence = [position]
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    image.Rows = image.Columns = 4
    image.SharedFunctionalGroupsSequence = [shared]
    image.PerFrameFunctionalGroupsSequence = [frame]
    at = plane(image, 1)
    assert at is not None
    assert at.to_patient(0.5, 0.5) == (1, 2, 3)
    assert plane(image, 2) is None
    assert plane(image) is None


@pytest.mark.parametrize(
    ("kind", "points", "corners"),
    [
        ("POLYLINE", [(1, 2), (5, 3), (4, 9)], [(1, 2), (5, 9)]),
        ("CIRCLE", [(10, 10), (13, 14)], [(5, 5), (15, 15)]),
        ("POINT", [(3, 4)], [(2.5, 3.5), (3.5, 4.5)]),
    ],
)
def test_rectangle(kind: str, points: list[tuple[float, float]], corners: list[tuple[float, float]]) -> None:
    box = bounding_rectangle(kind, points)
    assert len(box) == 5
    assert box[0] == box[4] == corners[0]
    assert box[2] == corners[1]
