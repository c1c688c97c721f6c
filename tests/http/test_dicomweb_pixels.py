"""Frames, pictures and thumbnails over real sockets, native and compressed."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import pydicom
import pytest
from dicomweb_client import DICOMwebClient
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.encaps import generate_frames

Make = Callable[..., bytes]
INSTANCE = "/studies/1.2.3/series/1.2.3.1/instances/1.2.3.1.1"
#: Compressed files that pydicom brings along, with what their pixels are without compression.
COMPRESSED = ["MR_small_RLE.dcm", "MR_small_jpeg_ls_lossless.dcm", "MR_small_jp2klossless.dcm", "SC_rgb_jpeg_gdcm.dcm"]


@pytest.fixture
def url(dicomweb_url: str) -> str:
    return dicomweb_url


def stow(url: str, file: bytes) -> None:
    answer = httpx.post(f"{url}/studies", content=file, headers={"Content-Type": "application/dicom"})
    assert answer.status_code == 200, answer.text


def sample(name: str) -> bytes:
    """A file of pydicom's, with the UIDs and the pixels that it has."""
    path = get_testdata_file(name, download=False)
    if path is None:
        pytest.skip(f"pydicom's {name} is not here")
    return Path(path).read_bytes()


def place(url: str, file: bytes) -> tuple[str, pydicom.Dataset]:
    dataset = pydicom.dcmread(BytesIO(file))
    uids = dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID
    return "{}/studies/{}/series/{}/instances/{}".format(url, *uids), dataset


def test_native_frames(url: str, make_instance: Make) -> None:
    pixels = np.arange(3 * 64, dtype="<u2")
    stow(url, make_instance(NumberOfFrames=3, PixelData=pixels.tobytes()))
    client = DICOMwebClient(url)
    frames = client.retrieve_instance_frames("1.2.3", "1.2.3.1", "1.2.3.1.1", frame_numbers=[3, 1])
    assert frames == [pixels[128:].tobytes(), pixels[:64].tobytes()]
    alone = httpx.get(f"{url}{INSTANCE}/frames/2", headers={"Accept": "application/octet-stream"})
    assert alone.content == pixels[64:128].tobytes()
    assert httpx.get(f"{url}{INSTANCE}/frames/4").status_code == 404
    assert httpx.get(f"{url}{INSTANCE}/frames/x").status_code == 400


def test_frames_of_single_bits_that_end_inside_a_byte(url: str, make_instance: Make) -> None:
    bits = np.random.default_rng(1).integers(0, 2, (2, 3, 5), np.uint8)
    packed = np.packbits(bits.reshape(-1), bitorder="little").tobytes()
    stow(url, make_instance(NumberOfFrames=2, Rows=3, Columns=5, BitsAllocated=1, BitsStored=1, PixelData=packed))
    answer = httpx.get(f"{url}{INSTANCE}/frames/2", headers={"Accept": "application/octet-stream"})
    found = np.unpackbits(np.frombuffer(answer.content, np.uint8), bitorder="little")[:15]
    assert (found == bits[1].reshape(-1)).all()


@pytest.mark.parametrize("name", COMPRESSED)
def test_compressed_frames_go_as_they_are_or_decoded(url: str, name: str) -> None:
    file = sample(name)
    stow(url, file)
    where, dataset = place(url, file)
    syntax = str(dataset.file_meta.TransferSyntaxUID)
    stored = httpx.get(
        f"{where}/frames/1", headers={"Accept": "multipart/related; type=application/octet-stream; transfer-syntax=*"}
    )
    assert syntax.encode() in stored.content
    assert next(generate_frames(dataset.PixelData, number_of_frames=1)) in stored.content
    native = httpx.get(f"{where}/frames/1", headers={"Accept": "application/octet-stream"})
    assert native.headers["content-type"].endswith("transfer-syntax=1.2.840.10008.1.2.1")
    kind = f"<{'i' if dataset.PixelRepresentation else 'u'}{dataset.BitsAllocated // 8}"
    found = np.frombuffer(native.content, kind).reshape(dataset.Rows, dataset.Columns, -1).squeeze()
    if name.startswith("MR_small"):
        assert (found == pydicom.dcmread(get_testdata_file("MR_small.dcm")).pixel_array).all()
    explicit = "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"
    whole = pydicom.dcmread(BytesIO(httpx.get(where, headers={"Accept": explicit}).content))
    assert whole.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert (whole.pixel_array == found).all()
    several = httpx.get(where, headers={"Accept": f'multipart/related; type="application/dicom"; {explicit[18:]}'})
    assert b"transfer-syntax=1.2.840.10008.1.2.1" in several.content and whole.PixelData in several.content
    image = Image.open(BytesIO(httpx.get(f"{where}/rendered").content))
    assert image.size == (dataset.Columns, dataset.Rows) and image.format == "JPEG"


