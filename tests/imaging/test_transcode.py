"""Every transfer syntax that pydicom's files come in, turned into every other, and read by somebody else's decoders."""

import shutil
import subprocess
import warnings
from functools import cache
from io import BytesIO
from pathlib import Path

import imagecodecs
import numpy as np
import openjpeg
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.data import get_testdata_file
from pydicom.data.data_manager import DATA_ROOT
from pydicom.encaps import generate_frames
from pydicom.pixels import pixel_array
from pydicom.pixels.processing import convert_color_space

from server.errors import HutongError, NotAcceptable, Unprocessable
from server.imaging import part10
from server.imaging import transfer_syntax as ts
from server.imaging.part10 import DEFLATED, EXPLICIT_LITTLE, IMPLICIT_LITTLE
from server.imaging.transcode import TARGETS, transcode

Pixels = NDArray[np.generic]
LOSSLESS = sorted(TARGETS - ts.LOSSY)
#: No decoder of pydicom's reads them: a cut-off file, frames of another size, header values that are no numbers.
UNREADABLE = {
    "MR_truncated.dcm", "JPEG2000-embedded-sequence-delimiter.dcm", "badVR.dcm", "nested_priv_SQ.dcm",
}  # fmt: skip
#: Read by none of them: a damaged codestream, and colours that an almost-marker obscures (see below).
UNSEEN = {"GDCMJ2K_TextGBR.dcm", "SC_rgb_jpeg.dcm"}


def _names() -> list[str]:
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in sorted((Path(DATA_ROOT) / "test_files").rglob("*.dcm")):
            try:
                dataset = pydicom.dcmread(path, stop_before_pixels=False)
            except (ValueError, OSError, pydicom.errors.InvalidDicomError, NotImplementedError, EOFError):
                continue
            meta = getattr(dataset, "file_meta", {})
            if "PixelData" in dataset and "TransferSyntaxUID" in meta and path.name not in UNREADABLE | UNSEEN:
                found.append(path.name)
    return found


NAMES = _names()


def raw(name: str) -> bytes:
    path = get_testdata_file(name, download=False)
    assert path is not None
    return Path(path).read_bytes()


def by_dcmtk(file: bytes, folder: Path) -> bytes:
    """The file decoded by dcmtk."""
    tool = shutil.which("dcmdjpeg")
    if tool is None:
        pytest.skip("dcmtk is not here")
    (folder / "in.dcm").write_bytes(file)
    subprocess.run([tool, str(folder / "in.dcm"), str(folder / "out.dcm")], check=True, capture_output=True)
    return (folder / "out.dcm").read_bytes()


