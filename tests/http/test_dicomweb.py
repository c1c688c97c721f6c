"""DICOMweb over real sockets: dicomweb-client and plain HTTP against the routes under uvicorn."""

from collections.abc import Callable
from io import BytesIO

import httpx
import pydicom
import pytest
from dicomweb_client import DICOMwebClient

Make = Callable[..., bytes]


@pytest.fixture
def url(dicomweb_url: str) -> str:
    return dicomweb_url


def multipart(files: list[bytes], boundary: str = "b", head: str = "Content-Type: application/dicom\r\n") -> bytes:
    parts = (f"--{boundary}\r\n{head}\r\n".encode() + file + b"\r\n" for file in files)
    return b"".join(parts) + f"--{boundary}--\r\n".encode()


def stow(url: str, files: list[bytes], path: str = "/studies", kind: str = "") -> httpx.Response:
    kind = kind or 'multipart/related; type="application/dicom"; boundary=b'
    return httpx.post(url + path, content=multipart(files), headers={"Content-Type": kind})


def test_dicomweb_client_stores_searches_and_retrieves(url: str, make_instance: Make) -> None:
    client = DICOMwebClient(url)
    files = [make_instance(n) for n in (1, 2, 3)]
    answer = client.store_instances([pydicom.dcmread(BytesIO(file)) for file in files])
    assert len(answer.ReferencedSOPSequence) == 3
    (study,) = client.search_for_studies(search_filters={"PatientID": "P1", "StudyDate": "20240101-20240201"})
    assert study["0020000D"]["Value"] == ["1.2.3"]
    assert study["00201208"]["Value"] == [3]
    (series,) = client.search_for_series("1.2.3", search_filters={"Modality": "CT"})
    assert series["00201209"]["Value"] == [3]
    instances = client.search_for_instances("1.2.3", series["0020000E"]["Value"][0])
    assert [i["00200013"]["Value"] for i in instances] == [[1], [2], [3]]
    back = client.retrieve_series("1.2.3", "1.2.3.1")
    assert [d.PixelData for d in back] == [pydicom.dcmread(BytesIO(file)).PixelData for file in files]
    metadata = client.retrieve_series_metadata("1.2.3", "1.2.3.1")
    assert [m["00080018"]["Value"][0] for m in metadata] == ["1.2.3.1.1", "1.2.3.1.2", "1.2.3.1.3"]
    (bulk,) = client.retrieve_bulkdata(metadata[0]["7FE00010"]["BulkDataURI"])
    assert bulk == back[0].PixelData
    assert client.retrieve_instance("1.2.3", "1.2.3.1", "1.2.3.1.2").InstanceNumber == 2


def test_an_instance_comes_back_as_it_was_sent(url: str, make_instance: Make) -> None:
    file = make_instance()
    assert stow(url, [file]).status_code == 200
    answer = httpx.get(
        f"{url}/studies/1.2.3/series/1.2.3.1/instances/1.2.3.1.1", headers={"Accept": "application/dicom"}
    )
    assert answer.content == file
    assert answer.headers["content-length"] == str(len(file))


def test_the_response_says_what_became_of_each_instance(url: str, make_instance: Make) -> None:
    answer = stow(url, [make_instance(1)])
    assert answer.status_code == 200
    place = answer.json()["00081199"]["Value"][0]["00081190"]["Value"][0]
    assert httpx.get(f"{place}/metadata").json()[0]["00080018"]["Value"] == ["1.2.3.1.1"]
    other = make_instance(1, StudyDescription="Other")
    mixed = stow(url, [make_instance(1), make_instance(2), other, b"nonsense"])
    assert mixed.status_code == 202
    body = mixed.json()
    assert len(body["00081199"]["Value"]) == 2
    (failed,) = body["00081198"]["Value"]
    assert failed["00081155"]["Value"] == ["1.2.3.1.1"] and failed["00081197"]["Value"] == [0x0111]
    assert body["0008119A"]["Value"] == [{"00081197": {"vr": "US", "Value": [0xC000]}}]
    assert "DICOM" in mixed.headers["warning"] or "0008" in mixed.headers["warning"]
    assert stow(url, [other]).status_code == 409


