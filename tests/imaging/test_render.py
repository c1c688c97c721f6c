"""Pictures against the standard's formulas, computed here in their plainest form."""

import json
import struct
from collections.abc import Sequence
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageSequence
from pydicom.data import get_testdata_file
from pydicom.pixels import pixel_array
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi_lut
from pydicom.uid import ExplicitVRLittleEndian

from server.errors import BadRequest, NotAcceptable, Unprocessable
from server.imaging import colour, rendering
from server.imaging.bulk import frames_of_file
from server.imaging.pixel_worker import _answer
from server.imaging.render import draw
from server.imaging.rendering import Rendering

CT = "1.2.840.10008.5.1.4.1.1.2"


def raw(name: str) -> bytes:
    path = get_testdata_file(name, download=False)
    assert path is not None
    return Path(path).read_bytes()


def make(pixels: NDArray[Any], **attributes: Any) -> bytes:
    """An image of these pixels: rows, columns, or frames, rows, columns, or with samples last for RGB."""
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = CT, "1.2.3.1.1"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3", "1.2.3.1"
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.BitsAllocated = dataset.BitsStored = pixels.dtype.itemsize * 8
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    if pixels.ndim == 3:
        dataset.NumberOfFrames = pixels.shape[0]
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    content = pixels.tobytes()
    dataset.PixelData = content + b"\0" * (len(content) & 1)
    dataset["PixelData"].VR = "OW" if pixels.dtype.itemsize > 1 else "OB"
    out = BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


def picture(file: bytes, numbers: Sequence[int] = (1,), state: bytes = b"", **parameters: str) -> Image.Image:
    media_type = parameters.pop("media_type", "image/png")
    wanted = rendering.parse(parameters, media_type)
    return Image.open(BytesIO(draw(file, frames_of_file(file, numbers), list(numbers), wanted, state)))


def shown(file: bytes, numbers: Sequence[int] = (1,), state: bytes = b"", **parameters: str) -> NDArray[np.uint8]:
    return np.asarray(picture(file, numbers, state, **parameters))


def item(**attributes: Any) -> pydicom.Dataset:
    dataset = pydicom.Dataset()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


RAMP = np.arange(64 * 64, dtype="<i2").reshape(64, 64) - 1024


@pytest.mark.parametrize("function", ["linear", "linear-exact", "sigmoid"])
def test_windows(function: str) -> None:
    file = make(RAMP, RescaleSlope=2, RescaleIntercept=-50)
    found = shown(file, window=f"100,400,{function}").astype(int)
    value = RAMP * 2.0 - 50
    if function == "sigmoid":
        expected = 255 / (1 + np.exp(-4 * (value - 100) / 400))
    elif function == "linear":
        expected = np.clip(((value - 99.5) / 399 + 0.5) * 255, 0, 255)
    else:
        expected = np.clip(((value - 100) / 400 + 0.5) * 255, 0, 255)
    assert np.abs(found - expected).max() <= 1


def test_its_own_window_and_function() -> None:
    file = make(RAMP, WindowCenter=[100, 5], WindowWidth=[400, 10], VOILUTFunction="SIGMOID")
    assert (shown(file) == shown(file, window="100,400,sigmoid")).all()


def test_without_a_window_all_values_but_the_padding_are_told_apart() -> None:
    pixels = RAMP.copy()
    pixels[0] = -30000
    found = shown(make(pixels, PixelPaddingValue=-30000))
    assert found[1, 0] == found[0].max() == 0
    assert found[-1, -1] == 255


def test_monochrome1_and_presentation_lut_shape() -> None:
    assert (shown(make(RAMP, PhotometricInterpretation="MONOCHROME1")) >= 255 - shown(make(RAMP)) - 1.0).all()
    inverse = shown(make(RAMP, PresentationLUTShape="INVERSE"))
    assert (inverse == shown(make(RAMP, PhotometricInterpretation="MONOCHROME1"))).all()
    identity = make(RAMP, PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="IDENTITY")
    assert (shown(identity) == shown(make(RAMP))).all()


def test_lookup_tables_are_looked_up() -> None:
    pixels = np.arange(256, dtype="<u2").reshape(16, 16)
    modality = (np.arange(256) * 16).astype("<u2")
    voi = np.sqrt(np.linspace(0, 1, 4096)) * 65535
    file = make(
        pixels,
        ModalityLUTSequence=[item(LUTDescriptor=[256, 0, 16], ModalityLUTType="US", LUTData=modality.tobytes())],
        VOILUTSequence=[item(LUTDescriptor=[4096, 0, 16], LUTData=voi.astype("<u2").tobytes())],
    )
    dataset = pydicom.dcmread(BytesIO(file))
    expected = apply_voi_lut(apply_modality_lut(pixels, dataset), dataset).astype(float) / 65535 * 255
    assert np.abs(shown(file) - expected).max() <= 1


