"""WADO-URI (PS3.18 chapter 9) over real sockets."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from urllib.parse import urlencode

import httpx
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file

Make = Callable[..., bytes]
IDENTITY = {"requestType": "WADO", "studyUID": "1.2.3", "seriesUID": "1.2.3.1", "objectUID": "1.2.3.1.1"}


@pytest.fixture
def wado(dicomweb_url: str, make_instance: Make) -> str:
    """The service's address; one instance with an even ramp of values is stored."""
    stow(dicomweb_url, make_instance(RescaleSlope="1", RescaleIntercept="0"))
    return dicomweb_url.removesuffix("/dicomweb") + "/wado"


def stow(url: str, file: bytes) -> None:
    answer = httpx.post(f"{url}/studies", content=file, headers={"Content-Type": "application/dicom"})
    assert answer.status_code == 200, answer.text


def ask(wado: str, **parameters: str) -> httpx.Response:
    return httpx.get(f"{wado}?{urlencode(IDENTITY | parameters)}", timeout=60)


def test_the_file(wado: str, make_instance: Make) -> None:
    answer = ask(wado, contentType="application/dicom")
    assert answer.headers["content-type"] == "application/dicom"
    assert answer.content == make_instance(RescaleSlope="1", RescaleIntercept="0")
    assert int(answer.headers["content-length"]) == len(answer.content)
    ranged = httpx.get(str(answer.url), headers={"Range": "bytes=128-131"})
    assert ranged.status_code == 206 and ranged.content == b"DICM"


def test_the_file_in_another_transfer_syntax(wado: str) -> None:
    answer = ask(wado, contentType="application/dicom", transferSyntax="1.2.840.10008.1.2.5")
    assert pydicom.dcmread(BytesIO(answer.content)).file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.5"
    assert ask(wado, contentType="application/dicom", transferSyntax="1.2.3").status_code == 406


def test_explicit_little_endian_is_the_default(dicomweb_url: str, wado: str, make_instance: Make) -> None:
    stow(dicomweb_url, make_instance(2, syntax="1.2.840.10008.1.2"))
    answer = ask(wado, contentType="application/dicom", objectUID="1.2.3.1.2")
    assert pydicom.dcmread(BytesIO(answer.content)).file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"


def test_a_picture_is_the_default_of_an_image(wado: str) -> None:
    answer = ask(wado)
    assert answer.headers["content-type"] == "image/jpeg"
    assert Image.open(BytesIO(answer.content)).size == (8, 8)
    assert ask(wado, contentType="image/png,image/jpeg").headers["content-type"] == "image/png"


def test_window_and_region(wado: str) -> None:
    answer = ask(wado, contentType="image/png", windowCenter="32.5", windowWidth="64", region="0.5,0,1,0.25")
    picture = np.asarray(Image.open(BytesIO(answer.content)))
    assert picture.shape == (2, 4)
    values = np.arange(1, 65).reshape(8, 8)[:2, 4:]
    expected = np.clip((values - 32) / 63 + 0.5, 0, 1) * 255
    assert np.abs(picture.astype(float) - expected).max() <= 2


def test_rows_and_columns_bound_the_picture(wado: str) -> None:
    for parameters, size in (
        ({"rows": "4"}, (4, 4)),
        ({"columns": "2", "rows": "6"}, (2, 2)),
        ({"columns": "16"}, (16, 16)),
    ):
        assert Image.open(BytesIO(ask(wado, **parameters).content)).size == size, parameters


def test_frames(dicomweb_url: str, wado: str, make_instance: Make) -> None:
    pixels = np.concatenate([np.zeros(64, "<u2"), np.full(64, 1000, "<u2")])
    stow(dicomweb_url, make_instance(3, NumberOfFrames=2, PixelData=pixels.tobytes()))
    window = {"windowCenter": "500", "windowWidth": "100", "contentType": "image/png", "objectUID": "1.2.3.1.3"}
    first, second = (
        np.asarray(Image.open(BytesIO(ask(wado, frameNumber=number, **window).content))) for number in ("1", "2")
    )
    assert first.max() == 0 and second.min() == 255
    assert ask(wado, frameNumber="3", **window).status_code == 404
    # Of many frames no picture shows all.
    assert ask(wado, objectUID="1.2.3.1.3").headers["content-type"] == "application/dicom"


def test_a_report_is_a_page(dicomweb_url: str, wado: str) -> None:
    file = Path(get_testdata_file("reportsi.dcm", download=False)).read_bytes()
    stow(dicomweb_url, file)
    report = pydicom.dcmread(BytesIO(file))
    uids = {
        "studyUID": str(report.StudyInstanceUID),
        "seriesUID": str(report.SeriesInstanceUID),
        "objectUID": str(report.SOPInstanceUID),
    }
    page = ask(wado, **uids)
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert ask(wado, contentType="text/plain", **uids).headers["content-type"].startswith("text/plain")
    assert ask(wado, contentType="image/png", **uids).status_code == 406


WRONG = [
    ({"requestType": "MINT"}, "requestType"),
    ({"objectUID": ""}, "objectUID"),
    ({"anonymize": "yes"}, "anonymize"),
    ({"presentationUID": "1.2"}, "presentationUID"),
    ({"windowCenter": "1"}, "windowCenter"),
    ({"region": "0,0,2,1"}, "region"),
    ({"region": "a"}, "region"),
    ({"rows": "x"}, "viewport"),
    ({"frameNumber": "0x"}, "frameNumber"),
    ({"imageQuality": "200"}, "quality"),
    ({"contentType": "application/dicom", "frameNumber": "1"}, "frameNumber"),
]


@pytest.mark.parametrize(("parameters", "place"), WRONG)
def test_what_is_wrong_is_named(wado: str, parameters: dict[str, str], place: str) -> None:
    answer = ask(wado, **parameters)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["expression"] == place


def test_what_is_not_there(wado: str) -> None:
    assert ask(wado, objectUID="9.9").status_code == 404
    assert ask(wado, contentType="video/mp4").status_code == 406