def test_a_study_in_the_path_binds(url: str, make_instance: Make) -> None:
    answer = stow(url, [make_instance(1), make_instance(1, study="1.2.4")], "/studies/1.2.3")
    assert answer.status_code == 202
    assert len(answer.json()["00081199"]["Value"]) == 1


CONTENT_TYPES = [
    ("multipart/related; type=application/dicom; boundary=b", 200),
    ('multipart/related; boundary="b"; type="application/dicom"', 200),
    ("multipart/related; boundary=b", 200),
    ('multipart/related; type="application/dicom"', 400),
    ("multipart/related; type=application/dicom; boundary=other", 400),
    ("text/plain", 415),
    ("nonsense", 400),
    ("multipart/related; type=image/jpeg; boundary=b", 415),
]


def test_forms_of_content_type(url: str, make_instance: Make) -> None:
    for kind, status in CONTENT_TYPES:
        assert stow(url, [make_instance()], kind=kind).status_code == status, kind


def test_an_instance_alone(url: str, make_instance: Make) -> None:
    answer = httpx.post(f"{url}/studies", content=make_instance(), headers={"Content-Type": "application/dicom"})
    assert answer.status_code == 200


def test_a_body_without_its_end_is_refused_and_nothing_stored(url: str, make_instance: Make) -> None:
    body = multipart([make_instance()])[:-10]
    kind = "multipart/related; type=application/dicom; boundary=b"
    assert httpx.post(f"{url}/studies", content=body, headers={"Content-Type": kind}).status_code == 400
    assert httpx.get(f"{url}/studies").json() == []


def test_an_empty_request_is_refused(url: str) -> None:
    assert stow(url, []).status_code == 400


ACCEPTS = [
    ("*/*", 200, "multipart/related"),
    ("multipart/related; type=application/dicom", 200, "multipart/related"),
    ('multipart/related; type="application/dicom"; transfer-syntax=*', 200, "multipart/related"),
    ("application/dicom; transfer-syntax=1.2.840.10008.1.2.1", 200, "application/dicom"),
    ("text/html", 406, "application/json"),
]


def test_forms_of_accept(url: str, make_instance: Make) -> None:
    stow(url, [make_instance()])
    place = f"{url}/studies/1.2.3/series/1.2.3.1/instances/1.2.3.1.1"
    for accept, status, kind in ACCEPTS:
        answer = httpx.get(place, headers={"Accept": accept})
        assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (status, kind), accept


def test_what_is_not_there(url: str) -> None:
    assert httpx.get(f"{url}/studies/9.9").status_code == 404
    assert httpx.get(f"{url}/studies/9.9/metadata").status_code == 404
    assert httpx.get(f"{url}/studies/9.9/series").json() == []
    for odd in ("%00", "a'b", "1.2.3%2F..", "9" * 70):
        assert httpx.get(f"{url}/studies/{odd}").status_code == 404, odd
        assert httpx.get(f"{url}/studies/{odd}/series/1/metadata").status_code == 404, odd
        assert httpx.get(f"{url}/studies/{odd}/instances").status_code in (400, 404), odd
    assert httpx.get(f"{url}/studies?PatientID=%00").status_code == 400


def test_head_says_what_get_would(url: str, make_instance: Make) -> None:
    stow(url, [make_instance(1), make_instance(2)])
    for path in ("", "/metadata", "/series", "/series/1.2.3.1/instances/1.2.3.1.1"):
        head, get = (httpx.request(method, f"{url}/studies/1.2.3{path}") for method in ("HEAD", "GET"))
        assert head.status_code == 200 and head.content == b""
        assert head.headers["content-length"] == get.headers["content-length"]
