"""What a profile says of one element: cardinality, fixed values, patterns, types, limits, invariants."""

from copy import deepcopy
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.fhir.profile.values import equals, fits
from tests.fhir.profile.case import STRUCTURE, element, faults, profile, told

PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "active": True,
    "identifier": [{"system": "urn:mrn", "value": "12345"}],
    "name": [{"family": "Anders", "given": ["Ada", "Bea"]}],
    "gender": "female",
    "birthDate": "1970-05-06",
    "maritalStatus": {"coding": [{"system": "urn:m", "code": "M"}], "text": "married"},
    "generalPractitioner": [{"reference": "Organization/o1"}],
    "multipleBirthInteger": 2,
}


def changed(**values: Any) -> dict[str, Any]:
    copy = {**deepcopy(PATIENT), **values}
    return {name: value for name, value in copy.items() if value is not None}


REQUIRED = [element("Patient.gender", min=1), element("Patient.name.given", min=2, max="2")]
TEXT_AND_CODE = {"coding": [{"system": "urn:m", "code": "M"}]}
CASES: list[tuple[list[dict[str, Any]], dict[str, Any], list[tuple[str, str]]]] = [
    (REQUIRED, changed(), []),
    (REQUIRED, changed(gender=None), [("required", "Patient.gender")]),
    (REQUIRED, changed(name=[{"given": ["A"]}]), [("required", "Patient.name[0].given")]),
    (REQUIRED, changed(name=[{"given": ["A", "B", "C"]}]), [("structure", "Patient.name[0].given[2]")]),
    ([element("Patient.active", max="0")], changed(), [("structure", "Patient.active")]),
    ([element("Patient.identifier", max="1")], changed(identifier=None), []),
    ([element("Patient.active", fixedBoolean=True)], changed(), []),
    ([element("Patient.active", fixedBoolean=True)], changed(active=False), [("value", "Patient.active")]),
    ([element("Patient.active", fixedBoolean=True)], changed(active=None), []),
    ([element("Patient.maritalStatus", patternCodeableConcept=TEXT_AND_CODE)], changed(), []),
    ([element("Patient.maritalStatus", fixedCodeableConcept=TEXT_AND_CODE)], changed(),
     [("value", "Patient.maritalStatus")]),
    ([element("Patient.maritalStatus", patternCodeableConcept=TEXT_AND_CODE)],
     changed(maritalStatus={"text": "married"}), [("value", "Patient.maritalStatus")]),
    ([element("Patient.multipleBirth[x]", type=[{"code": "boolean"}])], changed(),
     [("structure", "Patient.multipleBirth")]),
    ([element("Patient.multipleBirth[x]", type=[{"code": "boolean"}])],
     {**changed(multipleBirthInteger=None), "multipleBirthBoolean": True}, []),
    ([element("Patient.multipleBirthInteger", maxValueInteger=3)], changed(), []),
    ([element("Patient.multipleBirthInteger", maxValueInteger=1)], changed(), [("value", "Patient.multipleBirth")]),
    ([element("Patient.birthDate", minValueDate="1980-01-01")], changed(), [("value", "Patient.birthDate")]),
    ([element("Patient.birthDate", minValueDate="1960-01-01")], changed(), []),
    ([element("Patient.identifier.value", maxLength=4)], changed(), [("too-long", "Patient.identifier[0].value")]),
    ([element("Patient.identifier.value", maxLength=5)], changed(), []),
    ([element("Patient.gender", mustSupport=True)], changed(gender=None), []),
    ([element("Patient.generalPractitioner", type=[
        {"code": "Reference", "targetProfile": [STRUCTURE + "Practitioner"]}])], changed(),
     [("value", "Patient.generalPractitioner[0].reference")]),
    ([element("Patient.generalPractitioner", type=[
        {"code": "Reference", "targetProfile": [STRUCTURE + "Organization"]}])], changed(), []),
    ([element("Patient.name", constraint=[
        {"key": "n-1", "severity": "error", "human": "a family name", "expression": "family.exists()"}])],
     changed(name=[{"family": "A"}, {"text": "B"}]), [("invariant", "Patient.name[1]")]),
    ([element("Patient", constraint=[
        {"key": "p-1", "severity": "error", "human": "the same", "expression": "%resource.gender = gender"}])],
     changed(), []),
]  # fmt: skip


@pytest.mark.parametrize(("elements", "resource", "expected"), CASES)
def test_elements(elements: list[dict[str, Any]], resource: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert faults(resource, profile("p", "Patient", *elements)) == expected


def test_a_snapshot_says_the_same() -> None:
    for elements, resource, expected in CASES:
        if not any("Integer" in each["id"] for each in elements):
            whole = profile("p", "Patient", element("Patient", min=0, max="*"), *elements, view="snapshot")
            assert faults(resource, whole) == expected


def test_what_the_standard_asks_anyway_is_not_asked_twice() -> None:
    snapshot = profile(
        "p", "Observation", element("Observation", min=0, max="*"), element("Observation.status", min=1, max="1"),
        element("Observation.code", min=1, max="1", type=[{"code": "CodeableConcept"}]), view="snapshot",
    )  # fmt: skip
    assert faults({"resourceType": "Observation"}, snapshot) == []


def test_warnings_are_told_as_such() -> None:
    rule = {"key": "w-1", "severity": "warning", "human": "better with a text", "expression": "text.exists()"}
    checked = profile("p", "Patient", element("Patient", constraint=[rule]))
    assert faults(changed(), checked) == []
    assert faults(changed(), checked, severity="warning") == [("invariant", "Patient")]


def test_an_expression_that_makes_no_sense_is_no_fault_of_the_resource() -> None:
    for expression in ("name.(", "conformsTo('http://example.org/p')"):
        rule = {"key": "x-1", "severity": "error", "human": "?", "expression": expression}
        checked = profile("p", "Patient", element("Patient", constraint=[rule]))
        assert faults(changed(), checked) == []
        assert faults(changed(), checked, severity="information") == [("not-supported", "Patient")]


def test_words_name_rule_place_and_cure_and_never_the_value() -> None:
    secret = changed(identifier=[{"system": "urn:mrn", "value": "Zhang-San-1970"}], gender=None)
    found = told(secret, profile("p", "Patient", element("Patient.gender", min=1),
                                 element("Patient.identifier.value", fixedString="0")))  # fmt: skip
    assert [words for _, _, words in found] == [
        "gender: it is missing; give at least 1 (profile http://example.org/fhir/StructureDefinition/p)",
        "the value has to be exactly 0; set it to that (profile http://example.org/fhir/StructureDefinition/p)",
    ]


def test_a_profile_for_another_type_is_not_met() -> None:
    assert faults(PATIENT, profile("p", "Observation")) == [("structure", "Patient")]


JSON = st.recursive(
    st.booleans() | st.integers(-3, 3) | st.decimals(-3, 3, places=1) | st.sampled_from(["a", "b"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=3),
    max_leaves=6,
)


@given(JSON, JSON)
def test_what_is_equal_fits(value: Any, other: Any) -> None:
    assert equals(value, deepcopy(value)) and fits(value, deepcopy(value))
    if equals(value, other):
        assert fits(value, other) and equals(other, value)


def test_numbers_by_worth_and_booleans_apart() -> None:
    assert equals(Decimal("1.0"), 1) and not equals(True, 1) and not equals(0, False)
    assert fits({"a": [1, {"b": 2, "c": 3}]}, {"a": [{"b": 2}]}) and not fits({"a": [1]}, {"a": [2]})
