"""The main job on the wire: real CTs in, SR, SEG and FHIR out, by foreign senders and readers."""

import io
import shutil
import socket
import subprocess
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pydicom
import pytest
from fhir.resources.R4B import get_fhir_model_class
from fhirpy import SyncFHIRClient

from server.cli.demo.client import dicom_files
from server.fhir import json_format
from server.imaging.guard import GuardLimits
from server.imaging.sameness import content_digest
from tests.main_job.conftest import House, phantom

pytestmark = [pytest.mark.peer, pytest.mark.timeout(900), pytest.mark.xdist_group("main_job")]

_KINDS = ("Task", "Observation", "DiagnosticReport", "CarePlan", "ServiceRequest", "Provenance", "BodyStructure")


def _program(name: str) -> str:
    path = shutil.which(name)
    assert path, f"{name} must be here: install dcmtk and dicom3tools"
    return path


def _storescu(house: House, folder: Path) -> None:
    target = ["-aec", "HUTONG", "127.0.0.1", str(house.dimse_port), "+sd", "+r", "+sp", "*.dcm", str(folder)]
    done = subprocess.run([_program("storescu"), *target], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def _results(house: House, study: str) -> dict[str, pydicom.Dataset]:
    """Our SR and SEG of a study, by WADO-RS."""
    return {
        modality: house.client.retrieve(study, series, instance)
        for modality in ("SR", "SEG")
        for series, instance in house.client.instances(study, modality)
    }


def _sound(dataset: pydicom.Dataset, folder: Path) -> None:
    path = folder / f"{dataset.Modality}.dcm"
    dataset.save_as(path)
    checked = subprocess.run([_program("dciodvfy"), str(path)], capture_output=True, text=True)
    errors = [line for line in (checked.stdout + checked.stderr).splitlines() if line.startswith("Error")]
    assert errors == []
    if dataset.Modality == "SR":
        dumped = subprocess.run([_program("dsrdump"), str(path)], capture_output=True, text=True)
        assert dumped.returncode == 0 and "Imaging Measurement" in dumped.stdout


def _at_orthanc(house: House, dataset: pydicom.Dataset) -> None:
    """Orthanc lists the result by QIDO-RS and gives back the same data set."""
    uid = str(dataset.SOPInstanceUID)

    def listed() -> list[Any]:
        return list(httpx.get(f"{house.orthanc.url}/instances", params={"SOPInstanceUID": uid}, timeout=30).json())

    house.until(listed)
    found = house.orthanc.client.post("/tools/lookup", content=uid).json()[0]["ID"]
    file = house.orthanc.client.get(f"/instances/{found}/file").content
    ours = io.BytesIO()
    dataset.save_as(ours, enforce_file_format=True)
    assert _digest(file) == _digest(ours.getvalue())


def _digest(file: bytes) -> bytes:
    return content_digest(file, 0, len(file), GuardLimits())


def _counts(house: House) -> Counter[str]:
    return Counter({kind: len(list(house.client.search(f"{kind}?_count=200"))) for kind in _KINDS})


@pytest.mark.data
def test_annotated_ct_by_storescu(house: House, lidc: Path, tmp_path: Path) -> None:
    folder = lidc / "LIDC-IDRI-0001"
    study = str(dicom_files(folder)[0].StudyInstanceUID)
    _storescu(house, folder)
    report = house.await_report(study)
    assert report["status"] == "preliminary"
    results = _results(house, study)
    assert set(results) == {"SR", "SEG"}
    for dataset in results.values():
        _sound(dataset, tmp_path)
        _at_orthanc(house, dataset)


@pytest.mark.data
def test_annotated_ct_by_dicomweb_and_again_by_dimse(house: House, lidc: Path, tmp_path: Path) -> None:
    folder = lidc / "LIDC-IDRI-0003"
    datasets = dicom_files(folder)
    study = str(datasets[0].StudyInstanceUID)
    house.client.store(datasets, lambda _: None)
    house.await_report(study)
    for dataset in _results(house, study).values():
        _sound(dataset, tmp_path)
    house.until(lambda: list(house.client.search(f"CarePlan?subject={_subject(house, study)}")))
    before, told = _counts(house), len(house.subscriber.all_received())
    house.client.store(list(reversed(datasets)), lambda _: None)
    _storescu(house, folder)
    # Longer than the quiet time: were there anything to do, it would be under way.
    with pytest.raises(AssertionError, match="never came"):
        house.until(lambda: _counts(house) != before, seconds=8)
    assert len(house.subscriber.all_received()) == told


def _subject(house: House, study: str) -> str:
    return str(house.client.reports(study)[0]["subject"]["reference"])


@pytest.mark.parametrize("by", ["C-STORE", "STOW-RS"])
def test_orthanc_as_source(house: House, tmp_path: Path, by: str) -> None:
    folder = phantom(tmp_path / "phantom", seed=7)
    parents = {
        house.orthanc.client.post("/instances", content=path.read_bytes()).json()["ParentStudy"]
        for path in folder.glob("IM*.dcm")
    }
    path = "/modalities/ours/store" if by == "C-STORE" else "/dicom-web/servers/ours/stow"
    sent = house.orthanc.client.post(path, json={"Resources": list(parents), "Synchronous": True})
    assert sent.status_code == 200, sent.text
    study = str(dicom_files(folder)[0].StudyInstanceUID)
    house.await_report(study)
    for dataset in _results(house, study).values():
        _sound(dataset, tmp_path)


@pytest.mark.data
def test_somebody_elses_report_becomes_fhir_without_an_adapter(house: House, shared: Path) -> None:
    dataset = pydicom.dcmread(shared / "sr" / "highdicom_sr_multiple_groups.dcm")
    study = str(dataset.StudyInstanceUID)
    house.client.store([dataset], lambda _: None)
    # Its observer is a person, so no topic of AI results announces it.
    house.until(lambda: house.client.reports(study))
    report = house.client.reports(study)[0]
    assert report["result"]
    assert not list(house.client.search(f"Task?subject={report['subject']['reference']}"))


def test_every_resource_is_sound_and_every_reference_resolves(house: House, tmp_path: Path) -> None:
    if not list(house.client.search("Task?status=completed")):
        folder = phantom(tmp_path / "phantom", seed=8)
        house.client.store(dicom_files(folder), lambda _: None)
        house.await_report(str(dicom_files(folder)[0].StudyInstanceUID))
    kinds = (*_KINDS, "ImagingStudy", "Patient", "Device", "Subscription")
    foreign = SyncFHIRClient(f"{house.url}/fhir")
    read = 0
    for kind in kinds:
        for resource in foreign.resources(kind).limit(100).fetch_all():
            content = httpx.get(f"{house.url}/fhir/{kind}/{resource['id']}").content
            get_fhir_model_class(kind).model_validate_json(content)
            for reference in _references(json_format.parse(content)):
                assert httpx.get(f"{house.url}/fhir/{reference}").status_code == 200, (kind, reference)
            read += 1
    assert read >= len(kinds)


def _references(value: Any) -> set[str]:
    if isinstance(value, list):
        return {found for item in value for found in _references(item)}
    if not isinstance(value, dict):
        return set()
    own = value.get("reference")
    nested = {found for item in value.values() for found in _references(item)}
    return nested | ({own} if isinstance(own, str) and not own.startswith(("#", "http", "urn:")) else set())


def test_idle_connections_keep_nobody_out(house: House) -> None:
    with ExitStack() as idle:
        for port in (house.http_port, house.dimse_port):
            for _ in range(12):
                idle.enter_context(socket.create_connection(("127.0.0.1", port)))
        assert httpx.get(f"{house.url}/livez", timeout=5).json() == {"status": "alive"}
        echo = [_program("echoscu"), "-to", "5", "-ta", "5", "-td", "5", "-aec", "HUTONG", "127.0.0.1"]
        assert subprocess.run([*echo, str(house.dimse_port)]).returncode == 0


def test_metrics_are_those_of_all_processes(house: House, tmp_path: Path) -> None:
    if not list(house.client.search("Task?status=completed")):
        folder = phantom(tmp_path / "phantom", seed=9)
        house.client.store(dicom_files(folder), lambda _: None)
        house.await_report(str(dicom_files(folder)[0].StudyInstanceUID))
    figures = httpx.get(f"{house.url}/metrics").text
    assert "hutong_analysis_seconds_count" in figures
    assert 'hutong_notifications_total{outcome="' in figures
