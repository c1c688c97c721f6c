"""Conditions on requests, what Prefer asks for, and the rules of batch and transaction."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from httpx import Client

PATIENT: dict[str, Any] = {"resourceType": "Patient", "id": "p", "identifier": [{"system": "urn:mrn", "value": "1"}]}
OBSERVATION: dict[str, Any] = {"resourceType": "Observation", "status": "final", "code": {"text": "weight"}}


@pytest.fixture(autouse=True)
def patient(fhir: Client) -> None:
    assert fhir.put("/Patient/p", json=PATIENT).status_code == 201
    assert fhir.put("/Patient/p", json={**PATIENT, "active": True}).status_code == 200


def bundle(kind: str, *entries: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": kind, "entry": list(entries)}


def post(url: str, resource: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"resource": resource, "request": {"method": "POST", "url": url}, **more}


def test_conditional_read(fhir: Client) -> None:
    for path in ("/Patient/p", "/Patient/p/_history/2"):
        for known in ('W/"2"', '"2"', 'W/"1", W/"2"', "*"):
            assert fhir.get(path, headers={"if-none-match": known}).status_code == 304, known
        assert fhir.get(path, headers={"if-none-match": 'W/"1"'}).status_code == 200
        assert fhir.get(path, headers={"if-modified-since": "Wed, 01 Jan 2120 00:00:00 GMT"}).status_code == 304
        assert fhir.get(path, headers={"if-modified-since": "Sat, 01 Jan 2000 00:00:00 GMT"}).status_code == 200
    assert "active" not in fhir.get("/Patient/p/_history/2?_elements=identifier").json()


def test_writes_on_conditions(fhir: Client) -> None:
    assert fhir.delete("/Patient/p", headers={"if-match": 'W/"1"'}).status_code == 412
    assert fhir.delete("/Patient?identifier=1", headers={"if-match": 'W/"1"'}).status_code == 412
    assert fhir.delete("/Patient?identifier=none", headers={"if-match": 'W/"1"'}).status_code == 412
    assert fhir.put("/Patient/p", json=PATIENT, headers={"if-none-match": "*"}).status_code == 412
    assert fhir.get("/Patient/p").headers["etag"] == 'W/"2"'
    assert fhir.put("/Patient/q", json={**PATIENT, "id": "q"}, headers={"if-none-match": "*"}).status_code == 201
    assert fhir.delete("/Patient/q", headers={"if-match": 'W/"7", W/"1"'}).status_code == 204
    assert fhir.put("/Patient/p", json=PATIENT, headers={"if-match": 'W/"1", W/"2"'}).headers["etag"] == 'W/"3"'


def test_a_conditional_update_never_takes_what_it_did_not_find(fhir: Client) -> None:
    taken = {**PATIENT, "identifier": [{"value": "2"}]}
    refused = fhir.put("/Patient?identifier=2", json=taken)
    assert refused.status_code == 409 and refused.json()["issue"][0]["code"] == "conflict"
    assert fhir.get("/Patient/p").headers["etag"] == 'W/"2"'
    assert fhir.put("/Patient?identifier=2", json={**taken, "id": "free"}).status_code == 201
    assert fhir.put("/Patient?identifier=1", json={**PATIENT, "id": "other"}).status_code == 400


def test_prefer(fhir: Client) -> None:
    for verb, status in (("put", 200), ("delete", 200)):
        body = {"json": {**PATIENT, "active": False}} if verb == "put" else {}
        told = fhir.request(verb, "/Patient/p", headers={"prefer": "return=OperationOutcome"}, **body)
        assert told.status_code == status and told.json()["issue"][0]["severity"] == "information"
    made = fhir.post("/Patient", json=PATIENT, headers={"prefer": "return=representation"})
    assert made.json()["resourceType"] == "Patient"
    for kind in ("batch", "transaction"):
        told = fhir.post("", json=bundle(kind, post("Patient", PATIENT)), headers={"prefer": "return=OperationOutcome"})
        entry = told.json()["entry"][0]
        assert "resource" not in entry and entry["response"]["outcome"]["resourceType"] == "OperationOutcome"
        there = post("Patient", PATIENT)
        there["request"]["ifNoneExist"] = "identifier=urn:mrn|1&_id=p"
        told = fhir.post("", json=bundle(kind, there), headers={"prefer": "return=OperationOutcome"})
        assert set(told.json()["entry"][0]) == {"response"} and "outcome" in told.json()["entry"][0]["response"]
        short = fhir.post("", json=bundle(kind, post("Patient", PATIENT)), headers={"prefer": "return=minimal"})
        assert set(short.json()["entry"][0]) == {"response"}


def test_a_batch_entry_that_cannot_be_read_fails_alone(fhir: Client) -> None:
    entries = [
        {"request": {"method": "FOO", "url": "Patient"}},
        {"resource": {**OBSERVATION, "status": "x"}, "request": {"method": "POST", "url": "Observation/$validate"}},
        {"request": {"method": "GET", "url": "Patient/_history"}},
        {"request": {"method": "GET", "url": "Patient/p", "ifNoneMatch": 'W/"2"'}},
        {"resource": PATIENT, "request": {"method": "PUT", "url": "Patient/p", "ifMatch": 'W/"1"'}},
    ]
    found = fhir.post("", json=bundle("batch", *entries)).json()["entry"]
    assert [one["response"]["status"][:3] for one in found] == ["400", "200", "200", "304", "412"]
    assert found[1]["resource"]["issue"][0]["expression"] == ["Observation.status"]
    assert fhir.post("", json=bundle("transaction", *entries)).status_code == 400


def test_conditional_references_see_what_the_transaction_writes(fhir: Client) -> None:
    new = {"resourceType": "Patient", "identifier": [{"system": "urn:mrn", "value": "new"}]}
    seen = {**OBSERVATION, "subject": {"reference": "Patient?identifier=urn:mrn|new"}}
    answer = fhir.post("", json=bundle("transaction", post("Observation", seen), post("Patient", new)))
    assert answer.status_code == 200, answer.text
    observation, patient = (entry["resource"] for entry in answer.json()["entry"])
    assert observation["subject"]["reference"] == f"Patient/{patient['id']}"
    # Afterwards two have that number.
    again = fhir.post("", json=bundle("transaction", post("Observation", seen), post("Patient", new)))
    assert again.status_code == 412
    # What is replaced in the same transaction counts with its new content.
    away = {**PATIENT, "identifier": [{"value": "away"}]}
    moved = {**OBSERVATION, "subject": {"reference": "Patient?identifier=urn:mrn|1"}}
    put = {"resource": away, "request": {"method": "PUT", "url": "Patient/p"}}
    assert fhir.post("", json=bundle("transaction", post("Observation", moved), put)).status_code == 412
    none = {**OBSERVATION, "subject": {"reference": "Patient?identifier=none"}}
    assert fhir.post("", json=bundle("transaction", post("Observation", none))).status_code == 412


def test_deletes_go_first_then_creates_updates_and_reads(fhir: Client) -> None:
    same = {**PATIENT, "id": "p2"}
    answer = fhir.post(
        "",
        json=bundle(
            "transaction",
            {"request": {"method": "GET", "url": "Patient?identifier=urn:mrn|1"}},
            {"resource": same, "request": {"method": "PUT", "url": "Patient/p2"}},
            {"resource": PATIENT, "request": {"method": "POST", "url": "Patient", "ifNoneExist": "identifier=2"}},
            {"request": {"method": "DELETE", "url": "Patient/p"}},
        ),
    )
    assert [entry["response"]["status"][:3] for entry in answer.json()["entry"]] == ["200", "201", "201", "204"]
    assert answer.json()["entry"][0]["resource"]["total"] == 2


@pytest.mark.parametrize(
    "entries",
    [
        pytest.param(
            [
                {"resource": PATIENT, "request": {"method": "PUT", "url": "Patient/p"}},
                {"request": {"method": "DELETE", "url": "Patient?identifier=1"}},
            ],
            id="put-and-conditional-delete",
        ),
        pytest.param(
            [
                {"resource": PATIENT, "request": {"method": "PUT", "url": "Patient/p"}},
                {"resource": PATIENT, "request": {"method": "PUT", "url": "Patient?identifier=1"}},
            ],
            id="put-and-conditional-put",
        ),
        pytest.param(
            [post("Patient", PATIENT, fullUrl="urn:uuid:1"), post("Patient", PATIENT, fullUrl="urn:uuid:1")],
            id="one-fullUrl-for-two",
        ),
    ],
)
def test_overlap_is_refused_and_leaves_nothing(fhir: Client, entries: list[dict[str, Any]]) -> None:
    assert fhir.post("", json=bundle("transaction", *entries)).status_code == 400
    history = fhir.get("/_history").json()
    assert len(history["entry"]) == 2


def test_64_transactions_at_once_with_one_condition_make_one(fhir: Client) -> None:
    condition = {"method": "POST", "url": "Patient", "ifNoneExist": "identifier=urn:mrn|64"}
    resource = {"resourceType": "Patient", "identifier": [{"system": "urn:mrn", "value": "64"}]}

    def create(_: int) -> str:
        entry = {"fullUrl": "urn:uuid:1", "resource": resource, "request": condition}
        seen = post("Observation", {**OBSERVATION, "subject": {"reference": "urn:uuid:1"}})
        answer = fhir.post("", json=bundle("transaction", entry, seen), timeout=60).json()
        assert answer["entry"][1]["response"]["status"] == "201 Created"
        return str(answer["entry"][0]["response"]["status"])

    with ThreadPoolExecutor(64) as threads:
        assert sorted(threads.map(create, range(64))) == ["200 OK"] * 63 + ["201 Created"]
    found = fhir.get("/Patient?identifier=urn:mrn|64").json()
    assert found["total"] == 1
    id = found["entry"][0]["resource"]["id"]
    assert fhir.get(f"/Observation?subject=Patient/{id}&_summary=count").json()["total"] == 64
