"""How a search is carried out, told to administrators."""

import json
from typing import Any

import pytest

from server.errors import BadRequest, Forbidden, HutongError, UnknownParameter
from server.fhir.definitions import load
from server.interactions.batch import perform
from server.interactions.request import Request
from server.repository import Repository
from server.search.find import Search
from server.security.access import Access, system
from server.store.database import Database


@pytest.fixture
def repository(database: Database) -> Repository:
    definitions = load()
    made = Repository(database, definitions, Search(definitions))
    made.update(system(), {"resourceType": "Patient", "id": "p", "name": [{"family": "Secretive"}]})
    return made


def explained(
    repository: Repository, path: tuple[str, ...], *parameters: tuple[str, str], how: str = "true"
) -> dict[str, list[Any]]:
    request = Request(method="GET", path=path, parameters=(*parameters, ("_explain", how)), base_url="http://here/fhir")
    answer = json.loads(perform(repository, system(), request).body)
    assert answer["resourceType"] == "Parameters"
    found: dict[str, list[Any]] = {}
    for one in answer["parameter"]:
        text = one["valueString"]
        found.setdefault(one["name"], []).append(text if one["name"] == "sql" else json.loads(text))
    return found


def test_criteria_statement_and_plan_are_told(repository: Repository) -> None:
    told = explained(repository, ("Patient",), ("name", "Secretive"), ("birthdate", "gt1970"), ("_sort", "-birthdate"))
    assert [one["is"] for one in told["criterion"]] == ["Values", "Values"]
    assert told["criterion"][0]["code"] == "name" and told["criterion"][0]["operands"][0]["text"] == "secretive"
    (sql,) = told["sql"]
    assert "index_string" in sql and "secretive" not in sql.lower() and "%(" in sql
    ((plan,),) = told["plan"]
    assert plan["Plan"]["Node Type"] and "Execution Time" not in plan


QUERIES = [
    (("Observation",), (("patient.name", "a"), ("code:in", "http://hl7.org/fhir/ValueSet/observation-status"))),
    (("Patient",), (("_has:Observation:patient:code", "a|b"), ("_id", "a,b"), ("_total", "accurate"))),
    (("Location",), (("near", "1|2|3|km"), ("partof:below", "x"))),
    (("Patient",), (("_filter", "not (name co a) or birthdate po 2020"), ("_contained", "both"))),
    (("Observation",), (("code-value-quantity", "a$gt5||mg"), ("_count", "0"))),
    ((), (("_type", "Patient,Observation"), ("_content", "a"), ("_list", "x"))),
    (("Patient", "p", "Observation"), (("_lastUpdated", "gt2000"), ("_sort", "value-quantity"))),
]


@pytest.mark.parametrize(("path", "parameters"), QUERIES, ids=str)
@pytest.mark.parametrize("how", ["true", "analyze"])
def test_every_search_can_be_explained(
    repository: Repository, path: tuple[str, ...], parameters: tuple[tuple[str, str], ...], how: str
) -> None:
    told = explained(repository, path, *parameters, how=how)
    assert len(told["sql"]) == 1
    assert ("Execution Time" in told["plan"][0][0]) == (how == "analyze")


def test_only_administrators_are_told(repository: Repository) -> None:
    request = Request(method="GET", path=("Patient",), parameters=(("_explain", "true"),))
    with pytest.raises(Forbidden):
        perform(repository, Access(who="reader"), request)
    found = perform(
        repository, Access(who="reader"), Request(method="GET", path=("Patient",), parameters=(("_explain", "false"),))
    )
    assert json.loads(found.body)["total"] == 1


@pytest.mark.parametrize("value", ["", "yes"])
def test_other_values_are_refused(repository: Repository, value: str) -> None:
    with pytest.raises(BadRequest):
        explained(repository, ("Patient",), how=value)


def test_conditions_can_not_be_explained(repository: Repository) -> None:
    with pytest.raises(UnknownParameter) as refused:
        repository.create(system(), {"resourceType": "Patient"}, if_none_exist="name=x&_explain=true")
    assert isinstance(refused.value, HutongError)