def test_rendered_takes_window_viewport_and_type(url: str, make_instance: Make) -> None:
    stow(url, make_instance(RescaleSlope="2", RescaleIntercept="-100"))
    answer = httpx.get(f"{url}{INSTANCE}/rendered?window=0,100,linear-exact", headers={"Accept": "image/png"})
    image = np.asarray(Image.open(BytesIO(answer.content)))
    values = np.arange(1, 65).reshape(8, 8) * 2 - 100
    expected = np.clip(values / 100 + 0.5, 0, 1) * 255
    assert np.abs(image - expected).max() <= 1
    small = Image.open(BytesIO(httpx.get(f"{url}{INSTANCE}/rendered?viewport=4,16").content))
    assert small.size == (4, 4)
    for wrong in ("window=1", "window=1,0,linear", "viewport=0,0", "quality=200"):
        assert httpx.get(f"{url}{INSTANCE}/rendered?{wrong}").status_code == 400, wrong
    assert httpx.get(f"{url}{INSTANCE}/rendered", headers={"Accept": "text/html"}).status_code == 406


@pytest.mark.parametrize(
    "name",
    [
        "examples_palette.dcm",
        "SC_ybr_full_422_uncompressed.dcm",
        "examples_ybr_color.dcm",
        "SC_rgb_jpeg_dcmtk.dcm",
    ],
)
def test_colour_is_rendered(url: str, name: str) -> None:
    file = sample(name)
    stow(url, file)
    where, dataset = place(url, file)
    image = Image.open(BytesIO(httpx.get(f"{where}/rendered", headers={"Accept": "image/png"}).content))
    assert image.mode == "RGB" and image.size == (dataset.Columns, dataset.Rows)


def test_thumbnails_at_every_level(url: str, make_instance: Make) -> None:
    stow(url, make_instance())
    for path in ("/studies/1.2.3", "/studies/1.2.3/series/1.2.3.1", INSTANCE):
        answer = httpx.get(f"{url}{path}/thumbnail")
        assert Image.open(BytesIO(answer.content)).size == (128, 128)


def test_a_report_is_rendered_as_page_and_as_text(url: str) -> None:
    file = sample("reportsi.dcm")
    stow(url, file)
    where, _ = place(url, file)
    page = httpx.get(f"{where}/rendered", headers={"Accept": "text/html"})
    assert page.status_code == 200 and "<ul>" in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert httpx.get(f"{where}/rendered", headers={"Accept": "text/plain"}).text.strip()
    assert httpx.get(f"{where}/thumbnail").status_code == 406


def test_bombs_and_lies_are_refused_when_decoded(url: str) -> None:
    dataset = pydicom.dcmread(BytesIO(sample("MR_small_RLE.dcm")))
    dataset.Rows = dataset.Columns = 40000
    out = BytesIO()
    dataset.save_as(out)
    stow(url, out.getvalue())
    where, _ = place(url, out.getvalue())
    answer = httpx.get(f"{where}/rendered")
    assert answer.status_code == 422 and answer.json()["errors"][0]["expression"]


def test_an_instance_without_pixels_has_no_frames(url: str) -> None:
    file = sample("reportsi.dcm")
    stow(url, file)
    where, _ = place(url, file)
    assert httpx.get(f"{where}/frames/1").status_code == 422


