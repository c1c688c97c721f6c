"""Profiles over HTTP: stored ones hold at once, for writes that declare them and for $validate."""

from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from typing import Any
from uuid import uuid4

import pytest
from httpx import Client

from server.errors import Unprocessable
from server.fhir.definitions import load
from server.fhir.validate import validate
from server.repository import Repository
from server.search.find import Search
from server.security.access import system
from server.store.database import Database
from tests.fhir.profile.case import BASE, element, profile

DEFINITION = {**profile("born", "Patient", element("Patient.birthDate", min=1)), "id": "born", "version": "1.0.0"}
NEWER = {**profile("born", "Patient", element("Patient.gender", min=1)), "id": "born2", "version": "1.10.0"}
PATIENT: dict[str, Any] = {"resourceType": "Patient", "active": True}
BORN: dict[str, Any] = {**PATIENT, "birthDate": "1970"}


def declaring(resource: dict[str, Any], canonical: str = BASE + "born") -> dict[str, Any]:
    return {**deepcopy(resource), "meta": {"profile": [canonical]}}


def put(fhir: Client, resource: dict[str, Any]) -> None:
    answer = fhir.put(f"/{resource['resourceType']}/{resource['id']}", json=resource)
    assert answer.status_code in (200, 201), answer.text


def status(fhir: Client, resource: dict[str, Any]) -> int:
    return fhir.post(f"/{resource['resourceType']}", json=resource).status_code


def issues(answer: Any) -> list[tuple[str, str, str]]:
    assert answer.status_code == 200, answer.text
    return [(one["severity"], one["code"], *one.get("expression", [""])) for one in answer.json()["issue"]]


def test_a_profile_holds_from_the_moment_it_is_stored_to_the_moment_it_is_gone(fhir: Client) -> None:
    assert status(fhir, declaring(PATIENT)) == 201
    put(fhir, DEFINITION)
    refused = fhir.post("/Patient", json=declaring(PATIENT))
    assert refused.status_code == 422
    [issue] = refused.json()["issue"]
    assert issue["expression"] == ["Patient.birthDate"] and issue["code"] == "required"
    assert "give at least 1" in issue["details"]["text"] and BASE + "born" in issue["details"]["text"]
    assert status(fhir, declaring(BORN)) == 201 and status(fhir, PATIENT) == 201
    put(fhir, {**DEFINITION, "differential": {"element": [element("Patient.birthDate", max="0")]}})
    assert status(fhir, declaring(PATIENT)) == 201 and status(fhir, declaring(BORN)) == 422
    assert fhir.delete("/StructureDefinition/born").status_code == 204
    assert status(fhir, declaring(BORN)) == 201


def test_the_newest_version_unless_one_is_named(fhir: Client) -> None:
    put(fhir, {**DEFINITION, "version": "1.9.0"})
    put(fhir, NEWER)
    put(fhir, {**DEFINITION, "id": "born3", "version": "1.2.0"})
    assert status(fhir, declaring(BORN)) == 422
    assert status(fhir, declaring({**PATIENT, "gender": "other"})) == 201
    assert status(fhir, declaring(BORN, BASE + "born|1.9.0")) == 201
    assert status(fhir, declaring(PATIENT, BASE + "born|1.9.0")) == 422
    assert status(fhir, declaring(PATIENT, BASE + "born|3.0.0")) == 201


def test_updates_patches_and_transactions_are_held_to_profiles_too(fhir: Client) -> None:
    put(fhir, DEFINITION)
    put(fhir, {**declaring(BORN), "id": "p"})
    assert fhir.put("/Patient/p", json={**declaring(PATIENT), "id": "p"}).status_code == 422
    patch = [{"op": "remove", "path": "/birthDate"}]
    assert (
        fhir.patch("/Patient/p", json=patch, headers={"content-type": "application/json-patch+json"}).status_code == 422
    )
    entries = [{"resource": each, "request": {"method": "POST", "url": "Patient"}}
               for each in (PATIENT, declaring(PATIENT))]  # fmt: skip
    before = fhir.get("/Patient?_summary=count").json()["total"]
    answer = fhir.post("/", json={"resourceType": "Bundle", "type": "transaction", "entry": entries})
    assert answer.status_code == 422
    assert fhir.get("/Patient?_summary=count").json()["total"] == before


def test_a_profile_and_what_declares_it_in_one_transaction(fhir: Client) -> None:
    def post(*resources: dict[str, Any]) -> int:
        entries = [{"resource": each, "request": {"method": "POST", "url": each["resourceType"]}} for each in resources]
        return fhir.post("/", json={"resourceType": "Bundle", "type": "transaction", "entry": entries}).status_code

    assert post(DEFINITION, declaring(PATIENT)) == 422
    # What was rolled back is not known to anybody.
    assert fhir.get("/StructureDefinition?_summary=count").json()["total"] == 0
    assert status(fhir, declaring(PATIENT)) == 201
    # What is written before the profile is not held to it.
    assert post(declaring(PATIENT), DEFINITION, declaring(BORN)) == 200
    assert status(fhir, declaring(PATIENT)) == 422


