"""Rendered resources and thumbnails over real sockets: every level, every kind, every form of answer."""

from collections.abc import Callable
from io import BytesIO
from typing import Any

import httpx
import numpy as np
import pydicom
import pytest
from dicomweb_client import DICOMwebClient
from PIL import Image, ImageSequence

from tests.dicom_sr.test_chest_cad import FOUND, nodule, report
from tests.http.test_dicomweb_pixels import INSTANCE, place, sample, stow
from tests.imaging.test_presentation_state import area, state
from tests.imaging.test_render import item

Make = Callable[..., bytes]
SERIES = "/studies/1.2.3/series/1.2.3.1"
PDF = "1.2.840.10008.5.1.4.1.1.104.1"


@pytest.fixture
def url(dicomweb_url: str) -> str:
    return dicomweb_url


def part10(dataset: pydicom.Dataset) -> bytes:
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    out = BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


def document(**attributes: Any) -> bytes:
    values: dict[str, Any] = {
        "SOPClassUID": PDF,
        "SOPInstanceUID": "1.2.3.7.1",
        "StudyInstanceUID": "1.2.3",
        "SeriesInstanceUID": "1.2.3.7",
    }
    return part10(item(**(values | attributes)))


def parts(answer: httpx.Response) -> list[bytes]:
    boundary = answer.headers["content-type"].partition("boundary=")[2].encode()
    return [part.partition(b"\r\n\r\n")[2][:-2] for part in answer.content.split(b"--" + boundary)[1:-1]]


def test_series_and_studies_are_rendered_in_parts(url: str, make_instance: Make) -> None:
    for number in range(1, 4):
        stow(url, make_instance(SOPInstanceUID=f"1.2.3.1.{number}", InstanceNumber=number))
    for path in (SERIES, "/studies/1.2.3"):
        answer = httpx.get(f"{url}{path}/rendered", headers={"Accept": "image/png"})
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith('multipart/related; type="image/png"')
        assert [Image.open(BytesIO(part)).size for part in parts(answer)] == [(8, 8)] * 3


def test_accept_forms_and_validators(url: str, make_instance: Make) -> None:
    stow(url, make_instance())
    where = f"{url}{INSTANCE}/rendered"
    for accept, kind in (
        ("*/*", "image/jpeg"), ("image/*", "image/jpeg"), ("image/png, image/jpeg;q=0.5", "image/png"),
        ("image/gif", "image/gif"), ('multipart/related; type="image/png"', "multipart/related"),
    ):  # fmt: skip
        answer = httpx.get(where, headers={"Accept": accept})
        assert answer.headers["content-type"].startswith(kind), accept
    again = httpx.get(where, headers={"If-None-Match": httpx.get(where).headers["etag"]})
    assert again.status_code == 304
    assert httpx.get(f"{where}?window=1,2,linear", headers={"If-None-Match": again.headers["etag"]}).status_code == 200
    assert httpx.head(where).status_code == 200
    assert httpx.get(where, headers={"Accept": "text/html"}).status_code == 406
    assert httpx.get(f"{where}?viewport=0,0").json()["errors"][0]["expression"] == "viewport"


def test_frames_alone_together_and_moving(url: str) -> None:
    file = sample("SC_rgb_rle_2frame.dcm")
    stow(url, file)
    where, dataset = place(url, file)
    first, second = (
        np.asarray(
            Image.open(BytesIO(httpx.get(f"{where}/frames/{n}/rendered", headers={"Accept": "image/png"}).content))
        )
        for n in (1, 2)
    )
    assert (first == dataset.pixel_array[0]).all()
    assert (second == dataset.pixel_array[1]).all()
    both = httpx.get(f"{where}/frames/2,1/rendered", headers={"Accept": "image/png"})
    assert (np.asarray(Image.open(BytesIO(parts(both)[0]))) == second).all()
    moving = httpx.get(f"{where}/rendered", headers={"Accept": "image/gif"})
    assert sum(1 for _ in ImageSequence.Iterator(Image.open(BytesIO(moving.content)))) == 2
    film = httpx.get(f"{where}/rendered", headers={"Accept": "video/mp4"})
    assert film.headers["content-type"] == "video/mp4"
    assert film.content[4:8] == b"ftyp"
    assert httpx.get(f"{where}/frames/3/rendered").status_code == 404


def test_thumbnails_fit_into_their_square(url: str) -> None:
    file = sample("examples_ybr_color.dcm")
    stow(url, file)
    where, _ = place(url, file)
    for path in (where, where.rpartition("/instances")[0], where.rpartition("/series")[0], f"{where}/frames/7"):
        picture = Image.open(BytesIO(httpx.get(f"{path}/thumbnail").content))
        assert max(picture.size) == 128
    assert Image.open(BytesIO(httpx.get(f"{where}/thumbnail?viewport=32,32").content)).size == (32, 24)


def test_a_client_of_others_gets_pictures(url: str, make_instance: Make) -> None:
    stow(url, make_instance())
    client = DICOMwebClient(url)
    picture = client.retrieve_instance_rendered("1.2.3", "1.2.3.1", "1.2.3.1.1", media_types=("image/png",))
    assert Image.open(BytesIO(picture)).size == (8, 8)
    frame = client.retrieve_instance_frames_rendered(
        "1.2.3", "1.2.3.1", "1.2.3.1.1", frame_numbers=[1], media_types=("image/jpeg",)
    )
    assert Image.open(BytesIO(frame)).size == (8, 8)


