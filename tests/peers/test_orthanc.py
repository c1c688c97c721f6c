"""Orthanc as source and as destination: what it gives back says the same as what was sent."""

from collections.abc import Callable

import httpx
import pytest

from server.imaging.guard import GuardLimits
from server.imaging.sameness import content_digest
from tests.orthanc import Orthanc
from tests.peers.conftest import Ours

Make = Callable[..., bytes]
pytestmark = pytest.mark.peer


def digest(file: bytes) -> bytes:
    return content_digest(file, 0, len(file), GuardLimits())


def bring(orthanc: Orthanc, files: list[bytes]) -> str:
    """Puts files into Orthanc; gives its id of their study."""
    return str([orthanc.client.post("/instances", content=file).json()["ParentStudy"] for file in files][-1])


def stored(ours: Ours) -> dict[str, bytes]:
    """What we have, by SOP Instance UID."""
    found = {}
    for result in httpx.get(f"{ours.url}/instances").json():
        place = result["00081190"]["Value"][0]
        found[result["00080018"]["Value"][0]] = httpx.get(place, headers={"Accept": "application/dicom"}).content
    return found


def test_orthanc_sends_by_c_store(orthanc: Orthanc, ours: Ours, make_instance: Make) -> None:
    files = [make_instance(n) for n in (1, 2, 3)]
    study = bring(orthanc, files)
    assert orthanc.client.post("/modalities/ours/echo", json={}).status_code == 200
    answer = orthanc.client.post("/modalities/ours/store", json={"Resources": [study], "Synchronous": True})
    assert answer.json()["FailedInstancesCount"] == 0
    assert sorted(digest(file) for file in stored(ours).values()) == sorted(digest(file) for file in files)


def test_orthanc_sends_by_stow_and_queries_us(orthanc: Orthanc, ours: Ours, make_instance: Make) -> None:
    files = [make_instance(n) for n in (1, 2, 3)]
    study = bring(orthanc, files)
    body = {"Resources": [study], "Synchronous": True}
    answer = orthanc.client.post("/dicom-web/servers/ours/stow", json=body)
    assert answer.status_code == 200, answer.text
    assert sorted(digest(file) for file in stored(ours).values()) == sorted(digest(file) for file in files)
    queried = orthanc.client.post(
        "/dicom-web/servers/ours/qido", json={"Uri": "/studies", "Arguments": {"PatientID": "P1"}}
    )
    assert [found["0020000D"]["Value"] for found in queried.json()] == ["1.2.3"]


def test_orthanc_retrieves_from_us(orthanc: Orthanc, ours: Ours, make_instance: Make) -> None:
    for n in (1, 2):
        httpx.post(f"{ours.url}/studies", content=make_instance(n), headers={"Content-Type": "application/dicom"})
    body = {"Resources": [{"Study": "1.2.3"}], "Synchronous": True}
    answer = orthanc.client.post("/dicom-web/servers/ours/retrieve", json=body)
    assert answer.status_code == 200, answer.text
    assert len(orthanc.client.get("/instances").json()) == 2