def test_functional_groups_of_the_frame() -> None:
    pixels = np.stack([RAMP, RAMP])
    groups = [item(FrameVOILUTSequence=[item(WindowCenter=centre, WindowWidth=200)]) for centre in (0, 500)]
    shared = item(PixelValueTransformationSequence=[item(RescaleSlope=2, RescaleIntercept=10, RescaleType="US")])
    file = make(pixels, PerFrameFunctionalGroupsSequence=groups, SharedFunctionalGroupsSequence=[shared])
    for number, centre in ((1, 0), (2, 500)):
        alone = make(RAMP, RescaleSlope=2, RescaleIntercept=10)
        assert (shown(file, [number]) == shown(alone, window=f"{centre},200,linear")).all()


@pytest.mark.parametrize(
    "name",
    ["examples_rgb_color.dcm", "SC_rgb_rle.dcm", "SC_rgb_jpeg_dcmtk.dcm", "SC_ybr_full_422_uncompressed.dcm"],
)
def test_colours(name: str) -> None:
    expected = pixel_array(get_testdata_file(name, download=False)).astype(int)
    assert np.abs(shown(raw(name)).astype(int) - expected).max() <= 3


def test_palettes() -> None:
    dataset = pydicom.dcmread(get_testdata_file("examples_palette.dcm", download=False))
    expected = apply_color_lut(dataset.pixel_array, dataset) >> 8
    assert (shown(raw("examples_palette.dcm")) == expected).all()


def test_segmented_palettes() -> None:
    """A discrete segment, a line from it, and the first again by reference (PS3.3 C.7.9.2)."""
    segmented = np.array([0, 2, 0, 256, 1, 254, 65535 & ~255], "<u2").tobytes()
    names = ("Red", "Green", "Blue")
    attributes = {f"{name}PaletteColorLookupTableDescriptor": [256, 0, 16] for name in names}
    attributes |= {f"Segmented{name}PaletteColorLookupTableData": segmented for name in names}
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    file = make(pixels, PhotometricInterpretation="PALETTE COLOR", **attributes)
    dataset = pydicom.dcmread(BytesIO(file))
    expected = apply_color_lut(pixels, dataset) >> 8
    assert np.abs(shown(file).astype(int) - expected).max() <= 1


def test_a_palette_without_tables_is_damaged() -> None:
    with pytest.raises(Unprocessable, match="palette"):
        shown(make(np.zeros((4, 4), np.uint8), PhotometricInterpretation="PALETTE COLOR"))


def test_overlays_in_their_group_and_in_spare_bits() -> None:
    plane = np.zeros((4, 6), np.uint8)
    plane[1, 2:5] = 1
    file = make(np.full((16, 16), 100, "<u2"), WindowCenter=500, WindowWidth=1000)
    dataset = pydicom.dcmread(BytesIO(file))
    for tag, vr, value in (
        (0x60000010, "US", 4), (0x60000011, "US", 6), (0x60000040, "CS", "G"), (0x60000050, "SS", [3, 5]),
        (0x60000100, "US", 1), (0x60000102, "US", 0),
    ):  # fmt: skip
        dataset.add_new(tag, vr, value)
    dataset.add_new(0x60003000, "OW", np.packbits(plane, axis=None, bitorder="little").tobytes() + b"\0")
    out = BytesIO()
    dataset.save_as(out)
    found = shown(out.getvalue())
    assert (found == 255).sum() == 3
    assert (found[3, 6:9] == 255).all()
    spare = np.full((16, 16), 100, "<u2")
    spare[5, 5] |= 0x1000
    dataset = pydicom.dcmread(BytesIO(make(spare, BitsStored=12, HighBit=11, WindowCenter=500, WindowWidth=1000)))
    for tag, value in ((0x60000010, 16), (0x60000011, 16), (0x60000100, 16), (0x60000102, 12)):
        dataset.add_new(tag, "US", value)
    dataset.add_new(0x60000050, "SS", [1, 1])
    out = BytesIO()
    dataset.save_as(out)
    found = shown(out.getvalue())
    assert found[5, 5] == 255
    # The bit is the overlay's, not the value's.
    assert np.unique(found).size == 2


def test_segments_have_their_colours() -> None:
    found = shown(raw("liver_1frame.dcm"))
    dataset = pydicom.dcmread(get_testdata_file("liver_1frame.dcm", download=False))
    assert ((found.sum(axis=-1) > 0) == (dataset.pixel_array > 0)).all()
    assert len(np.unique(found.reshape(-1, 3), axis=0)) == 2


@pytest.mark.parametrize(
    ("lab", "rgb"),
    [((65535, 32896, 32896), (255, 255, 255)), ((0, 32896, 32896), (0, 0, 0)), ((35579, 53664, 50858), (255, 0, 0))],
)
def test_cielab(lab: tuple[int, int, int], rgb: tuple[int, int, int]) -> None:
    """White, black and the red of sRGB (L 54.29, a 80.81, b 69.89 under D50)."""
    assert np.abs(np.array(colour.of_cielab(list(lab))) - rgb).max() <= 6