def test_implicit_vr_is_given_as_explicit_where_asked(url: str, make_instance: Make) -> None:
    stow(url, make_instance(syntax="1.2.840.10008.1.2"))
    accept = {"Accept": "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"}
    given = pydicom.dcmread(BytesIO(httpx.get(f"{url}{INSTANCE}", headers=accept).content))
    assert given.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert given == pydicom.dcmread(BytesIO(make_instance()))
    compressed = {"Accept": "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.80"}
    given = pydicom.dcmread(BytesIO(httpx.get(f"{url}{INSTANCE}", headers=compressed).content))
    assert given.pixel_array.tobytes() == pydicom.dcmread(BytesIO(make_instance())).PixelData
    other = {"Accept": "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.100"}
    assert httpx.get(f"{url}{INSTANCE}", headers=other).status_code == 406


def test_a_mask_does_not_keep_its_study_from_coming_compressed(url: str, make_instance: Make) -> None:
    """Single bits have no place in JPEG-LS: among others they come in Explicit VR Little Endian, alone not at all."""
    stow(url, make_instance())
    bits = {"Rows": 8, "Columns": 8, "BitsAllocated": 1, "BitsStored": 1, "HighBit": 0, "PixelData": bytes(8)}
    stow(url, make_instance(SOPInstanceUID="1.2.3.1.2", InstanceNumber=2, **bits))
    accept = {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.4.80'}
    answer = httpx.get(f"{url}/studies/1.2.3", headers=accept)
    assert answer.status_code == 200
    assert answer.content.count(b"transfer-syntax=1.2.840.10008.1.2.4.80\r\n") == 1
    assert answer.content.count(b"transfer-syntax=1.2.840.10008.1.2.1\r\n") == 1
    alone = f"{url}/studies/1.2.3/series/1.2.3.1/instances/1.2.3.1.2"
    assert httpx.get(alone, headers=accept).status_code == 406


@pytest.mark.parametrize("name", ["SC_rgb_small_odd_big_endian.dcm", "ExplVR_BigEnd.dcm", "rtdose_expb.dcm"])
def test_big_endian_frames_are_given_in_little_endian(url: str, name: str) -> None:
    file = sample(name)
    stow(url, file)
    where, dataset = place(url, file)
    number = int(dataset.get("NumberOfFrames", 1))
    answer = httpx.get(f"{where}/frames/{number}", headers={"Accept": "application/octet-stream"})
    expected = dataset.pixel_array[-1] if number > 1 else dataset.pixel_array
    if dataset.get("PlanarConfiguration", 0):
        expected = np.moveaxis(expected, -1, 0)
    assert answer.content[: expected.nbytes] == expected.astype(expected.dtype.newbyteorder("<")).tobytes()
    assert httpx.get(f"{where}/frames/{number}/rendered").status_code == 200


def test_single_bits_in_big_endian_words(url: str) -> None:
    file = sample("liver_expb_1frame.dcm")
    stow(url, file)
    where, _ = place(url, file)
    answer = httpx.get(f"{where}/frames/1", headers={"Accept": "application/octet-stream"})
    little = pydicom.dcmread(BytesIO(sample("liver_1frame.dcm")))
    assert answer.content == little.PixelData


def test_a_frame_in_very_many_fragments_comes_whole(url: str) -> None:
    dataset = pydicom.dcmread(BytesIO(sample("MR_small_RLE.dcm")))
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    fragments = (frame[at : at + 4] for at in range(0, len(frame), 4))
    items = b"".join(b"\xfe\xff\x00\xe0" + len(one).to_bytes(4, "little") + one for one in fragments)
    dataset.PixelData = b"\xfe\xff\x00\xe0\0\0\0\0" + items
    out = BytesIO()
    dataset.save_as(out)
    stow(url, out.getvalue())
    at, _ = place(url, out.getvalue())
    accept = {"Accept": "multipart/related; type=application/octet-stream; transfer-syntax=*"}
    assert frame in httpx.get(f"{at}/frames/1", headers=accept).content
    assert httpx.get(f"{at}/thumbnail").status_code == 200


@pytest.mark.parametrize("accept", ["image/gif", "video/mp4"])
def test_a_claim_of_two_billion_frames_costs_nothing(url: str, make_instance: Make, accept: str) -> None:
    stow(url, make_instance(NumberOfFrames=2_147_483_647, Rows=1, Columns=1))
    answer = httpx.get(f"{url}{INSTANCE}/rendered", headers={"Accept": accept})
    assert answer.status_code == 422 and "frames" in answer.text