def test_value_sets_of_bindings_count_at_once(fhir: Client) -> None:
    binding = {"strength": "required", "valueSet": "http://example.org/vs"}
    put(fhir, {**profile("vs", "Patient", element("Patient.maritalStatus", binding=binding)), "id": "vs"})
    resource = declaring({**PATIENT, "maritalStatus": {"coding": [{"system": "urn:m", "code": "X"}]}}, BASE + "vs")
    assert status(fhir, resource) == 201

    def value_set(code: str) -> dict[str, Any]:
        include = [{"system": "urn:m", "concept": [{"code": code}]}]
        return {"resourceType": "ValueSet", "id": "vs", "url": "http://example.org/vs", "status": "active",
                "compose": {"include": include}}  # fmt: skip

    put(fhir, value_set("M"))
    assert status(fhir, resource) == 422
    put(fhir, value_set("X"))
    assert status(fhir, resource) == 201


def test_code_systems_behind_value_sets_count_at_once_if_they_are_whole(fhir: Client) -> None:
    binding = {"strength": "required", "valueSet": "http://example.org/all"}
    put(fhir, {**profile("all", "Patient", element("Patient.maritalStatus", binding=binding)), "id": "all"})
    include = [{"system": "http://example.org/s"}]
    put(fhir, {"resourceType": "ValueSet", "id": "all", "url": "http://example.org/all", "status": "active",
               "compose": {"include": include}})  # fmt: skip

    def married(code: str) -> dict[str, Any]:
        status = {"coding": [{"system": "http://example.org/s", "code": code}]}
        return declaring({**PATIENT, "maritalStatus": status}, BASE + "all")

    def system(content: str) -> dict[str, Any]:
        return {"resourceType": "CodeSystem", "id": "s", "url": "http://example.org/s", "status": "active",
                "content": content, "concept": [{"code": "M"}]}  # fmt: skip

    assert status(fhir, married("X")) == 201
    put(fhir, system("complete"))
    assert (status(fhir, married("X")), status(fhir, married("M"))) == (422, 201)
    put(fhir, system("fragment"))
    assert (status(fhir, married("X")), status(fhir, married("M"))) == (201, 201)


def test_two_servers_over_one_database_hold_to_the_same(database: Database) -> None:
    definitions = load()
    one, other = (Repository(database, definitions, Search(definitions), validate=validate) for _ in range(2))
    for _ in range(3):
        for writer, reader in ((one, other), (other, one)):
            writer.update(system(), deepcopy(DEFINITION))
            with pytest.raises(Unprocessable):
                reader.create(system(), declaring(PATIENT))
            writer.delete(system(), "StructureDefinition", "born")
            reader.create(system(), declaring(PATIENT))


def test_definitions_written_by_many_at_once(fhir: Client) -> None:
    def write(number: int) -> int:
        one = {**DEFINITION, "id": f"d{number}", "url": f"{BASE}d{number}"}
        return fhir.put(f"/StructureDefinition/d{number}", json=one).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(write, range(24))) == {201}
    for number in range(24):
        assert status(fhir, declaring(PATIENT, f"{BASE}d{number}")) == 422


def test_validate_against_profiles(fhir: Client) -> None:
    put(fhir, DEFINITION)
    url = "/Patient/$validate"
    assert ("error", "required", "Patient.birthDate") in issues(fhir.post(url, json=declaring(PATIENT)))
    asked = fhir.post(url, params={"profile": BASE + "born"}, json=PATIENT)
    assert issues(asked) == [("error", "required", "Patient.birthDate")]
    assert issues(fhir.post(url, params={"profile": BASE + "born"}, json=BORN)) == [
        ("information", "informational", "")
    ]
    parameters = {"resourceType": "Parameters", "parameter": [
        {"name": "resource", "resource": PATIENT}, {"name": "profile", "valueUri": BASE + "born"}]}  # fmt: skip
    assert issues(fhir.post(url, json=parameters)) == [("error", "required", "Patient.birthDate")]
    declared = issues(fhir.post(url, json=declaring(PATIENT, "http://example.org/unknown")))
    assert declared == [("information", "not-found", "Patient"), ("information", "informational", "")]
    asked = fhir.post(url, params={"profile": "http://example.org/unknown"}, json=PATIENT)
    assert issues(asked) == [("error", "not-found", "Patient")]
    broken = issues(fhir.post(url, params={"profile": BASE + "born"}, json={**PATIENT, "active": "yes"}))
    assert broken == [("error", "value", "Patient.active"), ("information", "incomplete", "")]
    modifier = {**PATIENT, "modifierExtension": [{"url": "http://example.org/not", "valueBoolean": True}]}
    assert ("error", "not-supported", "Patient.modifierExtension[0]") in issues(fhir.post(url, json=modifier))
    assert status(fhir, modifier) == 201


