"""smart-fetch (PyPI), unmodified: bulk export of the system and of a Group, and its crawl by searches."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

PATIENTS = 30


@pytest.fixture(scope="module")
def chart(served_url: str) -> None:
    """Patients with an Observation each, the even ones in a Group."""
    entries: list[dict[str, Any]] = []
    for number in range(PATIENTS):
        patient = {"resourceType": "Patient", "id": f"p{number}", "gender": "female" if number % 3 else "male"}
        observation = {
            "resourceType": "Observation", "id": f"o{number}", "status": "final", "code": {"text": "体温"},
            "category": [{"coding": [{
                "system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "vital-signs",
            }]}],
            "subject": {"reference": f"Patient/p{number}"},
        }  # fmt: skip
        for one in (patient, observation):
            request = {"method": "PUT", "url": f"{one['resourceType']}/{one['id']}"}
            entries.append({"resource": one, "request": request})
    member = [{"entity": {"reference": f"Patient/p{number}"}} for number in range(0, PATIENTS, 2)]
    group = {"resourceType": "Group", "id": "even", "type": "person", "actual": True, "member": member}
    entries.append({"resource": group, "request": {"method": "PUT", "url": "Group/even"}})
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    answer = httpx.post(served_url, json=bundle, timeout=60)
    assert answer.status_code == 200, answer.text[:1000]


def smart_fetch(*arguments: str) -> None:
    command = [sys.executable, "-m", "smart_fetch.cli.main", *arguments, "--no-compression"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def ids(folder: Path, kind: str) -> set[str]:
    lines = [line for file in folder.rglob(f"{kind}*.ndjson") for line in file.read_text("utf-8").splitlines()]
    found = [json.loads(line) for line in lines]
    assert {one["resourceType"] for one in found} <= {kind}
    assert len({one["id"] for one in found}) == len(found)
    return {one["id"] for one in found}


@pytest.mark.usefixtures("chart")
def test_bulk_export(served_url: str, tmp_path: Path) -> None:
    smart_fetch("bulk", str(tmp_path), "--fhir-url", served_url, "--type", "Patient,Observation")
    assert ids(tmp_path, "Patient") == {f"p{number}" for number in range(PATIENTS)}
    assert ids(tmp_path, "Observation") == {f"o{number}" for number in range(PATIENTS)}
    log = [json.loads(line)["eventId"] for line in (tmp_path / "log.ndjson").read_text().splitlines()]
    assert log[0] == "kickoff" and log[-1] == "export_complete" and log.count("download_complete") == 2


@pytest.mark.usefixtures("chart")
def test_bulk_export_of_a_group_by_a_filter(served_url: str, tmp_path: Path) -> None:
    smart_fetch(
        "bulk", str(tmp_path), "--fhir-url", served_url, "--group", "even", "--type", "Patient,Observation",
        "--type-filter", "Patient?gender=male",
    )  # fmt: skip
    assert ids(tmp_path, "Patient") == {f"p{number}" for number in range(0, PATIENTS, 6)}
    assert ids(tmp_path, "Observation") == {f"o{number}" for number in range(0, PATIENTS, 2)}


@pytest.mark.usefixtures("chart")
def test_since(served_url: str, tmp_path: Path) -> None:
    later = "2999-01-01T00:00:00Z"
    smart_fetch("bulk", str(tmp_path), "--fhir-url", served_url, "--type", "Patient", "--since", later)
    assert ids(tmp_path, "Patient") == set()


@pytest.mark.usefixtures("chart")
def test_crawl(served_url: str, tmp_path: Path) -> None:
    """The same data by searches, page by page, patient by patient."""
    smart_fetch("crawl", str(tmp_path), "--fhir-url", served_url, "--group", "even", "--type", "Patient,Observation")
    assert ids(tmp_path, "Patient") == {f"p{number}" for number in range(0, PATIENTS, 2)}
    assert ids(tmp_path, "Observation") == {f"o{number}" for number in range(0, PATIENTS, 2)}
