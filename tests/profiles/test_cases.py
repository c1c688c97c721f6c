"""Every pathway does what its own cases say: given these resources and this event, expect these values."""

import json
from collections.abc import Iterator
from importlib import resources
from typing import Any

import pytest

from server.fhir import definitions
from server.fhir.fhirpath import compile_expression
from server.fhir.validate import validate
from server.workflow import pathway
from server.workflow.plan import TopicEvent, apply
from tests.profiles.sources import Given

FOLDERS = ("lung_nodule",)


def _cases() -> Iterator[Any]:
    for folder in FOLDERS:
        files = resources.files("fhir_profiles").joinpath(folder, "cases").iterdir()
        for file in sorted(files, key=lambda item: item.name):
            document = json.loads(file.read_text(encoding="utf-8"))
            for case in document.get("cases", ()):
                yield pytest.param(folder, document, case, id=f"{folder}-{file.name}-{case['title']}")


def _apply(folder: str, document: dict[str, Any], case: dict[str, Any]) -> list[dict[str, Any]]:
    known = pathway.read(folder)
    event = TopicEvent(topic=document["topic"], focus=case["focus"], recorded=document["recorded"])
    plans = list(known.answering(document["topic"]))
    assert plans
    return [made for plan in plans for made in apply(plan, event, known, Given(case["given"]))]


@pytest.mark.parametrize(("folder", "document", "case"), list(_cases()))
def test_case(folder: str, document: dict[str, Any], case: dict[str, Any]) -> None:
    made = _apply(folder, document, case)
    for expression, expected in case["expected"].items():
        values = [
            value
            for resource in made
            for value in compile_expression(expression).values(resource, model=definitions.load())
        ]
        assert [str(value) for value in values] == [str(value) for value in expected], expression
    for resource in made:
        assert [issue for issue in validate(definitions.load(), resource) if issue.severity != "warning"] == []
    assert _apply(folder, document, case) == made
    known = {f"{one['resourceType']}/{one['id']}" for one in (*made, case["focus"], *case["given"])}
    assert {one for one in _references(made) if not one.startswith("Patient/")} <= known


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _references(item)
    elif isinstance(value, dict):
        if isinstance(value.get("reference"), str):
            yield value["reference"]
        for item in value.values():
            yield from _references(item)


def test_every_topic_that_a_pathway_answers_has_a_case() -> None:
    for folder in FOLDERS:
        files = resources.files("fhir_profiles").joinpath(folder, "cases").iterdir()
        tested = {json.loads(file.read_text(encoding="utf-8"))["topic"] for file in files}
        for plan in pathway.read(folder).plans.values():
            named = {t["name"] for action in plan["action"] for t in action.get("trigger", ()) if "name" in t}
            assert named <= tested
