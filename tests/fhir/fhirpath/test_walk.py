"""What a walk gives is what evaluation gives: every search parameter's expression over resources of its type."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from server.errors import Unprocessable
from server.fhir.definitions import load
from server.fhir.fhirpath import Node, compile_expression, resource_node

R4 = load()
EXPRESSIONS = [
    (name, found.expression)
    for name in R4.resource_types
    for found in R4.search_parameters(name).values()
    if found.expression
]
PLAIN = [(name, text) for name, text in EXPRESSIONS if compile_expression(text).walk(name, R4) is not None]


def _items(found: Any) -> list[Any]:
    return [(i.type, i.path, i.value, i.extra) if isinstance(i, Node) else i for i in found]


def _same(name: str, text: str, resource: dict[str, Any]) -> None:
    expression, node = compile_expression(text), resource_node(resource)
    walk = expression.walk(name, R4)
    assert walk is not None
    try:
        expected = _items(expression.evaluate(node, model=R4))
    except Unprocessable:
        with pytest.raises(Unprocessable):
            walk(node)
    else:
        assert _items(walk(node)) == expected, text


def test_nearly_all_are_walks() -> None:
    assert len(PLAIN) > 0.9 * len(EXPRESSIONS)


def test_what_is_more_than_a_path_is_none() -> None:
    for text in (
        "Patient.name.given.first()",
        "Patient.extension.value",
        "Bundle.entry[0].resource",
        "Patient.id",
        "1",
    ):
        assert compile_expression(text).walk("Patient", R4) is None


#: Values of any type, nested, with primitives that have extensions alone and objects where there should be none.
_LEAF = st.sampled_from([
    "x", "Patient/1", "#c", 5, True, None, {}, {"reference": "Patient/1"}, {"reference": "#c"},
    {"reference": "Practitioner/2"}, {"value": 5, "unit": "mg"}, {"coding": [{"code": "a"}]},
    {"resourceType": "Patient"}, {"system": "phone", "value": "1"},
])  # fmt: skip


@st.composite
def _objects(draw: st.DrawFn, path: str, depth: int) -> dict[str, Any]:
    properties = R4.properties(path)
    names = draw(st.lists(st.sampled_from(sorted(properties)), max_size=5, unique=True)) if properties else []
    found: dict[str, Any] = {}
    for name in names:
        below = properties[name].children
        value = st.one_of(_LEAF, _objects(below, depth - 1)) if depth else _LEAF
        found[name] = draw(st.one_of(value, st.lists(value, max_size=3)))
        if draw(st.booleans()):
            found[f"_{name}"] = draw(st.sampled_from([{"id": "a"}, [None, {"id": "b"}], None]))
    return found


@given(st.data())
def test_walks_agree_with_evaluation(data: st.DataObject) -> None:
    name, text = data.draw(st.sampled_from(PLAIN))
    resource = {**data.draw(_objects(name, 3)), "resourceType": name}
    _same(name, text, resource)


@given(st.data())
def test_all_walks_of_a_type_agree(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["Observation", "Patient", "Encounter", "Claim", "Bundle", "ActivityDefinition"]))
    resource = {**data.draw(_objects(name, 2)), "resourceType": name}
    for text in (text for kind, text in PLAIN if kind == name):
        _same(name, text, resource)


@given(st.data())
def test_without_any_of_its_keys_an_expression_gives_nothing(data: st.DataObject) -> None:
    name, text = data.draw(st.sampled_from(EXPRESSIONS))
    keys = compile_expression(text).keys(name, R4)
    assume(keys is not None)
    found = data.draw(_objects(name, 3))
    resource = {key: value for key, value in found.items() if key not in (keys or ())} | {"resourceType": name}
    with suppress(Unprocessable):
        assert compile_expression(text).evaluate(resource, model=R4) == []


def test_keys() -> None:
    for text, expected in {
        "(Observation.value as Quantity) | (Observation.value as SampledData)": {"valueQuantity", "valueSampledData"},
        "Observation.subject.where(resolve() is Patient)": {"subject"},
        "Observation.code | Patient.name": None,
        "Observation.extension('x')": {"extension"},
        "Observation": None,
        "Observation.value.exists()": None,
    }.items():
        found = compile_expression(text).keys("Observation", R4)
        assert (found and {key for key in found if key[0] != "_"}) == expected


@pytest.mark.parametrize("file", sorted((Path(__file__).parent / "inputs").glob("*.json")), ids=lambda path: path.stem)
def test_walks_agree_over_examples(file: Path) -> None:
    resource = json.loads(file.read_text(encoding="utf-8"))
    for text in (text for kind, text in PLAIN if kind == resource["resourceType"]):
        _same(resource["resourceType"], text, resource)
