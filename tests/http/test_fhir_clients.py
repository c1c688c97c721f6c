"""Others' code reads what we serve: fhirpy as a client, fhir.resources' R4B models as a second opinion."""

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from fhir.resources.R4B import get_fhir_model_class
from fhirpy import SyncFHIRClient
from fhirpy.base.exceptions import OperationOutcome, ResourceNotFound
from httpx import Client

PATIENTS = 2


@pytest.fixture(scope="module")
def synthea(shared: Path) -> list[dict[str, Any]]:
    """A few of the smallest Synthea bundles."""
    with tarfile.open(shared / "synthea" / "synthea-r4.tar.xz") as archive:
        files = sorted((member for member in archive if member.name.endswith(".json")), key=lambda m: m.size)
        return [json.loads(archive.extractfile(member).read()) for member in files[:PATIENTS]]  # type: ignore[union-attr]


def test_fhirpy_writes_reads_and_searches(fhir_url: str) -> None:
    client = SyncFHIRClient(fhir_url)
    patient = client.resource("Patient", name=[{"family": "Chalmers", "given": ["Peter"]}], birthDate="1974-12-25")
    patient.save()
    observation = client.resource(
        "Observation",
        status="final",
        code={"coding": [{"system": "http://loinc.org", "code": "29463-7"}]},
        subject=patient.to_reference(),
        effectiveDateTime="2024-01-02T03:04:05Z",
    )
    observation.save()
    found = (
        client.resources("Observation")
        .search(subject=patient.to_reference(), code="29463-7")
        .include("Observation", "subject")
    )
    assert [one.id for one in found.fetch()] == [observation.id]
    assert client.resources("Patient").search(family="chalm", birthdate__ge="1974").first().id == patient.id
    assert client.reference("Patient", patient.id).to_resource()["birthDate"] == "1974-12-25"
    patient["gender"] = "male"
    patient.save()
    assert client.resources("Patient").search(gender="male").get().id == patient.id
    observation.delete()
    with pytest.raises(ResourceNotFound):
        client.reference("Observation", observation.id).to_resource()
    with pytest.raises(OperationOutcome):
        client.resources("Patient").search(nonsense="1").fetch()


def test_fhirpy_turns_pages(fhir_url: str) -> None:
    client = SyncFHIRClient(fhir_url)
    for n in range(7):
        client.resource("Basic", code={"text": str(n)}).save()
    assert len(client.resources("Basic").limit(3).fetch_all()) == 7


@pytest.mark.data
def test_synthea_bundles_come_back_valid_and_linked(fhir: Client, synthea: list[dict[str, Any]]) -> None:
    for bundle in synthea:
        answer = fhir.post("", json=bundle, headers={"prefer": "return=minimal"}, timeout=60)
        assert answer.status_code == 200, answer.text[:2000]
        statuses = {entry["response"]["status"] for entry in answer.json()["entry"]}
        assert statuses == {"201 Created"}
    expected: dict[str, int] = {}
    for bundle in synthea:
        for entry in bundle["entry"]:
            kind = entry["resource"]["resourceType"]
            expected[kind] = expected.get(kind, 0) + 1
    known, references = set(), set()
    for kind, count in expected.items():
        page = fhir.get(f"/{kind}", params={"_count": "1000", "_total": "accurate"}).json()
        assert page["total"] == count
        model = get_fhir_model_class(kind)
        for entry in page["entry"]:
            known.add(f"{kind}/{entry['resource']['id']}")
            references |= set(_references(entry["resource"]))
            model.model_validate(entry["resource"])
    assert references <= known
    assert references


def _references(value: Any) -> list[str]:
    """The literal references in a resource, contained ones left out."""
    if isinstance(value, list):
        return [text for one in value for text in _references(one)]
    if isinstance(value, dict):
        own = value.get("reference")
        inner = [text for one in value.values() for text in _references(one)]
        return [own, *inner] if isinstance(own, str) and not own.startswith("#") else inner
    return []