def colours(file: bytes, folder: Path) -> Pixels:
    """Its pixels, colours as red, green and blue, by decoders that are not ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(BytesIO(file))
        syntax = str(dataset.file_meta.TransferSyntaxUID)
        if syntax in ts.HTJ2K:
            # Written by OpenJPH, read by OpenJPEG.
            count = int(dataset.get("NumberOfFrames", 1) or 1)
            frames = [imagecodecs.jpeg2k_decode(f) for f in generate_frames(dataset.PixelData, number_of_frames=count)]
            pixels = frames[0] if count == 1 else np.stack(frames)
            syntax = ts.JPEG_2000_LOSSLESS
        elif syntax in ts.JPEG - {ts.JPEG_BASELINE}:
            return colours(by_dcmtk(file, folder), folder)
        elif syntax in ts.JPEG_2000 and dataset.BitsAllocated > 8 and dataset.SamplesPerPixel > 1:
            count = int(dataset.get("NumberOfFrames", 1) or 1)
            frames = [openjpeg.decode(f) for f in generate_frames(dataset.PixelData, number_of_frames=count)]
            pixels = frames[0] if count == 1 else np.stack(frames)
        elif syntax == DEFLATED:
            pixels = dataset.pixel_array
            syntax = EXPLICIT_LITTLE
        else:
            return pixel_array(BytesIO(file), raw=False)
    if dataset.PhotometricInterpretation == "YBR_FULL":
        pixels = convert_color_space(pixels, "YBR_FULL", "RGB")
    return pixels


@cache
def _truth(name: str, folder: Path) -> Pixels:
    return colours(raw(name), folder)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dcmtk")


@pytest.mark.peer
@pytest.mark.parametrize("name", NAMES)
def test_every_lossless_transfer_syntax_keeps_every_pixel(name: str, folder: Path) -> None:
    file = raw(name)
    truth = _truth(name, folder)
    given = 0
    for target in LOSSLESS:
        try:
            made = transcode(file, target)
        except NotAcceptable:
            dataset = pydicom.dcmread(BytesIO(file), stop_before_pixels=True)
            assert dataset.BitsAllocated in (1, 32), target
            assert target not in (EXPLICIT_LITTLE, IMPLICIT_LITTLE, DEFLATED)
            continue
        assert part10.read_meta(made, 0, len(made)).transfer_syntax == target
        found = colours(made, folder)
        assert found.shape == truth.shape, target
        # Colours that were turned from YCbCr are rounded by each decoder in its own way.
        off = 2 if "ybr" in name or ts.JPEG_BASELINE in file.decode("latin_1") else 0
        assert np.abs(found.astype(np.int64) - truth.astype(np.int64)).max() <= off, target
        given += 1
    assert given >= 3


@pytest.mark.parametrize("target", LOSSLESS)
def test_there_and_back_is_the_same_data_set(target: str) -> None:
    file = transcode(raw("CT_small.dcm"), EXPLICIT_LITTLE)
    back = transcode(transcode(file, target), EXPLICIT_LITTLE)
    first, second = pydicom.dcmread(BytesIO(file)), pydicom.dcmread(BytesIO(back))
    # Implicit VR forgets what private values are; padding at the end says nothing.
    for dataset in (first, second):
        dataset.pop(0xFFFCFFFC, None)
    first.remove_private_tags()
    second.remove_private_tags()
    assert first.to_json_dict() == second.to_json_dict()


@pytest.mark.parametrize("name", ["reportsi.dcm", "test-SR.dcm", "rtplan.dcm", "UN_sequence.dcm", "priv_SQ.dcm"])
def test_what_has_no_pixels_changes_its_headers_only(name: str) -> None:
    file = raw(name)
    implicit = transcode(file, IMPLICIT_LITTLE)
    explicit = transcode(implicit, EXPLICIT_LITTLE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before, after = pydicom.dcmread(BytesIO(file)), pydicom.dcmread(BytesIO(explicit))
        for dataset in (before, after):
            dataset.remove_private_tags()
        assert before == after
    # Nothing to compress: told by the file's own meta information.
    compressed = transcode(file, ts.JPEG_2000_LOSSLESS)
    assert part10.read_meta(compressed, 0, len(compressed)).transfer_syntax == EXPLICIT_LITTLE


def test_what_loses_something_is_another_instance() -> None:
    file = raw("examples_rgb_color.dcm")
    before = pydicom.dcmread(BytesIO(file))
    after = pydicom.dcmread(BytesIO(transcode(file, ts.JPEG_BASELINE)))
    assert after.SOPInstanceUID != before.SOPInstanceUID == after.SourceImageSequence[0].ReferencedSOPInstanceUID
    assert after.file_meta.MediaStorageSOPInstanceUID == after.SOPInstanceUID
    assert (after.LossyImageCompression, after.LossyImageCompressionMethod) == ("01", "ISO_10918_1")
    assert after.LossyImageCompressionRatio > 2
    assert after.ImageType[0] == "DERIVED"
    assert after.PhotometricInterpretation == "YBR_FULL_422"
    again = pydicom.dcmread(BytesIO(transcode(file, ts.JPEG_BASELINE)))
    assert again.SOPInstanceUID == after.SOPInstanceUID
    decoded = pydicom.dcmread(BytesIO(transcode(after_bytes(after), EXPLICIT_LITTLE)))
    # Once lossy, always lossy.
    assert decoded.LossyImageCompression == "01"


def test_jpeg_has_lost_something_even_if_its_header_forgot_to_say_so() -> None:
    dataset = pydicom.dcmread(BytesIO(raw("SC_rgb_jpeg_dcmtk.dcm")))
    for keyword in ("LossyImageCompression", "LossyImageCompressionMethod"):
        dataset.pop(keyword, None)
    for target in (EXPLICIT_LITTLE, ts.JPEG_LS_LOSSLESS):
        made = pydicom.dcmread(BytesIO(transcode(after_bytes(dataset), target)))
        assert (made.LossyImageCompression, made.LossyImageCompressionMethod) == ("01", "ISO_10918_1")
        # Nothing more was lost: it is the same instance.
        assert made.SOPInstanceUID == dataset.SOPInstanceUID


def after_bytes(dataset: pydicom.Dataset) -> bytes:
    out = BytesIO()
    dataset.save_as(out)
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "target", "most"),
    [
        ("CT_small.dcm", ts.JPEG_2000_ANY, 40),
        ("CT_small.dcm", ts.HTJ2K_ANY, 40),
        ("examples_overlay.dcm", ts.JPEG_LS_NEAR, 2),
        ("examples_overlay.dcm", ts.JPEG_EXTENDED, 40),
        ("examples_rgb_color.dcm", ts.JPEG_2000_ANY, 16),
        ("examples_rgb_color.dcm", ts.HTJ2K_ANY, 16),
    ],
)
def test_lossy_frames_are_near(name: str, target: str, most: int, folder: Path) -> None:
    file = raw(name)
    found = pydicom.dcmread(BytesIO(transcode(transcode(file, target), EXPLICIT_LITTLE))).pixel_array
    truth = pydicom.dcmread(BytesIO(file)).pixel_array
    difference = np.abs(found.astype(int) - truth.astype(int))
    assert 0 < difference.max() <= most


@pytest.mark.parametrize("bits", [3, 8, 10, 12, 14, 16])
@pytest.mark.parametrize("signed", [False, True])
def test_all_depths_and_signs(bits: int, signed: bool) -> None:
    rng = np.random.default_rng(bits)
    low, high = (-(1 << (bits - 1)), 1 << (bits - 1)) if signed else (0, 1 << bits)
    kind = f"<{'i' if signed else 'u'}{1 if bits <= 8 else 2}"
    pixels = rng.integers(low, high, (37, 41)).astype(kind)
    dataset = pydicom.dcmread(BytesIO(raw("CT_small.dcm")))
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsStored, dataset.HighBit = bits, bits - 1
    dataset.BitsAllocated, dataset.PixelRepresentation = (8 if bits <= 8 else 16), int(signed)
    del dataset.PixelPaddingValue
    dataset.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes & 1)
    file = after_bytes(dataset)
    for target in LOSSLESS:
        back = pydicom.dcmread(BytesIO(transcode(transcode(file, target), EXPLICIT_LITTLE)))
        assert back.PixelData == dataset.PixelData, target


def test_bits_beyond_the_stored_ones_come_back() -> None:
    """An overlay in the high bits of a cell belongs to what lossless means."""
    pixels = (np.arange(64 * 64, dtype="<u2").reshape(64, 64) & 0x0FFF) | 0x1000
    dataset = pydicom.dcmread(BytesIO(raw("CT_small.dcm")))
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 12, 11, 0
    del dataset.PixelPaddingValue
    dataset.PixelData = pixels.tobytes()
    file = after_bytes(dataset)
    for target in LOSSLESS:
        back = pydicom.dcmread(BytesIO(transcode(transcode(file, target), EXPLICIT_LITTLE)))
        assert back.PixelData == dataset.PixelData, target


def test_rgb_that_says_so_is_left_alone() -> None:
    """SC_rgb_jpeg.dcm is RGB by its header, and what looks like Adobe's marker is none: a grey stays a grey."""
    truth = pydicom.dcmread(BytesIO(raw("SC_rgb_jpeg_dcmd.dcm"))).pixel_array
    for name in ("SC_rgb_jpeg.dcm", "SC_jpeg_no_color_transform.dcm", "SC_rgb_jpeg_app14_dcmd.dcm"):
        made = pydicom.dcmread(BytesIO(transcode(raw(name), EXPLICIT_LITTLE)))
        assert made.PhotometricInterpretation == "RGB"
        # One of them halved its colours' resolution: edges differ, planes don't.
        assert (np.abs(made.pixel_array.astype(int) - truth.astype(int)) > 40).mean() < 0.02, name


