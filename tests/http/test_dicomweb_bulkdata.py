"""Bulk data, pixel data, frames and capabilities over real sockets."""

import json
from collections.abc import Callable
from email import message_from_bytes
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree

import httpx
import numpy as np
import pydicom
import pytest
from dicomweb_client import DICOMwebClient
from pydicom import Dataset
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate, generate_frames

Make = Callable[..., bytes]
STUDY = "/studies/1.2.3"
INSTANCE = f"{STUDY}/series/1.2.3.1/instances/1.2.3.1.1"
OCTETS = 'multipart/related; type="application/octet-stream"'


@pytest.fixture
def url(dicomweb_url: str) -> str:
    return dicomweb_url


def stow(url: str, file: bytes) -> str:
    answer = httpx.post(f"{url}/studies", content=file, headers={"Content-Type": "application/dicom"})
    assert answer.status_code == 200, answer.text
    place: str = answer.json()["00081199"]["Value"][0]["00081190"]["Value"][0]
    return place


def get(url: str, accept: str = "*/*") -> httpx.Response:
    return httpx.get(url, headers={"Accept": accept}, timeout=60)


def parts(answer: httpx.Response) -> list[tuple[str, str, bytes]]:
    """Content type, location and bytes of each part."""
    assert answer.status_code == 200, answer.text
    boundary = answer.headers["content-type"].split("boundary=")[1].encode()
    found = []
    for piece in answer.content.split(b"--" + boundary)[1:-1]:
        head, _, body = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        message = message_from_bytes(head)
        found.append((message["Content-Type"], message.get("Content-Location", ""), body.removesuffix(b"\r\n")))
    return found


def test_nested_bulk_data_by_their_address(url: str, make_instance: Make) -> None:
    item = Dataset()
    item.add_new(0x00091010, "OB", bytes(range(256)) * 8)
    item.add_new(0x00090010, "LO", "HUTONG TEST")
    large = "word " * 20_000
    place = stow(url, make_instance(ReferencedImageSequence=[item], TextValue=large))
    (metadata,) = get(f"{place}/metadata").json()
    nested = metadata["00081140"]["Value"][0]["00091010"]["BulkDataURI"]
    assert nested == f"{url}{INSTANCE}/bulkdata/00081140/1/00091010"
    (content,) = DICOMwebClient(url).retrieve_bulkdata(nested)
    assert content == bytes(range(256)) * 8
    assert get(nested, "application/octet-stream").content == bytes(range(256)) * 8
    ranged = httpx.get(nested, headers={"Accept": "application/octet-stream", "Range": "bytes=256-259"})
    assert ranged.status_code == 206 and ranged.content == b"\0\1\2\3"
    assert get(f"{place}/bulkdata/00081140/2/00091010").status_code == 404
    assert get(nested, "text/html").status_code == 406


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"])
def test_bulk_data_of_every_native_transfer_syntax(url: str, make_instance: Make, syntax: str) -> None:
    pixels = np.arange(64, dtype="<u2")
    raw = pixels.astype(">u2").tobytes() if syntax.endswith(".2.2") else pixels.tobytes()
    place = stow(url, make_instance(syntax=syntax, PixelData=raw))
    for path in ("bulkdata/7FE00010", "frames/1"):
        assert get(f"{place}/{path}", "application/octet-stream").content == pixels.tobytes(), path
    ((kind, location, body),) = parts(get(f"{place}/pixeldata"))
    assert kind == "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"
    assert location == f"{url}{INSTANCE}/bulkdata/7FE00010" and body == pixels.tobytes()


def test_all_bulk_data_of_a_study(url: str, make_instance: Make) -> None:
    for number in (1, 2):
        stow(url, make_instance(number, EncapsulatedDocument=bytes([number]) * 3000))
    found = parts(get(f"{url}{STUDY}/bulkdata", OCTETS))
    assert len(found) == 4
    for _, location, body in found:
        assert get(location, "application/octet-stream").content == body
    assert len(parts(get(f"{url}{STUDY}/pixeldata"))) == 2
    assert len(parts(get(f"{url}{STUDY}", OCTETS))) == 2


def test_what_has_no_bulk_data(url: str) -> None:
    file = Path(get_testdata_file("reportsi.dcm", download=False)).read_bytes()
    place = stow(url, file)
    assert get(f"{place}/pixeldata").status_code == 404
    assert get(f"{place}/bulkdata").status_code == 404
    assert get(f"{place}/bulkdata/7FE00010").status_code == 404


