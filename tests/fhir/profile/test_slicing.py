"""Slices: how values are told apart, how many there may be, in which order, and slices within slices."""

from typing import Any

import pytest

from tests.fhir.profile.case import BASE, STRUCTURE, element, faults, known, profile, sliced

LOINC = "http://loinc.org"


def coded(code: str, **value: Any) -> dict[str, Any]:
    return {"code": {"coding": [{"system": LOINC, "code": code}]}, **(value or {"valueQuantity": {"value": 1}})}


def observation(*components: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "x"},
        "component": list(components),
        **more,
    }


def pressure(*, kind: str = "value", path: str = "code", rules: str = "open", ordered: bool = False) -> dict[str, Any]:
    def concept(code: str) -> dict[str, Any]:
        return {"coding": [{"system": LOINC, "code": code}]}

    return profile(
        "bp", "Observation",
        element("Observation.component", slicing=sliced((kind, path), rules=rules, ordered=ordered)),
        element("Observation.component:systolic", min=1, max="1"),
        element("Observation.component:systolic.code", patternCodeableConcept=concept("8480-6")),
        element("Observation.component:systolic.value[x]", min=1, type=[{"code": "Quantity"}]),
        element("Observation.component:diastolic", min=0, max="1"),
        element("Observation.component:diastolic.code", patternCodeableConcept=concept("8462-4")),
    )  # fmt: skip


S, D, OTHER = coded("8480-6"), coded("8462-4"), coded("1-8")


