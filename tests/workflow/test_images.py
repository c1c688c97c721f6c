"""Images are read as they came, whatever they are compressed with."""

import imagecodecs
import numpy as np
import pytest
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless, RLELossless

from server.errors import Unprocessable
from server.workflow.images import StudyImages
from tests.workflow.conftest import ACCESS, House, ct

SYNTAXES = (DeflatedExplicitVRLittleEndian, RLELossless, JPEGLSLossless, JPEG2000Lossless, JPEGLosslessSV1)


def compressed(image: Dataset, syntax: str) -> Dataset:
    pixels = image.pixel_array
    # The codecs know no sign: what they keep are the bits.
    bits = pixels.astype("<u2")
    if syntax == DeflatedExplicitVRLittleEndian:
        image.file_meta.TransferSyntaxUID = syntax
        return image
    if syntax == RLELossless:
        image.compress(RLELossless, generate_instance_uid=False)
        return image
    codecs = {
        JPEGLSLossless: imagecodecs.jpegls_encode,
        JPEG2000Lossless: lambda array: imagecodecs.jpeg2k_encode(array, codecformat="J2K", level=0),
        JPEGLosslessSV1: lambda array: imagecodecs.ljpeg_encode(array, bitspersample=16),
    }
    image.file_meta.TransferSyntaxUID = syntax
    image.PixelData = encapsulate([codecs[syntax](bits)])
    image["PixelData"].is_undefined_length = True
    return image


@pytest.mark.parametrize(
    "syntax", [DeflatedExplicitVRLittleEndian, RLELossless, JPEGLSLossless, JPEG2000Lossless, JPEGLosslessSV1]
)
def test_pixels_are_the_same(house: House, syntax: str) -> None:
    (original,) = ct(slices=slice(30, 31))
    expected = original.pixel_array.copy()
    (image,) = ct(slices=slice(30, 31))
    assert house.receive([compressed(image, syntax)]).refused == []
    images = StudyImages.of(house.retrieve, ACCESS, str(image.StudyInstanceUID))
    (header,) = images.headers()
    assert "PixelData" not in header
    assert np.array_equal(images.pixels(header).pixel_array, expected)


def test_a_damaged_frame_is_told(house: House) -> None:
    (image,) = ct(slices=slice(30, 31))
    image = compressed(image, JPEGLSLossless)
    image.PixelData = encapsulate([b"\xff\xd8" + b"\x00" * 400])
    house.receive([image])
    images = StudyImages.of(house.retrieve, ACCESS, str(image.StudyInstanceUID))
    (header,) = images.headers()
    with pytest.raises(Unprocessable):
        images.pixels(header)
