"""The artifacts under fhir_profiles are sound FHIR themselves, and refer to each other rightly."""

import json
import re
from collections.abc import Iterator
from importlib import resources
from typing import Any

import pytest
from fhir.resources.R4B import get_fhir_model_class

from fhir_profiles.lung_nodule.generator.__main__ import artifacts
from fhir_profiles.lung_nodule.generator.artifact import text_of
from server.fhir import definitions
from server.fhir.fhirpath import compile_expression
from server.fhir.validate import validate

FOLDERS = ("imaging", "lung_nodule")


def _artifacts() -> list[Any]:
    found = []
    for folder in FOLDERS:
        for file in sorted(resources.files("fhir_profiles").joinpath(folder).iterdir(), key=lambda item: item.name):
            if file.name.endswith(".json"):
                found.append(
                    pytest.param(folder, file.name, json.loads(file.read_text(encoding="utf-8")), id=file.name)
                )
    return found


def _values(value: Any, name: str) -> Iterator[Any]:
    if isinstance(value, list):
        for item in value:
            yield from _values(item, name)
    elif isinstance(value, dict):
        if name in value:
            yield value[name]
        for item in value.values():
            yield from _values(item, name)


def _written(expression: dict[str, Any]) -> list[str]:
    """The FHIRPath of an Expression: all of it, or what stands between the braces of a query."""
    if expression["language"] == "text/fhirpath":
        return [expression["expression"]]
    assert expression["language"] == "application/x-fhir-query"
    return re.findall(r"\{\{(.+?)\}\}", expression["expression"])


@pytest.mark.parametrize(("folder", "name", "artifact"), _artifacts())
def test_artifact(folder: str, name: str, artifact: dict[str, Any]) -> None:
    type, id = artifact["resourceType"], artifact["id"]
    assert name == f"{type}-{id}.json"
    assert artifact["url"] == f"https://hutong.example/fhir/{type}/{id}"
    if type != "SubscriptionTopic":
        issues = validate(definitions.load(), artifact)
        assert [issue for issue in issues if issue.severity in ("error", "fatal")] == []
        get_fhir_model_class(type).model_validate(artifact)


@pytest.mark.parametrize(("folder", "name", "artifact"), _artifacts())
def test_expressions_and_canonicals(folder: str, name: str, artifact: dict[str, Any]) -> None:
    for expression in (*_values(artifact, "valueExpression"), *_values(artifact, "expression")):
        if isinstance(expression, dict):
            for text in _written(expression):
                compile_expression(text)
    known = {other.values[2]["url"] for other in _artifacts()}
    for canonical in _values(artifact, "definitionCanonical"):
        assert canonical in known
    for code in _values(artifact, "code"):
        for coding in code.get("coding", ()) if isinstance(code, dict) else ():
            if coding["system"].startswith("https://hutong.example/"):
                assert coding["system"] in known


def test_what_is_generated_is_what_the_generator_writes() -> None:
    folder = resources.files("fhir_profiles").joinpath("lung_nodule")
    for artifact in artifacts():
        name = f"{artifact['resourceType']}-{artifact['id']}.json"
        assert folder.joinpath(name).read_text(encoding="utf-8") == text_of(artifact), f"run the generator: {name}"
