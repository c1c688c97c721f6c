"""Contained resources: chains lead into them, and _contained finds them. https://hl7.org/fhir/R4/search.html#contained"""

from typing import Any

import pytest

from server.errors import BadRequest
from server.fhir.definitions import load
from server.fhir.json_format import parse
from server.interactions.request import Request
from server.interactions.search import search
from server.repository import Repository
from server.search.find import Search
from server.search.match import Candidate, holds
from server.security.access import system
from server.store.database import Database

ACCESS = system()
LOINC = "http://loinc.org"


def coded(code: str) -> dict[str, Any]:
    return {"coding": [{"system": LOINC, "code": code}]}


def measured(id: str, code: str, value: int, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "id": id, "status": "final", "code": coded(code),
            "valueQuantity": {"value": value}, **more}  # fmt: skip


RESOURCES: list[dict[str, Any]] = [
    {"resourceType": "Organization", "id": "o", "name": "Hospital"},
    {"resourceType": "DiagnosticReport", "id": "both", "status": "final", "code": coded("r"),
     "contained": [
         measured("a", "1", 100, status="amended"), measured("b", "2", 5, subject={"reference": "Patient/p"}),
         {"resourceType": "Patient", "id": "c", "gender": "female",
          "managingOrganization": {"reference": "Organization/o"}}],
     "result": [{"reference": "#a"}, {"reference": "#b"}], "subject": {"reference": "#c"}},
    {"resourceType": "DiagnosticReport", "id": "one", "status": "final", "code": coded("r"),
     "contained": [measured("a", "1", 5)], "result": [{"reference": "#a"}], "subject": {"reference": "Patient/p"}},
    {"resourceType": "Patient", "id": "p", "gender": "male"},
    measured("own", "1", 100), measured("outer", "1", 7, contained=[measured("inner", "1", 100)],
                                        hasMember=[{"reference": "#inner"}]),
]  # fmt: skip


@pytest.fixture
def repository(database: Database) -> Repository:
    definitions = load()
    made = Repository(database, definitions, Search(definitions))
    with made.transaction(ACCESS) as transaction:
        for one in RESOURCES:
            transaction.update(one)
    return made


#: (type, query, ids found)
CASES = [
    ("DiagnosticReport", "subject:Patient.gender=female", "both"),
    ("DiagnosticReport", "subject:Patient.gender=male", "one"),
    ("DiagnosticReport", "subject:Patient.gender:not=male", "both"),
    ("DiagnosticReport", "subject:Patient.organization.name=hosp", "both"),
    ("DiagnosticReport", "result.code=1", "both one"),
    ("DiagnosticReport", "result.code=2", "both"),
    ("DiagnosticReport", "result.status=amended", "both"),
    ("DiagnosticReport", "result.status:missing=true", ""),
    ("DiagnosticReport", "result.code-value-quantity=1$100", "both"),
    ("DiagnosticReport", "result.code-value-quantity=2$100", ""),
    ("DiagnosticReport", "result.value-quantity=gt50", "both"),
    ("DiagnosticReport", "result.subject:missing=false", "both"),
    ("DiagnosticReport", "result.patient=Patient/p", "both"),
    ("DiagnosticReport", "result.patient.gender=male", "both"),
    ("DiagnosticReport", "result:missing=true", ""),
    ("DiagnosticReport", "subject:missing=false", "both one"),
    ("DiagnosticReport", "result._id=b", "both"),
    ("DiagnosticReport", "result._lastUpdated=gt2000", ""),
    ("Observation", "code=1", "own outer"),
    ("Observation", "code=2", ""),
    ("Observation", "has-member.value-quantity=100", "outer"),
    ("Observation", "code=2&_contained=true", "both"),
    ("Observation", "code=1&_contained=true", "both one outer"),
    ("Observation", "code=1&value-quantity=100&_contained=true", "both outer"),
    ("Observation", "code=1&value-quantity=5&_contained=true", "one"),
    ("Observation", "code=2&value-quantity=100&_contained=true", ""),
    ("Observation", "code:not=1&_contained=true", "both"),
    ("Observation", "subject:missing=true&_contained=true", "both one outer"),
    ("Observation", "code-value-quantity=2$5&_contained=true", "both"),
    ("Observation", "_id=a&_contained=true", "both one"),
    ("Observation", "code=1&_contained=both", "both one outer own"),
    ("Observation", "code=1&_contained=false", "outer own"),
    ("Observation", "patient.gender=male&_contained=true", "both"),
    ("Patient", "gender=female&_contained=both", "both"),
    ("Patient", "organization.name=hosp&_contained=true&_sort=_id", "both"),
    ("Patient", "_contained=true", "both"),
]


@pytest.mark.parametrize(("kind", "query", "ids"), CASES)
def test_sql_and_memory_find_into_what_is_contained(repository: Repository, kind: str, query: str, ids: str) -> None:
    asked = [tuple(part.split("=", 1)) for part in query.split("&")]
    result = repository.search(ACCESS, kind, asked)  # type: ignore[arg-type]
    assert sorted(one.id for one in result.matches) == sorted(ids.split())
    stored = {(one["resourceType"], one["id"]): one for one in RESOURCES}
    found = [
        id for (_, id), one in stored.items()
        if holds(result.query, Candidate(resource=one, indexer=repository.search_engine.indexer,
                                         resolve=lambda target: stored.get(tuple(target.split("/")))))  # type: ignore[arg-type]
    ]  # fmt: skip
    assert sorted(found) == sorted(ids.split())


@pytest.mark.parametrize(
    ("query", "places"),
    [
        ("code=1&_contained=true&_containedType=contained",
         ["DiagnosticReport/both#a", "DiagnosticReport/one#a", "Observation/outer#inner"]),
        ("code=1&_contained=both&_containedType=contained&value-quantity=lt50",
         ["DiagnosticReport/one#a", "Observation/outer"]),
        ("code=1&_contained=both&_containedType=contained",
         ["DiagnosticReport/both#a", "DiagnosticReport/one#a", "Observation/outer", "Observation/outer#inner",
          "Observation/own"]),
        ("code=2&_contained=true&_containedType=container", ["DiagnosticReport/both"]),
    ],
)  # fmt: skip
def test_gives_the_contained_or_the_container(repository: Repository, query: str, places: list[str]) -> None:
    asked = tuple(tuple(part.split("=", 1)) for part in query.split("&"))
    with repository.reading(ACCESS) as transaction:
        request = Request(method="GET", path=("Observation",), parameters=asked, base_url="http://x")  # type: ignore[arg-type]
        body = search(transaction, request).body
    assert sorted(entry["fullUrl"] for entry in parse(body)["entry"]) == [f"http://x/{place}" for place in places]


def test_what_can_not_go_together_is_refused(repository: Repository) -> None:
    for kind, asked in (("", [("_contained", "true")]), ("Patient", [("_contained", "true"), ("_sort", "name")]),
                        ("Patient", [("_contained", "maybe")])):  # fmt: skip
        with pytest.raises(BadRequest):
            repository.search(ACCESS, kind, asked)