def test_viewports() -> None:
    pixels = np.zeros((40, 80), "<u2")
    pixels[:20, :20] = 1000
    file = make(pixels, WindowCenter=500, WindowWidth=1000)
    assert picture(file, viewport="40,40").size == (40, 20)
    assert picture(file, viewport="160,160").size == (160, 80)
    corner = shown(file, viewport="20,20,0,0,20,20")
    assert corner.shape == (20, 20)
    assert (corner > 250).all()
    assert (shown(file, viewport="20,20,60,20,20,20") == 0).all()
    turned = shown(file, viewport="80,40,0,0,-80,40")
    assert turned[0, -1] > 250 > turned[0, 0]
    upside = shown(file, viewport="80,40,0,0,80,-40")
    assert upside[-1, 0] > 250 > upside[0, 0]
    assert picture(file, viewport="30,30,,,,").size == (30, 15)
    with pytest.raises(NotAcceptable, match="region"):
        shown(file, viewport="20,20,200,0,20,20")


def test_pixels_that_are_no_squares() -> None:
    assert picture(make(RAMP, PixelAspectRatio=[2, 1])).size == (64, 128)
    assert picture(make(RAMP, PixelSpacing=[1, 2])).size == (128, 64)
    with pytest.raises(NotAcceptable, match="viewport"):
        shown(make(np.zeros((9000, 9000), np.uint8), PixelSpacing=[50, 1]))


def test_annotations_are_written_where_they_are_asked_for() -> None:
    file = make(np.zeros((256, 256), "<u2"), PatientName="Doe^Jane", PatientID="4711", Modality="CT", KVP="120")
    assert shown(file).max() == 0
    patient, technique = shown(file, annotation="patient"), shown(file, annotation="technique,patient")
    assert patient[:60, :128].max() > 200
    assert patient[:, 128:].max() == 0
    assert technique[:60, 128:].max() > 200


def test_animations() -> None:
    pixels = np.stack([np.full((16, 16), level, "<u2") for level in (0, 400, 800, 1000)])
    file = make(pixels, WindowCenter=500, WindowWidth=1000, FrameTime=250)
    moving = picture(file, [1, 2, 3, 4], media_type="image/gif")
    levels = [int(np.asarray(frame.convert("L"))[0, 0]) for frame in ImageSequence.Iterator(moving)]
    assert levels == sorted(levels)
    assert len(levels) == 4
    assert moving.info["duration"] == 250


def test_films() -> None:
    """An MP4 whose tables agree with its bytes; that browsers play it is tested with a browser."""
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 1000, (5, 33, 47)).astype("<u2")
    file = make(pixels, WindowCenter=500, WindowWidth=1000, FrameTime=40)
    wanted = rendering.parse({}, "video/mp4")
    film = draw(file, frames_of_file(file), [1, 2, 3, 4, 5], wanted)
    assert film[4:8] == b"ftyp"
    at = film.index(b"stsz") + 12
    count = struct.unpack_from(">I", film, at)[0]
    sizes = struct.unpack_from(f">{count}I", film, at + 4)
    offset = struct.unpack_from(">I", film, film.index(b"stco") + 12)[0]
    assert count == 5
    assert film[offset - 4 : offset] == b"mdat"
    assert offset + sum(sizes) == len(film)
    assert struct.unpack_from(">III", film, film.index(b"stts") + 8) == (1, 5, 3600)
    assert struct.unpack_from(">HH", film, film.index(b"av01", 40) + 28) == (47, 33)


@pytest.mark.parametrize(
    "parameters",
    [
        {"window": "1"}, {"window": "1,0,linear"}, {"window": "nan,1,linear"}, {"window": "1,1,cubic"},
        {"viewport": "0,0"}, {"viewport": "1,2,3"}, {"viewport": "9,9,0,0,0,5"}, {"viewport": "9,9,0,0,inf,5"},
        {"viewport": "99999,5"}, {"quality": "0"}, {"quality": "x"}, {"annotation": "weather"}, {"iccprofile": "cmyk"},
    ],
)  # fmt: skip
def test_parameters_that_are_none(parameters: dict[str, str]) -> None:
    with pytest.raises(BadRequest) as caught:
        rendering.parse(parameters, "image/png")
    assert caught.value.issues[0].expression in parameters


def test_what_is_asked_survives_the_way_to_the_worker() -> None:
    asked = {"viewport": "5,6,1,2,-3,4", "window": "1,2,sigmoid", "annotation": "patient", "quality": "7"}
    wanted = rendering.parse(asked, "image/gif")
    assert rendering.of_message(json.loads(json.dumps(asdict(wanted)))) == wanted


def test_mutants_are_refused_or_drawn() -> None:
    rng = np.random.default_rng(11)
    names = ("CT_small.dcm", "examples_overlay.dcm", "liver_1frame.dcm", "SC_rgb_rle.dcm", "rtdose_1frame.dcm")
    for name in names:
        file = raw(name)
        at = file.index(b"\xe0\x7f\x10\x00")
        frame = frames_of_file(file, [1])
        for _ in range(60):
            broken = bytearray(file[:at])
            for _ in range(int(rng.integers(1, 6))):
                broken[int(rng.integers(200, at))] = int(rng.integers(0, 256))
            message = {"verb": "render", "wanted": asdict(Rendering(media_type="image/jpeg")), "numbers": [1]}
            answer, made = _answer(message, [bytes(broken), b"", *frame])
            assert made or answer["details"]