def test_validate_by_mode(fhir: Client) -> None:
    put(fhir, DEFINITION)
    put(fhir, {**PATIENT, "id": "p"})
    here = "/Patient/p/$validate"
    assert issues(fhir.get(here, params={"mode": "profile", "profile": BASE + "born"})) == [
        ("error", "required", "Patient.birthDate")
    ]
    assert issues(fhir.get(here, params={"mode": "delete"})) == [("information", "informational", "")]
    assert issues(fhir.post(here, params={"mode": "update"}, json={**PATIENT, "id": "q"})) == [
        ("error", "invalid", "Patient.id")
    ]
    assert issues(fhir.post(here, params={"mode": "update"}, json={**PATIENT, "id": "p"}))[0][0] == "information"
    assert issues(fhir.post("/Patient/$validate", params={"mode": "create"}, json=PATIENT))[0][0] == "information"
    for path, parameters, expected in (
        (here, {"mode": "profile"}, 400),
        (here, {"mode": "erase"}, 400),
        (here, {"profil": "x"}, 400),
        ("/Patient/none/$validate", {"mode": "delete"}, 404),
        ("/Patient/$validate", {"mode": "delete"}, 400),
    ):
        assert fhir.get(path, params=parameters).status_code == expected, (path, parameters)


def test_validate_follows_references_to_stored_resources(fhir: Client) -> None:
    target = [{"code": "Reference", "targetProfile": [BASE + "born"]}]
    put(fhir, DEFINITION)
    put(fhir, {**profile("of", "Observation", element("Observation.subject", type=target)), "id": "of"})
    put(fhir, {**PATIENT, "id": "without"})
    put(fhir, {**BORN, "id": "with"})
    observation = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}
    for id, expected in (("with", "information"), ("without", "error"), ("nobody", "information")):
        sent = {**observation, "subject": {"reference": f"Patient/{id}"}}
        answer = fhir.post("/Observation/$validate", params={"profile": BASE + "of"}, json=sent)
        assert issues(answer)[0][0] == expected, id


def test_invariants_of_writes_follow_references_and_ask_the_terminology(fhir: Client) -> None:
    stated = [
        {"key": "x-1", "severity": "error", "human": "hers", "expression": "subject.resolve().gender = 'female'"},
        {"key": "x-2", "severity": "error", "human": "known", "expression": f"code.memberOf('{BASE}codes')"},
    ]
    put(fhir, {**profile("hers", "Observation", element("Observation", constraint=stated)), "id": "hers"})
    codes = [{"system": "http://example.org/s", "concept": [{"code": "a"}]}]
    put(fhir, {"resourceType": "ValueSet", "id": "codes", "url": BASE + "codes", "status": "active",
               "compose": {"include": codes}})  # fmt: skip
    for id, gender in (("eve", "female"), ("adam", "male")):
        put(fhir, {"resourceType": "Patient", "id": id, "gender": gender})

    def observation(subject: str, code: str = "a") -> dict[str, Any]:
        coded = {"coding": [{"system": "http://example.org/s", "code": code}]}
        whole = {"resourceType": "Observation", "status": "final", "code": coded, "subject": {"reference": subject}}
        return declaring(whole, BASE + "hers")

    assert [status(fhir, observation(f"Patient/{id}")) for id in ("eve", "adam", "nobody")] == [201, 422, 201]
    assert status(fhir, observation("Patient/eve", "b")) == 422
    for gender, expected in (("female", 200), ("male", 422)):
        patient = {"resourceType": "Patient", "gender": gender}
        entries = [
            {"fullUrl": f"urn:uuid:{uuid4()}", "resource": one, "request": {"method": "POST", "url": kind}}
            for kind, one in (("Observation", {}), ("Patient", patient))
        ]
        # The patient is written after what refers to it.
        entries[0]["resource"] = observation(str(entries[1]["fullUrl"]))
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
        assert fhir.post("", json=bundle).status_code == expected, gender


def test_definitions_that_make_no_sense_harm_nobody(fhir: Client) -> None:
    strange = profile("odd", "Patient", {"id": "Patient..x:[", "path": "Patient..x", "max": "many", "min": 1})
    answer = fhir.post("/StructureDefinition", json=strange)
    assert answer.status_code in (201, 422)
    lost = {**profile("lost", "Patient", element("Patient"), base=BASE + "nowhere"), "id": "lost"}
    put(fhir, lost)
    assert status(fhir, declaring(PATIENT, BASE + "lost")) == 201
    asked = fhir.post("/Patient/$validate", params={"profile": BASE + "lost"}, json=PATIENT)
    assert issues(asked) == [("error", "not-supported", "Patient")]