def test_a_presentation_state_is_shown_on_its_image(url: str, make_instance: Make) -> None:
    shown = [area(DisplayedAreaTopLeftHandCorner=[1, 1], DisplayedAreaBottomRightHandCorner=[8, 4])]
    file = state(DisplayedAreaSelectionSequence=shown, PatientID=pydicom.dcmread(BytesIO(make_instance())).PatientID)
    stow(url, file)
    where = f"{url}/studies/1.2.3/series/1.2.3.9/instances/1.2.3.9.1/rendered"
    assert httpx.get(where).status_code == 404
    stow(url, make_instance())
    answer = httpx.get(where, headers={"Accept": "image/png"})
    assert Image.open(BytesIO(answer.content)).size == (8, 4)
    assert "Displayed Area" in httpx.get(where, headers={"Accept": "text/plain"}).text


def test_a_report_is_a_page_that_runs_nothing(url: str) -> None:
    cad = report(FOUND, nodule(1))
    cad.PatientName = "<script>alert(1)</script>"
    stow(url, part10(cad))
    where = f"{url}/studies/1.2.3/series/1.2.3.8/instances/1.2.3.8.1/rendered"
    page = httpx.get(where, headers={"Accept": "text/html"})
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "<script" not in page.text
    assert "&lt;script&gt;" in page.text
    assert "Single Image Finding" in page.text and "Chest CAD" in page.text
    text = httpx.get(where, headers={"Accept": "text/plain"})
    assert text.headers["content-type"] == "text/plain; charset=utf-8"
    assert "Rendering Intent: Presentation Required" in text.text
    assert httpx.get(where, headers={"Accept": "image/png"}).status_code == 406


def test_a_document_is_given_as_it_is(url: str) -> None:
    pdf = b"%PDF-1.7 odd"
    stow(url, document(EncapsulatedDocument=pdf + b"\0", EncapsulatedDocumentLength=len(pdf) - (len(pdf) & 1 ^ 1) + 1))
    where = f"{url}/studies/1.2.3/series/1.2.3.7/instances/1.2.3.7.1/rendered"
    answer = httpx.get(where, headers={"Accept": "application/pdf"})
    assert answer.headers["content-type"] == "application/pdf"
    assert answer.content.startswith(pdf)
    assert httpx.get(where).headers["content-type"] == "application/pdf"


def test_what_calls_itself_a_document_and_is_none(url: str) -> None:
    stow(url, document(EncapsulatedDocument=b"<html>"))
    where = f"{url}/studies/1.2.3/series/1.2.3.7/instances/1.2.3.7.1/rendered"
    assert httpx.get(where, headers={"Accept": "application/pdf"}).status_code == 422


def test_structure_sets_and_segmentations_are_listed(url: str) -> None:
    contour = item(
        ContourGeometricType="CLOSED_PLANAR", NumberOfContourPoints=3, ContourData=[0, 0, 0, 1, 0, 0, 1, 1, 0]
    )
    structures = document(
        SOPClassUID="1.2.840.10008.5.1.4.1.1.481.3",
        StructureSetLabel="Lungs <1>",
        StructureSetROISequence=[item(ROINumber=4, ROIName="Left lung", ROIVolume="1200.5")],
        ROIContourSequence=[item(ReferencedROINumber=4, ContourSequence=[contour, contour])],
        RTROIObservationsSequence=[item(ReferencedROINumber=4, RTROIInterpretedType="ORGAN")],
    )
    words = ["Lungs <1>", "4: Left lung", "Volume: 1200.5 cm3", "Contours: 2, points: 6", "Type: ORGAN"]
    for file, expected in ((structures, words), (sample("liver_1frame.dcm"), ["Segmentation", "Type:"])):
        stow(url, file)
        where, _ = place(url, file)
        text = httpx.get(f"{where}/rendered", headers={"Accept": "text/plain"})
        assert text.status_code == 200
        assert all(word in text.text for word in expected), text.text
        page = httpx.get(f"{where}/rendered", headers={"Accept": "text/html"}).text
        assert "<ul>" in page
        assert "<1>" not in page


def test_damaged_pixels_are_the_files_fault_and_nobody_elses(url: str, make_instance: Make) -> None:
    broken = bytearray(sample("MR_small_jp2klossless.dcm"))
    at = broken.index(b"\xff\x4f\xff\x51")
    broken[at + 8 : at + 12] = b"\x7f\xff\xff\xff"
    stow(url, bytes(broken))
    where, _ = place(url, bytes(broken))
    answer = httpx.get(f"{where}/rendered")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["expression"] == "00280010"
    stow(url, make_instance())
    assert httpx.get(f"{url}{INSTANCE}/rendered").status_code == 200


@pytest.mark.parametrize(("keyword", "kind"), [("FloatPixelData", "<f4"), ("DoubleFloatPixelData", "<f8")])
def test_parametric_maps_are_images_too(url: str, keyword: str, kind: str) -> None:
    """What is no number is no reason to show nothing."""
    values = np.linspace(-1, 1, 64).reshape(8, 8).astype(kind)
    values[0, 0] = np.nan
    attributes: dict[str, Any] = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.30", "Rows": 8, "Columns": 8, "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": values.dtype.itemsize * 8,
        keyword: values.tobytes(),
    }  # fmt: skip
    stow(url, document(**attributes))
    where = f"{url}/studies/1.2.3/series/1.2.3.7/instances/1.2.3.7.1"
    answer = httpx.get(f"{where}/rendered?window=0,2,linear-exact", headers={"Accept": "image/png"})
    assert answer.status_code == 200, answer.text
    found = np.asarray(Image.open(BytesIO(answer.content))).astype(int)
    assert np.abs(found - (np.nan_to_num(values) / 2 + 0.5) * 255).max() <= 1
    assert httpx.get(f"{where}/thumbnail").status_code == 200
