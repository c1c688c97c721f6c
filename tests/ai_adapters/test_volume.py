"""Geometry: order by place, patient coordinates, refusals that name the reason, resampling."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset

from ai_adapters.volume import UnusableSeries, Volume, crop, load, resample
from tests.ai_adapters.series import series

BLOCK = np.arange(6 * 4 * 5, dtype=np.int16).reshape(6, 4, 5) - 500


def test_order_is_by_place_whatever_the_order_sent() -> None:
    images = series(BLOCK)
    random.Random(1).shuffle(images)
    volume = load(images)
    np.testing.assert_array_equal(volume.voxels, BLOCK)
    assert [source.sop_instance_uid for source in volume.sources] == [f"2.25.100{n}" for n in range(6)]
    assert volume.spacing == (2.0, 1.0, 0.5)


def test_coordinates_are_the_standards() -> None:
    volume = load(series(BLOCK))
    # PS3.3 C.7.6.2.1.1: position + column * column spacing * row cosines + row * row spacing * column cosines.
    assert volume.to_patient((3, 2, 4)) == pytest.approx((-10 + 4 * 0.5, 20 + 2 * 1.0, -30 + 3 * 2.0))


def test_oblique_and_prone_series_keep_their_place() -> None:
    turn = np.radians(12)
    oblique = (np.cos(turn), np.sin(turn), 0.0, -np.sin(turn), np.cos(turn), 0.0)
    volume = load(series(BLOCK, orientation=oblique)[::-1])
    np.testing.assert_array_equal(volume.voxels, BLOCK)
    x, y, z = volume.to_patient((1, 1, 2))
    assert (x, y, z) == pytest.approx((-10 + np.cos(turn) - np.sin(turn), 20 + np.sin(turn) + np.cos(turn), -28))
    prone = load(series(BLOCK, orientation=(-1, 0, 0, 0, -1, 0)))
    assert prone.to_patient((0, 0, 2))[0] == pytest.approx(-11)


@given(st.tuples(*[st.floats(-50, 50) for _ in range(3)]))
def test_index_and_place_are_inverse(index: tuple[float, float, float]) -> None:
    volume = load(series(BLOCK, orientation=(0, 1, 0, 0, 0, -1)))
    assert volume.to_index(volume.to_patient(index)) == pytest.approx(index, abs=1e-6)


def test_missing_slice_is_refused_with_its_place() -> None:
    images = series(BLOCK)
    del images[3]
    with pytest.raises(UnusableSeries, match=r"4\.00 mm after slice 3 of 5, usually 2\.00 mm"):
        load(images)


def test_double_slice_is_refused() -> None:
    with pytest.raises(UnusableSeries, match="same place"):
        load(series(BLOCK) + series(BLOCK)[2:3])


def test_tilted_gantry_is_refused_with_its_angle() -> None:
    images = series(BLOCK)
    for number, image in enumerate(images):
        image.ImagePositionPatient[1] += number * 2.0 * np.tan(np.radians(10))
    with pytest.raises(UnusableSeries, match=r"tilted by 10\.0 degrees"):
        load(images)


@pytest.mark.parametrize(
    ("keyword", "value", "reason"),
    [
        ("ImageOrientationPatient", [0.0, 1.0, 0.0, 1.0, 0.0, 0.0], "Orientation"),
        ("PixelSpacing", [1.0, 0.7], "Pixel Spacing"),
        ("Rows", 3, "Rows"),
        ("FrameOfReferenceUID", "2.25.9", "Frame of Reference"),
        ("ImagePositionPatient", None, "no ImagePositionPatient"),
        ("NumberOfFrames", 2, "multi-frame"),
        ("PhotometricInterpretation", "MONOCHROME1", "MONOCHROME2"),
    ],
)
def test_images_that_differ_are_refused(keyword: str, value: object, reason: str) -> None:
    images = series(BLOCK)
    setattr(images[2], keyword, value)
    with pytest.raises(UnusableSeries, match=reason):
        load(images)


def test_padding_becomes_air_and_slopes_are_applied() -> None:
    images = series(BLOCK)
    images[0].RescaleSlope, images[0].RescaleIntercept = 2, -4000
    assert load(images).voxels[0].min() == -1024
    images[1].RescaleSlope = 0.5
    np.testing.assert_allclose(load(images).voxels[1], np.rint((BLOCK[1] + 1024) * 0.5 - 1024), atol=0)


def test_pixels_are_read_one_at_a_time() -> None:
    images = series(BLOCK)
    seen = []

    def read(header: object) -> object:
        seen.append(header.SOPInstanceUID)
        return header

    load(images[::-1], read)
    assert seen == [image.SOPInstanceUID for image in images]


def test_resampling_keeps_place_and_mass() -> None:
    z, y, x = np.indices((40, 60, 80))
    ball = 1000 * np.exp(-(((z - 20) * 2.0) ** 2 + ((y - 25) * 1.0) ** 2 + ((x - 44) * 0.5) ** 2) / 60)
    volume = load(series(ball.astype(np.int16) - 1000))
    small = resample(volume, 1.5)
    mass = (small.voxels.astype(float) + 1000).sum() * 1.5**3
    assert mass == pytest.approx(float((volume.voxels + 1000.0).sum()) * 1.0, rel=0.02)
    peak = np.unravel_index(int(small.voxels.argmax()), small.voxels.shape)
    assert small.to_patient(peak) == pytest.approx(volume.to_patient((20, 25, 44)), abs=0.8)


def test_crop_stays_in_place() -> None:
    volume = load(series(BLOCK))
    part = crop(volume, (2, 1, 1), (5, 3, 4))
    assert part.to_patient((0, 0, 0)) == volume.to_patient((2, 1, 1))
    assert part.sources == volume.sources[2:5]
    assert isinstance(part, Volume)


def test_slices_that_are_decoded_at_a_time_end_where_they_belong() -> None:
    hounsfield = np.random.default_rng(0).integers(-1000, 1000, (40, 6, 5)).astype(np.int16)
    asked: list[str] = []

    def read(header: Dataset) -> Dataset:
        asked.append(str(header.SOPInstanceUID))
        return header

    images = series(hounsfield)
    assert np.array_equal(load(images, read, workers=4).voxels, hounsfield)
    # Each slice once.
    assert sorted(asked) == sorted(str(image.SOPInstanceUID) for image in images)
    images[7].PhotometricInterpretation = "MONOCHROME1"
    with pytest.raises(UnusableSeries, match="MONOCHROME2"):
        load(images, read, workers=4)


def test_a_spacing_for_each_axis() -> None:
    volume = load(series(np.full((10, 12, 16), 7, dtype=np.int16), spacing=(2.0, 1.0, 0.5)))
    grid = resample(volume, (4.0, 1.0, 1.0))
    assert grid.voxels.shape == (5, 12, 8) and grid.spacing == pytest.approx((4.0, 1.0, 1.0))
    assert (grid.voxels == 7).all()
