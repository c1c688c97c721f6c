"""Expressions on resources: with and without definitions, references, variables, and data that don't fit."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from server.errors import BadRequest, HutongError, Unprocessable
from server.fhir.definitions import load
from server.fhir.fhirpath import Budget, Node, compile_expression

OBSERVATION: dict[str, Any] = {
    "resourceType": "Observation",
    "contained": [{"resourceType": "Device", "id": "scanner"}],
    "status": "final",
    "code": {"coding": [{"system": "http://loinc.org", "code": "29463-7"}]},
    "subject": {"reference": "Patient/p1"},
    "performer": [
        {"reference": "https://example.org/fhir/Practitioner/x/_history/2"},
        {"reference": "Organization/o1"},
        {"type": "Patient", "identifier": {"value": "7"}},
    ],
    "device": {"reference": "#scanner"},
    "effectiveDateTime": "2024-05-31",
    "_effectiveDateTime": {"extension": [{"url": "http://example.org/precision", "valueCode": "day"}]},
    "valueQuantity": {"value": Decimal("72.50"), "unit": "kg", "system": "http://unitsofmeasure.org", "code": "kg"},
    "component": [
        {"code": {"text": "a"}, "valueInteger": 3},
        {"code": {"text": "b"}, "valueString": "many"},
    ],
}


@pytest.mark.parametrize("typed", [True, False], ids=["with definitions", "without"])
@pytest.mark.parametrize(
    ("expression", "values"),
    [
        ("Observation.code.coding.code", ["29463-7"]),
        ("Observation.value.code", ["kg"]),
        ("(Observation.value as Quantity).value", [Decimal("72.50")]),
        ("Observation.value.ofType(CodeableConcept)", []),
        ("Observation.component.value.ofType(integer)", [3]),
        ("Observation.component.where(code.text = 'b').value", ["many"]),
        ("Observation.component[1].code.text", ["b"]),
        ("Observation.subject.where(resolve() is Patient).reference", ["Patient/p1"]),
        (
            "Observation.performer.where(resolve() is Practitioner).reference",
            [OBSERVATION["performer"][0]["reference"]],
        ),
        ("Observation.performer.resolve().ofType(Organization).id", ["o1"]),
        ("Observation.performer.where(resolve() is Patient).identifier.value", ["7"]),
        ("Observation.device.resolve().id", ["scanner"]),
        ("Observation.effective.extension('http://example.org/precision').value", ["day"]),
        ("effective < @2024-06", [True]),
        ("effective >= @2024-05-31", [True]),
        ("effective + 1 month", ["2024-06-30"]),
        ("Patient.name | Observation.status", ["final"]),
        ("value > 72 'kg' and value < 100000 'g'", [True]),
        ("component.value.exists()", [True]),
        ("DomainResource.contained.id", ["scanner"]),
    ],
)
def test_values(expression: str, values: list[Any], typed: bool) -> None:
    model = load() if typed else None
    assert compile_expression(expression).values(OBSERVATION, model=model) == values


def test_decimals_keep_their_digits() -> None:
    assert str(compile_expression("value.value").values(OBSERVATION)[0]) == "72.50"
    assert compile_expression("0.1 + 0.2 = 0.3").holds(OBSERVATION)


def test_nodes_know_their_types() -> None:
    items = compile_expression("value | status | component.value | effective").evaluate(OBSERVATION, model=load())
    assert [item.type for item in items] == ["Quantity", "code", "integer", "string", "dateTime"]


def test_references_are_resolved_by_who_knows_them() -> None:
    known = {"Patient/p1": {"resourceType": "Patient", "id": "p1", "active": True}}
    expression = compile_expression("subject.resolve().active | performer.resolve().active")
    assert expression.values(OBSERVATION, resolve=known.get) == [True]


def test_member_of_asks_the_terminology() -> None:
    expression = compile_expression("code.memberOf('http://example.org/vs')")
    asked: list[Any] = []

    def member_of(value: Any, url: str) -> bool:
        asked.append((value, url))
        return True

    assert expression.values(OBSERVATION, member_of=member_of) == [True]
    assert asked == [(OBSERVATION["code"], "http://example.org/vs")]
    with pytest.raises(Unprocessable, match="needs a terminology"):
        expression.values(OBSERVATION)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("gender.memberOf('http://hl7.org/fhir/ValueSet/administrative-gender')", [True]),
        ("gender.memberOf('http://hl7.org/fhir/ValueSet/administrative-gender|4.0.1')", [True]),
        ("id.memberOf('http://hl7.org/fhir/ValueSet/administrative-gender')", [False]),
        ("maritalStatus.coding[0].memberOf('http://hl7.org/fhir/ValueSet/name-use')", [True]),
        ("maritalStatus.coding[1].memberOf('http://hl7.org/fhir/ValueSet/name-use')", [False]),
        ("maritalStatus.memberOf('http://hl7.org/fhir/ValueSet/name-use')", [True]),
        ("name.memberOf('http://hl7.org/fhir/ValueSet/name-use')", [False]),
        ("photo.memberOf('http://hl7.org/fhir/ValueSet/name-use')", []),
    ],
)
def test_member_of_the_standards_own_value_sets(expression: str, expected: list[bool]) -> None:
    codings = [{"system": "http://hl7.org/fhir/name-use", "code": "usual"}, {"system": "http://a", "code": "usual"}]
    patient = {"resourceType": "Patient", "id": "x", "gender": "male", "maritalStatus": {"coding": codings}}
    patient["name"] = [{"text": "usual"}]
    assert compile_expression(expression).values(patient, model=load()) == expected


def test_variables() -> None:
    before = {**OBSERVATION, "status": "preliminary"}
    expression = compile_expression("%previous.status = 'preliminary' and %resource.status = 'final'")
    assert expression.holds(OBSERVATION, context={"previous": before}, model=load())
    assert compile_expression("status in %allowed").holds(OBSERVATION, context={"allowed": ["final", "amended"]})
    assert not compile_expression("%nothing.exists()").holds(OBSERVATION, context={"nothing": None})
    with pytest.raises(Unprocessable, match="%unknown"):
        compile_expression("%unknown").evaluate(OBSERVATION)


def test_part_of_a_resource_can_be_the_context() -> None:
    component = Node(OBSERVATION["component"][0], "BackboneElement", "Observation.component")
    expression = compile_expression("code.text = 'a' and %resource.status = 'final'")
    assert expression.holds(component, context={"resource": OBSERVATION}, model=load())


def test_holds_needs_one_answer() -> None:
    assert not compile_expression("component.where(false)").holds(OBSERVATION)
    assert compile_expression("subject").holds(OBSERVATION)
    with pytest.raises(Unprocessable, match="one item, not 2"):
        compile_expression("component").holds(OBSERVATION)


@pytest.mark.parametrize(
    "expression",
    [
        "status > 3",
        "status - 'a'",
        "value + @2024-01-01",
        "component.single()",
        "component.code.text.upper()",
        "code.startsWith('x')",
        "@2024-01-01 + 1 'cm'",
        "value.iif(code, 1)",
        "'abc'.encode('rot13')",
    ],
)
def test_data_that_do_not_fit_are_unprocessable(expression: str) -> None:
    with pytest.raises(Unprocessable, match="FHIRPath"):
        compile_expression(expression).evaluate(OBSERVATION, model=load())


@pytest.mark.parametrize(
    "expression",
    [
        "(1|2|3|4|5|6|7|8|9|10|11|12|13|14|15|16|17|18|19|20|21|22|23|24).aggregate($total & $total, 'aaaa')",
        "(1|2|3|4|5|6|7|8|9|10|11|12|13|14|15|16|17|18|19|20|21).aggregate($total.combine($total), 1)",
        "(1|2|3|4|5|6|7|8).aggregate($total.replace('', 'bbbbbbbbb'), 'a')",
        "status.repeat($this & 'x')",
        "(1|2|3|4|5|6|7|8|9).aggregate($total * $total, 1000000000000000000000.0) * 10.power(999999)",
    ],
)
def test_memory_has_limits(expression: str) -> None:
    with pytest.raises(Unprocessable):
        compile_expression(expression).evaluate(OBSERVATION)


@pytest.mark.parametrize("number", ["1E+999999", "-1E+999999", "1E-999999"])
@pytest.mark.parametrize(
    "expression",
    [
        "value.value.toString()",
        "value.value mod 7",
        "value.value ~ 1.5",
        "value.value.truncate()",
        "value.value.highBoundary()",
        "value.value * value.value",
        "value.value.toInteger()",
        "value ~ 1 'kg'",
    ],
)
def test_numbers_at_the_edge_are_answered(number: str, expression: str) -> None:
    resource = {"resourceType": "Observation", "valueQuantity": {"value": Decimal(number)}}
    try:
        values = compile_expression(expression).values(resource, model=load())
    except Unprocessable:
        return
    assert len(str(values)) < 2000


def test_patterns_that_would_backtrack_do_not() -> None:
    assert not compile_expression(f"'{'a' * 5000}!'.matches('^(a+)+$')").holds(OBSERVATION)
    with pytest.raises(BadRequest, match="regular expression"):
        compile_expression("'a'.matches('(?=a)')").holds(OBSERVATION)


def test_groups_in_substitutions() -> None:
    expression = compile_expression(r"'11/30/1972'.replaceMatches('(\\d+)/(\\d+)/(?P<year>\\d+)', '${year}-$1-$2')")
    assert expression.values(OBSERVATION) == ["1972-11-30"]


KEYS = st.sampled_from(["value", "valueString", "_value", "code", "coding", "reference", "extension", "url"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab#/", max_size=4) | st.decimals(-2, 2, places=1),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)
ANYTHING = (
    "code.coding.code",
    "descendants().count()",
    "value = code",
    "value ~ code",
    "subject.resolve()",
    "code.extension('a').value",
    "value > 1",
    "(value | code).distinct()",
    "value.toString()",
)


@example({"value": None, "extension": None}, "code.extension('a').value", False)
@example({"value": []}, "value.toString()", False)
@example({"value": []}, "value > 1", True)
@given(JSON, st.sampled_from(ANYTHING), st.booleans())
def test_any_json_is_answered_or_refused(value: Any, expression: str, typed: bool) -> None:
    resource = {"resourceType": "Observation", "code": value, "valueQuantity": value, "subject": value}
    try:
        compile_expression(expression).values(resource, model=load() if typed else None)
    except HutongError:
        return


@pytest.mark.parametrize(
    "expression",
    [
        "%resource.descendants().where(%resource.descendants().where(%resource.descendants().exists()).exists())",
        "%resource.descendants().select(%resource.descendants().select(%resource.descendants().select(1)))",
        "%resource.descendants().all(%resource.descendants().all(%resource.descendants().exists($this is Quantity)))",
        "%resource.descendants().aggregate(%resource.descendants().where(%resource.descendants().exists()))",
    ],
)
def test_loops_inside_loops_come_to_an_end(expression: str) -> None:
    components = [{"code": {"text": str(number)}, "valueInteger": number} for number in range(100)]
    with pytest.raises(Unprocessable, match="too many items"):
        compile_expression(expression).evaluate({**OBSERVATION, "component": components}, model=load())


def test_a_budget_is_for_several_evaluations_together() -> None:
    expression, budget = compile_expression("component.where(value.exists())"), Budget(5)
    expression.evaluate(OBSERVATION, model=load(), budget=budget)
    with pytest.raises(Unprocessable, match="too many items"):
        expression.evaluate(OBSERVATION, model=load(), budget=budget)
    expression.evaluate(OBSERVATION, model=load())
