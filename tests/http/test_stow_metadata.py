"""STOW-RS of metadata and bulk data, and the forms of its response."""

import struct
from collections.abc import Callable
from io import BytesIO
from typing import Any

import httpx
import imagecodecs
import numpy as np
import orjson
import pydicom
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import JPEG2000Lossless

from server.imaging.native_xml import from_xml, to_xml

Make = Callable[..., bytes]
JSON, XML = "application/dicom+json", "application/dicom+xml"


def metadata(number: int = 1, **attributes: Any) -> dict[str, Any]:
    dataset = Dataset()
    values: dict[str, Any] = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2",
        "SOPInstanceUID": f"1.2.3.1.{number}",
        "StudyInstanceUID": "1.2.3",
        "SeriesInstanceUID": "1.2.3.1",
        "PatientID": "P1",
        "PatientName": "王^小东",
        "Modality": "CT",
        "Rows": 4,
        "Columns": 4,
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 0,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "PixelPaddingValue": 7,
    } | attributes
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    dataset["PixelPaddingValue"].VR = "US"
    found: dict[str, Any] = dataset.to_json_dict()
    found["7FE00010"] = {"vr": "OW", "BulkDataURI": "pixels/1"}
    return found


PIXELS = struct.pack("<16H", *range(16))


def related(kind: str, *parts: tuple[dict[str, str], bytes]) -> tuple[bytes, dict[str, str]]:
    body = b"".join(
        b"--x\r\n"
        + b"".join(f"{name}: {value}\r\n".encode() for name, value in headers.items())
        + b"\r\n"
        + data
        + b"\r\n"
        for headers, data in parts
    )
    return body + b"--x--", {"Content-Type": f'multipart/related; type="{kind}"; boundary=x'}


def described(*datasets: dict[str, Any]) -> tuple[dict[str, str], bytes]:
    return {"Content-Type": JSON}, orjson.dumps(list(datasets))


def bulk(location: str, data: bytes, kind: str = "application/octet-stream") -> tuple[dict[str, str], bytes]:
    return {"Content-Type": kind, "Content-Location": location}, data


def post(url: str, *parts: tuple[dict[str, str], bytes], kind: str = JSON, accept: str = "*/*") -> httpx.Response:
    body, headers = related(kind, *parts)
    return httpx.post(f"{url}/studies", content=body, headers=headers | {"Accept": accept})


def stored(url: str, number: int = 1) -> Dataset:
    answer = httpx.get(
        f"{url}/studies/1.2.3/series/1.2.3.1/instances/1.2.3.1.{number}",
        headers={"Accept": "application/dicom; transfer-syntax=*"},
    )
    assert answer.status_code == 200
    return dcmread(BytesIO(answer.content))


@pytest.mark.parametrize("bulk_first", [False, True])
def test_json_and_its_bulk_data_become_a_file(dicomweb_url: str, bulk_first: bool) -> None:
    parts = [described(metadata()), bulk("pixels/1", PIXELS)]
    answer = post(dicomweb_url, *(reversed(parts) if bulk_first else parts))
    assert answer.status_code == 200, answer.text
    dataset = stored(dicomweb_url)
    assert dataset.file_meta.TransferSyntaxUID.is_little_endian and dataset.PixelData == PIXELS
    assert str(dataset.PatientName) == "王^小东" and dataset.PixelPaddingValue == 7
    assert post(dicomweb_url, *parts).status_code == 200


def test_xml_and_absolute_locations(dicomweb_url: str) -> None:
    attributes = metadata()
    attributes["7FE00010"]["BulkDataURI"] = f"{dicomweb_url}/pixels/1"
    document = to_xml(attributes)
    answer = post(dicomweb_url, ({"Content-Type": XML}, document), bulk("pixels/1", PIXELS), kind=XML, accept=XML)
    assert answer.status_code == 200, answer.headers.get("warning")
    assert answer.headers["content-type"] == XML
    assert from_xml(answer.content)["00081199"]["Value"][0]["00081155"]["Value"] == ["1.2.3.1.1"]
    assert stored(dicomweb_url).PixelData == PIXELS


def test_several_instances_with_their_own_bulk_data(dicomweb_url: str) -> None:
    datasets = [metadata(number) for number in range(1, 6)]
    for number, dataset in enumerate(datasets, 1):
        dataset["7FE00010"]["BulkDataURI"] = f"/bulk/{number}"
    parts = [bulk(f"/bulk/{number}", struct.pack("<16H", *[number] * 16)) for number in range(1, 6)]
    assert post(dicomweb_url, described(*datasets), *parts).status_code == 200
    assert stored(dicomweb_url, 4).PixelData == struct.pack("<16H", *[4] * 16)