@pytest.mark.parametrize(
    ("components", "how", "expected"),
    [
        ([S], {}, []),
        ([S, D], {}, []),
        ([D, S, OTHER], {}, []),
        ([S], {"kind": "pattern"}, []),
        ([D], {}, [("required", "Observation.component")]),
        ([S, S], {}, [("structure", "Observation.component[1]")]),
        ([OTHER, S, D, D], {}, [("structure", "Observation.component[3]")]),
        ([{**coded("8480-6", valueString="x")}], {}, [("structure", "Observation.component[0].value")]),
        ([{"code": S["code"]}], {}, [("required", "Observation.component[0].value")]),
        ([S, OTHER], {"rules": "closed"}, [("structure", "Observation.component[1]")]),
        ([S, D], {"rules": "closed"}, []),
        ([S, OTHER, D], {"rules": "openAtEnd"}, [("structure", "Observation.component[2]")]),
        ([S, D, OTHER], {"rules": "openAtEnd"}, []),
        ([D, S], {"ordered": True}, [("structure", "Observation.component[1]")]),
        ([OTHER, S, OTHER, D], {"ordered": True}, []),
    ],
)
def test_by_value(components: list[Any], how: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert faults(observation(*components), pressure(**how)) == expected


def test_by_value_deep_inside_with_the_code_in_a_slice_of_its_own() -> None:
    inner = "Observation.component:systolic.code.coding"
    checked = profile(
        "bp", "Observation",
        element("Observation.component",
                slicing=sliced(("value", "code.coding.code"), ("value", "code.coding.system"))),
        element("Observation.component:systolic", min=1, max="1"),
        element(inner, slicing=sliced(("value", "code"), ("value", "system"))),
        element(f"{inner}:loinc", min=1, max="1"),
        element(f"{inner}:loinc.system", min=1, fixedUri=LOINC),
        element(f"{inner}:loinc.code", min=1, fixedCode="8480-6"),
    )  # fmt: skip
    more = {"code": {"coding": [{"system": "urn:own", "code": "sys"}, *S["code"]["coding"]]}}
    assert faults(observation(more, D), checked) == []
    assert faults(observation(D), checked) == [("required", "Observation.component")]


def test_by_value_that_is_outlined_further_up() -> None:
    checked = profile(
        "bp", "Observation", element("Observation.component", slicing=sliced(("value", "code.coding.code"))),
        element("Observation.component:systolic", min=1, max="1"),
        element("Observation.component:systolic.code", patternCodeableConcept=S["code"]),
    )  # fmt: skip
    assert faults(observation(D, S), checked) == []
    assert faults(observation(D, S, S), checked) == [("structure", "Observation.component[2]")]
    assert faults(observation(D), checked) == [("required", "Observation.component")]


def test_invariants_within_a_contained_resource_see_it_as_theirs() -> None:
    rule = {"key": "c-1", "severity": "error", "human": "?", "expression": "%resource is Practitioner"}
    checked = profile(
        "p", "Patient", element("Patient.contained", type=[{"code": "Practitioner"}]),
        element("Patient.contained.name", constraint=[rule]),
    )  # fmt: skip
    practitioner = {"resourceType": "Practitioner", "id": "p", "name": [{"text": "A"}]}
    assert faults({"resourceType": "Patient", "contained": [practitioner]}, checked) == []
    assert faults({"resourceType": "Patient", "contained": [{"resourceType": "Device", "id": "d"}]}, checked) == [
        ("structure", "Patient.contained[0]")
    ]


def test_by_existence() -> None:
    checked = profile(
        "p", "Patient",
        element("Patient.name", slicing=sliced(("exists", "period.end"), rules="closed")),
        element("Patient.name:former", max="2"), element("Patient.name:former.period.end", min=1),
        element("Patient.name:now", min=1, max="1"), element("Patient.name:now.period.end", max="0"),
    )  # fmt: skip
    old: dict[str, Any] = {"text": "A", "period": {"end": "2020"}}
    assert faults({"resourceType": "Patient", "name": [old, {"text": "B"}]}, checked) == []
    assert faults({"resourceType": "Patient", "name": [old]}, checked) == [("required", "Patient.name")]
    assert faults({"resourceType": "Patient", "name": [old, old, {"text": "B"}, old]}, checked) == [
        ("structure", "Patient.name[3]")
    ]


def test_by_type_of_a_choice_in_words_and_in_short() -> None:
    long = profile(
        "p", "Observation",
        element("Observation.value[x]", slicing=sliced(("type", "$this"), rules="closed")),
        element("Observation.value[x]:valueQuantity", type=[{"code": "Quantity"}]),
        element("Observation.value[x]:valueQuantity.unit", min=1),
    )  # fmt: skip
    short = profile("p", "Observation", element("Observation.valueQuantity.unit", min=1))
    for checked in (long, short):
        assert faults(observation(valueQuantity={"value": 1, "unit": "mm"}), checked) == []
        assert faults(observation(valueQuantity={"value": 1}), checked) == [("required", "Observation.value.unit")]
        assert faults(observation(valueString="1"), checked) == [("structure", "Observation.value")]


def bundle(*resources: dict[str, Any]) -> dict[str, Any]:
    entries = [{"fullUrl": f"urn:uuid:{place}", "resource": each} for place, each in enumerate(resources)]
    return {"resourceType": "Bundle", "type": "collection", "entry": entries}


ENTRIES = [
    element("Bundle.entry:patient", min=1, max="1"),
    element("Bundle.entry:patient.resource", min=1, type=[{"code": "Patient"}]),
]


def test_by_type_of_a_resource() -> None:
    checked = profile("b", "Bundle", element("Bundle.entry", slicing=sliced(("type", "resource"))), *ENTRIES)
    patient, other = {"resourceType": "Patient"}, {"resourceType": "Basic", "code": {"text": "x"}}
    assert faults(bundle(other, patient), checked) == []
    assert faults(bundle(other), checked) == [("required", "Bundle.entry")]
    assert faults(bundle(patient, patient), checked) == [("structure", "Bundle.entry[1]")]


def test_by_profile_and_by_what_a_reference_leads_to() -> None:
    woman = profile("woman", "Patient", element("Patient.gender", min=1, fixedCode="female"))
    by_profile = profile(
        "b", "Bundle", element("Bundle.entry", slicing=sliced(("profile", "resource"))),
        element("Bundle.entry:woman", min=1),
        element("Bundle.entry:woman.resource", type=[{"code": "Patient", "profile": [BASE + "woman"]}]),
    )  # fmt: skip
    ada, bob = ({"resourceType": "Patient", "gender": gender} for gender in ("female", "male"))
    assert faults(bundle(bob, ada), by_profile, woman) == []
    assert faults(bundle(bob), by_profile, woman) == [("required", "Bundle.entry")]
    by_target = profile(
        "o", "Observation", element("Observation.performer", slicing=sliced(("type", "resolve()"), rules="closed")),
        element("Observation.performer:who", min=1,
                type=[{"code": "Reference", "targetProfile": [STRUCTURE + "Practitioner"]}]),
    )  # fmt: skip
    contained = {"contained": [{"resourceType": "Practitioner", "id": "p"}, {"resourceType": "Patient", "id": "q"}]}
    assert faults(observation(**contained, performer=[{"reference": "#p"}]), by_target) == []
    assert faults(observation(**contained, performer=[{"reference": "#q"}]), by_target) == [
        ("required", "Observation.performer"), ("structure", "Observation.performer[0]"),
    ]  # fmt: skip


def test_slices_within_slices() -> None:
    checked = profile(
        "p", "Patient", element("Patient.identifier", slicing=sliced(("value", "system"))),
        element("Patient.identifier:mrn", min=1, slicing=sliced(("value", "use"))),
        element("Patient.identifier:mrn.system", min=1, fixedUri="urn:mrn"),
        element("Patient.identifier:mrn/official", min=1, max="1"),
        element("Patient.identifier:mrn/official.use", min=1, fixedCode="official"),
    )  # fmt: skip
    official, old = ({"system": "urn:mrn", "use": use} for use in ("official", "old"))
    assert faults({"resourceType": "Patient", "identifier": [old, official]}, checked) == []
    assert faults({"resourceType": "Patient", "identifier": [old]}, checked) == [("required", "Patient.identifier")]
    assert faults({"resourceType": "Patient", "identifier": [official, official]}, checked) == [
        ("structure", "Patient.identifier[1]")
    ]


def test_a_slice_that_cannot_be_told_is_told() -> None:
    checked = profile(
        "p", "Patient", element("Patient.name", slicing=sliced(("value", "use"), rules="closed")),
        element("Patient.name:odd", min=1),
    )  # fmt: skip
    assert faults({"resourceType": "Patient", "name": [{"text": "A"}]}, checked) == []
    assert faults({"resourceType": "Patient", "name": [{"text": "A"}]}, checked, severity="information") == [
        ("not-supported", "Patient")
    ]


def test_a_profile_on_a_profile_goes_on_with_its_slices() -> None:
    narrower = profile(
        "narrower", "Observation", element("Observation.component:diastolic", min=1),
        element("Observation.component:diastolic.interpretation", min=1), base=BASE + "bp",
    )  # fmt: skip
    assert faults(observation(S), narrower, pressure()) == [("required", "Observation.component")]
    assert faults(observation(S, D), narrower, pressure()) == [("required", "Observation.component[1].interpretation")]
    assert faults(observation(S, {**D, "interpretation": [{"text": "low"}]}), narrower, pressure()) == []
    assert faults(observation(D), narrower, pressure())[0] == ("required", "Observation.component")


def test_a_profile_whose_base_is_missing_or_itself_is_said_to_be_so() -> None:
    lost = profile("lost", "Patient", base=BASE + "nowhere")
    assert faults({"resourceType": "Patient"}, lost) == [("not-supported", "Patient")]
    circle = profile("circle", "Patient", base=BASE + "circle")
    assert faults({"resourceType": "Patient"}, circle) == [("not-supported", "Patient")]
    assert known(circle).check(BASE + "circle") is None