def test_frames_are_found_behind_their_offset_table() -> None:
    file = raw("SC_rgb_rle_16bit_2frame.dcm")
    made = pydicom.dcmread(BytesIO(transcode(file, ts.HTJ2K_LOSSLESS)))
    frames = list(generate_frames(made.PixelData, number_of_frames=2))
    assert made.PixelData[8:12] == b"\0\0\0\0"
    assert all(imagecodecs.htj2k_decode(frame).shape == (100, 100, 3) for frame in frames)


@pytest.mark.parametrize("target", ["1.2.840.10008.1.2.2", "1.2.840.10008.1.2.4.100", "1.2.3"])
def test_what_is_not_written(target: str) -> None:
    with pytest.raises(NotAcceptable, match="transfer-syntax"):
        transcode(raw("CT_small.dcm"), target)


def test_a_damaged_frame_is_said_to_be_one() -> None:
    file = bytearray(raw("MR_small_jp2klossless.dcm"))
    at = file.index(b"\xff\x4f\xff\x51")
    file[at + 8 : at + 12] = b"\x7f\xff\xff\xff"
    with pytest.raises(Unprocessable, match="size"):
        transcode(bytes(file), EXPLICIT_LITTLE)


@pytest.mark.parametrize("name", ["MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm"])
def test_mutants_are_refused_or_read(name: str) -> None:
    """Whatever the bytes of a frame are: an answer, or one of our errors."""
    file, rng = raw(name), np.random.default_rng(7)
    at = file.index(b"\xe0\x7f\x10\x00")
    for _ in range(150):
        broken = bytearray(file)
        for _ in range(int(rng.integers(1, 8))):
            broken[int(rng.integers(at, len(file)))] = int(rng.integers(0, 256))
        try:
            transcode(bytes(broken), EXPLICIT_LITTLE)
        except HutongError as error:
            assert error.details


def test_private_values_are_carried_unopened() -> None:
    """What looks like the start of a sequence in a private value of unknown VR need not be one."""
    dataset = pydicom.dcmread(BytesIO(raw("CT_small.dcm")))
    odd = b"\xfe\xff\x00\xe0\xff\xff\x00\x00odd "
    dataset.add_new(0x00991001, "UN", odd)
    for target in (IMPLICIT_LITTLE, DEFLATED, ts.RLE):
        made = pydicom.dcmread(BytesIO(transcode(after_bytes(dataset), target)))
        assert made.get_item(0x00991001).value == odd  # type: ignore[union-attr]
