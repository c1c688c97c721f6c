"""Parameters of operations, read and checked as the standard's OperationDefinitions say."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from server.errors import BadRequest, NotFound, UnknownParameter, Unprocessable
from server.fhir.definitions import Definitions, load
from server.fhir.validate import validate
from server.operations.definition import Call, defined
from server.operations.operation import OperationRequest
from server.repository import Validate
from server.security.access import system

BASE = "http://hl7.org/fhir/OperationDefinition/"


@dataclass
class Rules:
    """The standard's own."""

    definitions: Definitions = field(default_factory=load)
    validate: Validate | None = validate


def called(
    name: str, query: dict[str, str] | None = None, body: dict[str, Any] | None = None, kind: str = "ValueSet"
) -> Call:
    found: list[Call] = []

    def run(call: Call) -> dict[str, Any]:
        found.append(call)
        return {}

    request = OperationRequest(
        access=system(), resource_type=kind, parameters=tuple((query or {}).items()), resource=body
    )
    defined(Rules(), BASE + name, run).run(request)
    return found[0]


def parameters(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Parameters", "parameter": list(parts)}


def test_levels_and_name_are_the_definitions() -> None:
    operation = defined(Rules(), BASE + "ValueSet-expand", lambda _: {})
    assert (operation.name, operation.resource_type) == ("$expand", "ValueSet")
    assert operation.levels == {"type", "instance"}
    assert defined(Rules(), BASE + "Resource-meta-add", lambda _: {}).resource_type == ""


def test_values_have_the_types_of_the_definition() -> None:
    call = called("ValueSet-expand", {"count": "10", "activeOnly": "true", "filter": "a b", "url": "http://x"})
    assert (call.one("count"), call.one("activeOnly"), call.one("filter")) == (10, True, "a b")
    assert call.one("offset", 0) == 0 and call.all("designation") == ()
    body = parameters({"name": "count", "valueInteger": 3}, {"name": "url", "valueString": "http://x"})
    assert called("ValueSet-expand", body=body).one("count") == 3


def test_parts_and_resources() -> None:
    part = {
        "name": "dependency",
        "part": [{"name": "element", "valueUri": "urn:e"}],
    }
    call = called("ConceptMap-translate", body=parameters(part, part), kind="ConceptMap")
    assert call.all("dependency") == ({"element": ("urn:e",)},) * 2
    with pytest.raises(BadRequest, match="1 time at most"):
        called("ConceptMap-translate", body=parameters({**part, "part": part["part"] * 2}), kind="ConceptMap")
    alone = {"resourceType": "ValueSet", "status": "draft"}
    assert called("ValueSet-expand", body=alone).one("valueSet") == alone
    held = parameters({"name": "valueSet", "resource": alone})
    assert called("ValueSet-expand", body=held).one("valueSet") == alone


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ({"count": "x"}, None),
        ({"count": "99999999999"}, None),
        ({"activeOnly": "yes"}, None),
        ({"displayLanguage": " de"}, None),
        ({"valueSet": "x"}, None),
        ({}, parameters({"name": "count", "valueString": "3"})),
        ({}, parameters({"name": "count", "valueInteger": "3"})),
        ({}, parameters({"name": "activeOnly", "valueInteger": 1})),
        ({}, parameters({"name": "count", "valueInteger": 3}, {"name": "count", "valueInteger": 3})),
        ({"count": "1"}, parameters({"name": "count", "valueInteger": 3})),
        ({}, parameters({"name": "valueSet", "resource": {"resourceType": "Patient"}})),
        ({}, parameters({"name": "count"})),
        ({}, parameters({"valueInteger": 1})),
        ({}, {"resourceType": "Parameters", "parameter": "x"}),
        ({}, {"resourceType": "Patient"}),
    ],
)
def test_what_does_not_fit_is_refused(query: dict[str, str], body: dict[str, Any] | None) -> None:
    with pytest.raises(BadRequest):
        called("ValueSet-expand", query, body)


def test_a_body_that_breaks_the_rules_never_reaches_the_operation() -> None:
    with pytest.raises(Unprocessable) as refused:
        called("ValueSet-expand", body={"resourceType": "ValueSet", "status": "draft", "compose": "x"})
    assert [issue.expression for issue in refused.value.issues] == ["ValueSet.compose"]


def test_unknown_and_missing_parameters_and_types() -> None:
    with pytest.raises(UnknownParameter, match="cuont"):
        called("ValueSet-expand", {"cuont": "1"})
    with pytest.raises(BadRequest, match="needs the parameter 'meta'"):
        called("Resource-meta-add")
    with pytest.raises(NotFound):
        called("Resource-meta", kind="Nothing")
