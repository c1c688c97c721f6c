"""Which series is read, why others are not, and the key of an analysis."""

import random

import numpy as np
import pytest
from pydicom.dataset import Dataset

from ai_adapters.registry import registry
from ai_adapters.selection import analysis_key, input_digest, select
from ai_adapters.volume import UnusableSeries
from tests.ai_adapters.series import series

MANIFEST = registry().get("nodule_detection").manifest


def headers(count: int, uid: str, **attributes: object) -> list[Dataset]:
    """A CT series without pixels."""
    images = series(np.zeros((count, 2, 2), dtype=np.int16), spacing=(2.0, 1.0, 1.0))
    for number, image in enumerate(images):
        del image.PixelData
        image.SeriesInstanceUID = uid
        image.SOPInstanceUID = f"{uid}.{number}"
        for keyword, value in attributes.items():
            setattr(image, keyword, value)
    return images


def test_the_series_with_most_images_is_read_without_its_localizer() -> None:
    whole, part = headers(60, "2.25.1"), headers(40, "2.25.2")
    whole[0].ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    chosen = select(MANIFEST, part + whole)
    assert {image.SeriesInstanceUID for image in chosen} == {"2.25.1"}
    assert len(chosen) == 59


@pytest.mark.parametrize(
    ("count", "attributes", "says"),
    [
        (60, {"Modality": "SR"}, "modality SR is not CT"),
        (5, {}, "5 images, at least"),
        (60, {"BodyPartExamined": "KNEE"}, "body part KNEE"),
        (60, {"ImageOrientationPatient": [1.0, 0.0, 0.0, 0.0, 0.0, -1.0]}, "not axial"),
        (60, {"ImagePositionPatient": None}, "no ImagePositionPatient"),
        (60, {"ImageType": ["DERIVED", "SECONDARY"]}, "0 images"),
    ],
)
def test_a_series_that_does_not_fit_is_refused_with_the_reason(count: int, attributes: dict, says: str) -> None:
    with pytest.raises(UnusableSeries, match=says):
        select(MANIFEST, headers(count, "2.25.1", **attributes))


def test_a_series_without_body_part_is_read() -> None:
    assert len(select(MANIFEST, headers(60, "2.25.1"))) == 60


def test_coarse_slices_are_refused() -> None:
    images = headers(60, "2.25.1")
    for number, image in enumerate(images):
        image.ImagePositionPatient = [0.0, 0.0, number * 5.0]
    with pytest.raises(UnusableSeries, match=r"5\.00 mm apart"):
        select(MANIFEST, images)


def test_no_images_is_a_reason_too() -> None:
    with pytest.raises(UnusableSeries, match="no images"):
        select(MANIFEST, [])


def test_the_key_is_free_of_order_and_hangs_on_every_image() -> None:
    images = headers(60, "2.25.1")
    mixed = images[:]
    random.Random(2).shuffle(mixed)
    assert analysis_key(MANIFEST, mixed) == analysis_key(MANIFEST, images)
    assert input_digest(images[1:]) != input_digest(images)
    assert analysis_key(MANIFEST, images[1:]) != analysis_key(MANIFEST, images)