def test_compressed_frames_are_encapsulated(dicomweb_url: str) -> None:
    frames = [np.arange(16, dtype="<u2").reshape(4, 4) + n for n in (0, 100)]
    coded = [imagecodecs.jpeg2k_encode(frame, level=0, codecformat="j2k", reversible=True) for frame in frames]
    parts = [bulk(f"pixels/1/frames/{n}", frame, "image/jp2") for n, frame in enumerate(coded, 1)]
    assert post(dicomweb_url, described(metadata(NumberOfFrames=2)), *parts).status_code == 200
    back = stored(dicomweb_url)
    assert back.file_meta.TransferSyntaxUID == JPEG2000Lossless
    kept = pydicom.encaps.generate_frames(back.PixelData, number_of_frames=2)
    assert [np.array_equal(imagecodecs.jpeg2k_decode(k), f) for k, f in zip(kept, frames, strict=True)] == [True, True]


def test_frames_of_several_encodings_are_refused(dicomweb_url: str) -> None:
    parts = [bulk("pixels/1", b"1", "image/jp2"), bulk("pixels/1", b"2", "image/jpeg")]
    assert post(dicomweb_url, described(metadata(NumberOfFrames=2)), *parts).status_code == 409


def test_bulk_data_inside_sequences_and_of_numbers(dicomweb_url: str) -> None:
    dataset = metadata()
    dataset["00283000"] = {
        "vr": "SQ",
        "Value": [
            {
                "00283002": {"vr": "US", "Value": [3, 0, 16]},
                "00283006": {"vr": "US", "BulkDataURI": "lut"},
                "00091001": {"vr": "OB", "BulkDataURI": "private"},
            }
        ],
    }
    answer = post(
        dicomweb_url, described(dataset), bulk("lut", struct.pack("<3H", 1, 2, 3)), bulk("private", b"odd"),
        bulk("pixels/1", PIXELS),
    )  # fmt: skip
    assert answer.status_code == 200, answer.text
    item = stored(dicomweb_url).ModalityLUTSequence[0]
    assert list(item.LUTData) == [1, 2, 3]
    assert item[0x00091001].value == b"odd\0"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"7FE00010": {"vr": "OW", "BulkDataURI": "elsewhere"}}, 0xC000),
        ({"0020000D": {"vr": "UI"}}, 0xA900),
        ({"00280010": {"vr": "US", "Value": ["many"]}}, 0xC000),
        ({"00280010": {"vr": "US", "Value": 4}}, 0xC000),
        ({"00280010": [4]}, 0xC000),
        ({"rows": {"vr": "US"}}, 0xC000),
        ({"00280010": {"Value": [4]}}, 0xC000),
        ({"00091001": {"vr": "OB", "InlineBinary": "%%%"}}, 0xC000),
    ],
)
def test_metadata_that_are_none_are_refused_with_their_place(
    dicomweb_url: str, change: dict[str, Any], reason: int
) -> None:
    answer = post(dicomweb_url, described(metadata() | change, metadata(2)), bulk("pixels/1", PIXELS))
    assert answer.status_code == 202, answer.text
    (failed,) = answer.json()["00081198"]["Value"]
    assert failed["00081197"]["Value"] == [reason]
    assert len(answer.json()["00081199"]["Value"]) == 1


def test_nesting_is_bounded(dicomweb_url: str) -> None:
    deep: Any = {}
    for _ in range(80):
        deep = {"00081140": {"vr": "SQ", "Value": [deep]}}
    answer = post(dicomweb_url, described(metadata() | deep), bulk("pixels/1", PIXELS))
    assert answer.status_code == 409


@pytest.mark.parametrize(
    "parts",
    [
        [({"Content-Type": JSON}, b"[{")],
        [({"Content-Type": JSON}, b"[1]")],
        [({"Content-Type": XML}, b"<x/>")],
        [({"Content-Type": "application/octet-stream"}, b"1")],
        [bulk("pixels/1", PIXELS)],
        [],
    ],
)
def test_requests_that_are_none(dicomweb_url: str, parts: list[tuple[dict[str, str], bytes]]) -> None:
    assert post(dicomweb_url, *parts).status_code == 400


def test_one_instance_as_json_alone(dicomweb_url: str) -> None:
    dataset = metadata()
    del dataset["7FE00010"]
    answer = httpx.post(f"{dicomweb_url}/studies", content=orjson.dumps(dataset), headers={"Content-Type": JSON})
    assert answer.status_code == 200


def test_the_response_in_xml_and_what_is_not_acceptable(dicomweb_url: str, make_instance: Make) -> None:
    headers = {"Content-Type": "application/dicom"}
    answer = httpx.post(f"{dicomweb_url}/studies", content=make_instance(), headers=headers | {"Accept": "text/html"})
    assert answer.status_code == 406
    answer = httpx.post(f"{dicomweb_url}/studies", content=make_instance(), headers=headers | {"Accept": XML})
    assert answer.status_code == 200
    assert from_xml(answer.content)["00081190"]["Value"] == [f"{dicomweb_url}/studies/1.2.3"]
    coded = headers | {"Content-Encoding": "gzip"}
    assert httpx.post(f"{dicomweb_url}/studies", content=make_instance(), headers=coded).status_code == 415
