"""What bindings and memberOf() ask of the terminology at hand."""

from typing import Any

import pytest

from server.errors import Unprocessable
from server.fhir.definitions import load
from server.fhir.fhirpath import compile_expression
from server.repository import Repository
from server.search.find import Search
from server.security.access import system
from server.store.database import Database

MARITAL = "http://hl7.org/fhir/ValueSet/marital-status"
V3 = "http://terminology.hl7.org/CodeSystem/v3-MaritalStatus"
OWN = {
    "resourceType": "ValueSet",
    "id": "own",
    "url": "urn:own",
    "version": "2",
    "status": "active",
    "compose": {
        "include": [
            {"system": V3, "filter": [{"property": "concept", "op": "is-a", "value": "M"}]},
            {"system": "urn:x"},
        ]
    },
}


def test_bindings_and_member_of(database: Database) -> None:
    definitions = load()
    repository = Repository(database, definitions, Search(definitions))
    repository.update(system(), OWN)
    with repository.reading(system()) as transaction:
        held = transaction.terminology
        assert held.holds(MARITAL, V3, "M") is True and held.holds(MARITAL, V3, "none") is False
        assert held.holds("urn:own", V3, "M") is True and held.holds("urn:own|2", V3, "D") is False
        assert held.holds("urn:own|1", V3, "M") is None and held.holds("urn:none", None, "M") is None
        # Its code system is not at hand.
        assert held.holds("urn:own", "urn:x", "a") is None
        person: dict[str, Any] = {"resourceType": "Patient", "maritalStatus": {"coding": [{"system": V3, "code": "M"}]}}

        def asked(value_set: str) -> list[Any]:
            path = compile_expression(f"Patient.maritalStatus.memberOf('{value_set}')")
            return path.values(person, model=definitions, member_of=held.member_of)

        assert asked(MARITAL) == asked("urn:own") == [True]
        assert asked("http://hl7.org/fhir/ValueSet/administrative-gender") == [False]
        with pytest.raises(Unprocessable):
            asked("urn:none")


def test_a_kept_resource_is_of_its_version(database: Database) -> None:
    definitions = load()
    first, second = (Repository(database, definitions, Search(definitions)) for _ in range(2))
    first.update(system(), OWN)
    for one in (first, second):
        with one.reading(system()) as transaction:
            assert transaction.terminology.holds("urn:own", V3, "D") is False
    wider = {**OWN, "compose": {"include": [{"system": V3}]}}
    with first.transaction(system()) as transaction:
        transaction.update(wider)
        assert transaction.terminology.holds("urn:own", V3, "D") is True
        with second.reading(system()) as other:
            assert other.terminology.holds("urn:own", V3, "D") is False
    with second.reading(system()) as transaction:
        assert transaction.terminology.holds("urn:own", V3, "D") is True


def test_a_canonical_means_the_newest_of_any_type(database: Database) -> None:
    definitions = load()
    repository = Repository(database, definitions, Search(definitions))
    for number, (version, status) in enumerate([("1.10", "active"), ("1.9", "active"), ("2.0", "retired")]):
        repository.update(system(), {**OWN, "id": f"own{number}", "version": version, "status": status})
    with repository.transaction(system()) as transaction:
        for asked, version in (("", "1.10"), ("|1.9", "1.9"), ("|1", "1.10"), ("|1.x", "1.10"), ("|2", "2.0")):
            held = transaction.terminology
            found = held.value_set("urn:own", asked[1:])
            assert found is not None and found.resource["version"] == version, asked
            whole = transaction.canonical("ValueSet", f"urn:own{asked}")
            assert whole is not None and whole["version"] == version, asked
            # It is the caller's own.
            whole.clear()
            assert held.resource("ValueSet", "urn:own", asked[1:])
        assert transaction.canonical("ValueSet", "urn:own|3") is None
        assert transaction.canonical("StructureDefinition", "urn:own") is None
        # What is written in the same transaction counts.
        transaction.update({**OWN, "id": "own9", "version": "3.1"})
        newest = transaction.canonical("ValueSet", "urn:own")
        assert newest is not None and newest["version"] == "3.1"