def test_compressed_pixel_data_come_frame_by_frame(url: str) -> None:
    path = get_testdata_file("SC_rgb_rle_2frame.dcm", download=False)
    file = Path(path).read_bytes()
    dataset = pydicom.dcmread(BytesIO(file))
    place = stow(url, file)
    frames = list(generate_frames(dataset.PixelData, number_of_frames=2))
    for asked in (f"{place}/bulkdata/7FE00010", f"{place}/pixeldata", f"{place}/bulkdata", f"{place}/frames/1,2"):
        found = parts(get(asked))
        assert [body for _, _, body in found] == frames, asked
        assert {kind for kind, _, _ in found} == {"image/dicom-rle; transfer-syntax=1.2.840.10008.1.2.5"}
    decoded = b"".join(body for _, _, body in parts(get(f"{place}/bulkdata/7FE00010", OCTETS)))
    assert decoded == np.ascontiguousarray(dataset.pixel_array).tobytes()


FRAME_ACCEPTS = [
    ("application/octet-stream", "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"),
    ("application/octet-stream; transfer-syntax=*", "image/jp2; transfer-syntax=1.2.840.10008.1.2.4.90"),
    ("image/jp2", "image/jp2; transfer-syntax=1.2.840.10008.1.2.4.90"),
    ("image/jp2; transfer-syntax=*", "image/jp2; transfer-syntax=1.2.840.10008.1.2.4.90"),
    ("image/jls", "image/jls; transfer-syntax=1.2.840.10008.1.2.4.80"),
    ("image/jphc", "image/jphc; transfer-syntax=1.2.840.10008.1.2.4.201"),
    ("image/jpeg", "image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.70"),
    ("image/dicom-rle;q=0.5, image/jls;q=0.7", "image/jls; transfer-syntax=1.2.840.10008.1.2.4.80"),
    ("video/mp4, image/dicom-rle;q=0.1", "image/dicom-rle; transfer-syntax=1.2.840.10008.1.2.5"),
]


def test_a_frame_in_the_form_that_is_asked_for(url: str) -> None:
    place = stow(url, Path(get_testdata_file("MR_small_jp2klossless.dcm", download=False)).read_bytes())
    for accept, kind in FRAME_ACCEPTS:
        answer = get(f"{place}/frames/1", accept)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == kind, accept
        assert answer.content
    assert get(f"{place}/frames/1", "video/mp4").status_code == 406
    assert get(f"{place}/frames/2").status_code == 404
    assert get(f"{place}/frames/1,,2").status_code == 400


def test_a_film_is_one_stream(url: str, make_instance: Make) -> None:
    film = b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 20
    dataset = pydicom.dcmread(BytesIO(make_instance(NumberOfFrames=25)))
    dataset.PixelData = encapsulate([film], has_bot=False)
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.102"
    out = BytesIO()
    dataset.save_as(out)
    place = stow(url, out.getvalue())
    for path in ("pixeldata", "bulkdata/7FE00010"):
        ((kind, _, body),) = parts(get(f"{place}/{path}", 'multipart/related; type="video/mp4"'))
        assert kind == "video/mp4; transfer-syntax=1.2.840.10008.1.2.4.102" and body == film
    ((_, _, body),) = parts(get(place, 'multipart/related; type="video/mp4"'))
    assert body == film
    assert get(f"{place}/frames/2").status_code == 404
    assert get(f"{place}/frames/1", "application/octet-stream").status_code == 406


def test_capabilities(url: str) -> None:
    answer = httpx.options(url)
    assert answer.headers["content-type"] == "application/vnd.sun.wadl+xml"
    root = ElementTree.fromstring(answer.content)
    assert root.tag == "{http://wadl.dev.java.net/2009/02}application"
    assert root[0].attrib["base"] == url
    found = json.loads(httpx.options(url, headers={"Accept": "application/json"}).content)
    offered = {(one["path"], one["method"]) for one in found["resources"]}
    assert {("/studies", "GET"), ("/studies", "POST"), ("/studies/{study}/metadata", "GET")} <= offered
    frames = next(one for one in found["resources"] if one["path"].endswith("/frames/{frames}"))
    assert "application/octet-stream" in frames["mediaTypes"] and "image/jphc" in frames["mediaTypes"]


def test_capabilities_of_a_resource(url: str) -> None:
    answer = httpx.options(f"{url}/studies/1.2.3/metadata", headers={"Accept": "application/json"})
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"
    assert [one["path"] for one in answer.json()["resources"]] == ["/studies/{study}/metadata"]
    study = httpx.options(f"{url}/studies/1.2.3", headers={"Accept": "application/json"})
    assert "POST" in study.headers["allow"] and "DELETE" in study.headers["allow"]
    assert httpx.options(url, headers={"Accept": "image/png"}).status_code == 406
    assert httpx.options(f"{url}/nothing").status_code in (404, 405)
