"""Extensions as their own definitions see them: url, value, parts, context, modifier; and bindings of profiles."""

from copy import deepcopy
from typing import Any

import pytest

from server.fhir.profile import Asked, conformance
from tests.fhir.profile.case import BASE, element, faults, known, profile, sliced


def extension(
    name: str, *elements: dict[str, Any], context: str = "Patient", kind: str = "element", **more: Any
) -> dict[str, Any]:
    """The definition of an extension."""
    url = element("Extension.url", fixedUri=BASE + name)
    contexts = [{"type": kind, "expression": context}]
    return profile(name, "Extension", url, *elements, **{"context": contexts, **more})


RELIGION = extension(
    "religion", element("Extension.extension", max="0"),
    element("Extension.value[x]", min=1, type=[{"code": "CodeableConcept"}]),
)  # fmt: skip
RACE = extension(
    "race",
    element("Extension.extension:text", min=1, max="1"),
    element("Extension.extension:text.url", fixedUri="text"),
    element("Extension.extension:text.value[x]", min=1, type=[{"code": "string"}]),
    element("Extension.value[x]", max="0"),
)


def issues(resource: dict[str, Any], *definitions: dict[str, Any], severity: str = "error") -> list[tuple[str, str]]:
    found = conformance(resource, known(*definitions), Asked(extensions=True))
    return [(issue.code, issue.expression) for issue in found if issue.severity == severity]


def patient(*extensions: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "extension": list(extensions), **more}


def test_a_known_extension_is_held_against_its_definition() -> None:
    good = {"url": BASE + "religion", "valueCodeableConcept": {"text": "x"}}
    assert issues(patient(good), RELIGION) == []
    wrong = {"url": BASE + "religion", "valueString": "x"}
    assert issues(patient(good, wrong), RELIGION) == [("structure", "Patient.extension[1].value")]


def test_parts_of_a_complex_extension() -> None:
    good = {"url": BASE + "race", "extension": [{"url": "text", "valueString": "x"}]}
    assert issues(patient(good), RACE) == [] and issues(patient(good), RACE, severity="information") == []
    empty = {"url": BASE + "race", "extension": [{"url": "other", "valueString": "x"}]}
    assert issues(patient(empty), RACE) == [("required", "Patient.extension[0].extension")]
    twice = {"url": BASE + "race", "extension": good["extension"] * 2}
    assert issues(patient(twice), RACE) == [("structure", "Patient.extension[0].extension[1]")]


@pytest.mark.parametrize(
    ("kind", "context", "where", "allowed"),
    [
        ("element", "Patient", "Patient", True),
        ("element", "DomainResource", "Patient", True),
        ("element", "Element", "Patient", True),
        ("element", "Observation", "Patient", False),
        ("element", "Patient.contact", "Patient.contact", True),
        ("element", "Patient.contact", "Patient", False),
        ("element", "HumanName", "Patient.name", True),
        ("element", "HumanName.family", "Patient.name.family", True),
        ("element", "HumanName.given", "Patient.name.family", False),
        ("element", "Patient.birthDate", "Patient.birthDate", True),
        ("element", "date", "Patient.birthDate", True),
        ("fhirpath", "Patient.contact.name", "Patient.contact.name", True),
        ("fhirpath", "Patient.contact.name", "Patient.name", False),
        ("extension", BASE + "around", "Patient", False),
    ],
)
def test_context(kind: str, context: str, where: str, allowed: bool) -> None:
    one = {"extension": [{"url": BASE + "religion", "valueCodeableConcept": {"text": "x"}}]}
    resource: dict[str, Any] = {
        "Patient": {**one},
        "Patient.contact": {"contact": [{"name": {"text": "B"}, **one}]},
        "Patient.contact.name": {"contact": [{"name": {"text": "B", **one}}]},
        "Patient.name": {"name": [{"text": "A", **one}]},
        "Patient.name.family": {"name": [{"family": "A", "_family": one}]},
        "Patient.birthDate": {"birthDate": "2001", "_birthDate": one},
    }[where]
    definition = {**RELIGION, "context": [{"type": kind, "expression": context}]}
    assert (issues({"resourceType": "Patient", **resource}, definition) == []) is allowed


def test_the_invariant_of_a_context() -> None:
    definition = {**RELIGION, "contextInvariant": ["gender.exists()"]}
    good = {"url": BASE + "religion", "valueCodeableConcept": {"text": "x"}}
    assert issues(patient(good, gender="female"), definition) == []
    assert issues(patient(good), definition) == [("invariant", "Patient.extension[0]")]


def test_an_extension_within_the_value_of_another() -> None:
    inner = {"url": BASE + "religion", "valueCodeableConcept": {"text": "x"}}
    outer = {"url": BASE + "around", "valueBoolean": True, "_valueBoolean": {"extension": [inner]}}
    definition = {**RELIGION, "context": [{"type": "extension", "expression": BASE + "around"}]}
    assert issues(patient(outer), definition) == []
    assert issues(patient(inner), definition) == [("structure", "Patient.extension[0]")]


def test_the_url_of_an_extension_is_absolute() -> None:
    assert issues(patient({"url": "religion", "valueString": "x"})) == [("value", "Patient.extension[0].url")]


def test_what_is_not_known() -> None:
    unknown = {"url": "http://example.org/unheard-of", "valueString": "x"}
    assert issues(patient(unknown)) == []
    assert issues(patient(unknown), severity="information") == [("not-found", "Patient.extension[0]")]
    assert issues({"resourceType": "Patient", "modifierExtension": [unknown]}) == [
        ("not-supported", "Patient.modifierExtension[0]")
    ]


def test_a_modifier_extension_stands_where_it_belongs() -> None:
    definition = {**RELIGION, "differential": {"element": [
        element("Extension", isModifier=True), *RELIGION["differential"]["element"]]}}  # fmt: skip
    good = {"url": BASE + "religion", "valueCodeableConcept": {"text": "x"}}
    assert issues({"resourceType": "Patient", "modifierExtension": [good]}, definition) == []
    assert issues(patient(good), definition) == [("structure", "Patient.extension[0]")]


def test_a_profile_asks_for_extensions_and_narrows_them() -> None:
    asking = profile(
        "p", "Patient",
        element("Patient.extension:race", min=1, max="1", type=[{"code": "Extension", "profile": [BASE + "race"]}]),
        element("Patient.extension:race.extension:text.value[x]", maxLength=3),
    )  # fmt: skip
    text = [{"url": "text", "valueString": "four"}]
    assert faults(patient({"url": BASE + "religion", "valueString": "x"}), asking, RACE) == [
        ("required", "Patient.extension")
    ]
    assert faults(patient({"url": BASE + "race", "extension": text}), asking, RACE) == [
        ("too-long", "Patient.extension[0].extension[0].value")
    ]
    assert (
        faults(patient({"url": BASE + "race", "extension": [{"url": "text", "valueString": "two"}]}), asking, RACE)
        == []
    )
    # Where the extension's definition is not here its URL still tells it.
    plain = profile("p", "Patient", element(
        "Patient.extension:race", min=1, type=[{"code": "Extension", "profile": [BASE + "race"]}]))  # fmt: skip
    assert faults(patient({"url": BASE + "race", "valueString": "x"}), plain) == []
    assert faults(patient(), plain) == [("required", "Patient.extension")]


def test_a_profile_on_a_datatype_and_on_what_a_reference_leads_to() -> None:
    phone = profile("phone", "ContactPoint", element("ContactPoint.system", min=1, fixedCode="phone"))
    kind = [{"code": "ContactPoint", "profile": [BASE + "phone"]}]
    calling = profile("p", "Patient", element("Patient.telecom", min=1, type=kind))
    assert faults({"resourceType": "Patient", "telecom": [{"system": "phone", "value": "1"}]}, calling, phone) == []
    assert faults({"resourceType": "Patient", "telecom": [{"system": "fax", "value": "1"}]}, calling, phone) == [
        ("value", "Patient.telecom[0].system")
    ]
    named = profile("named", "Organization", element("Organization.name", min=1))
    target = [{"code": "Reference", "targetProfile": [BASE + "named"]}]
    led = profile("q", "Patient", element("Patient.managingOrganization", type=target))
    resource = {
        "resourceType": "Patient", "managingOrganization": {"reference": "#o"},
        "contained": [{"resourceType": "Organization", "id": "o", "active": True}],
    }  # fmt: skip
    assert faults(resource, led, named) == [("value", "Patient.managingOrganization.reference")]
    resource["contained"] = [{"resourceType": "Organization", "id": "o", "name": "O"}]
    assert faults(resource, led, named) == []
    elsewhere = {"resourceType": "Patient", "managingOrganization": {"reference": "Organization/o"}}
    stored = {"resourceType": "Organization", "id": "o", "active": True}
    assert faults(elsewhere, led, named) == []
    assert faults(elsewhere, led, named, stored=lambda _: stored) == [
        ("value", "Patient.managingOrganization.reference")
    ]


def test_references_in_circles_come_to_an_end() -> None:
    target = [{"code": "Reference", "targetProfile": [BASE + "linked"]}]
    linked = profile("linked", "Patient", element("Patient.link", min=1), element("Patient.link.other", type=target))

    def one(id: str, other: str) -> dict[str, Any]:
        return {"resourceType": "Patient", "id": id, "link": [{"other": {"reference": other}, "type": "refer"}]}

    stored = {"Patient/a": one("a", "Patient/b"), "Patient/b": one("b", "Patient/a")}
    assert faults(stored["Patient/a"], linked, stored=stored.get) == []
    # As a server gives them: made anew at each reading.
    assert faults(stored["Patient/a"], linked, stored=lambda place: deepcopy(stored[place])) == []
    stored["Patient/b"] = {"resourceType": "Patient", "id": "b"}
    assert faults(stored["Patient/a"], linked, stored=stored.get) == [("value", "Patient.link[0].other.reference")]


VALUE_SET = {
    "resourceType": "ValueSet", "url": "http://example.org/vs", "status": "active",
    "compose": {"include": [{"system": "urn:m", "concept": [{"code": "M"}]}]},
}  # fmt: skip


@pytest.mark.parametrize(
    ("strength", "code", "error", "warning"),
    [
        ("required", "M", [], []),
        ("required", "X", [("code-invalid", "Patient.maritalStatus")], []),
        ("extensible", "X", [], [("code-invalid", "Patient.maritalStatus")]),
        ("preferred", "X", [], []),
    ],
)
def test_bindings(strength: str, code: str, error: list[Any], warning: list[Any]) -> None:
    bound = profile("p", "Patient", element(
        "Patient.maritalStatus", binding={"strength": strength, "valueSet": "http://example.org/vs"}))  # fmt: skip
    resource = {"resourceType": "Patient", "maritalStatus": {"coding": [{"system": "urn:m", "code": code}]}}
    assert faults(resource, bound, VALUE_SET) == error
    assert faults(resource, bound, VALUE_SET, severity="warning") == warning
    told = faults(resource, bound, severity="information")
    assert told == ([] if strength == "preferred" else [("not-supported", "Patient.maritalStatus")])


def test_units_of_ucum() -> None:
    units = {"resourceType": "ValueSet", "url": "http://example.org/u", "status": "active",
             "compose": {"include": [{"system": "http://unitsofmeasure.org"}]}}  # fmt: skip
    bound = profile("p", "Observation", element(
        "Observation.value[x]", binding={"strength": "required", "valueSet": "http://example.org/u"}))  # fmt: skip
    for unit, expected in (("mm[Hg]", []), ("mmHg", [("code-invalid", "Observation.value")])):
        quantity = {"value": 1, "system": "http://unitsofmeasure.org", "code": unit}
        assert faults({"resourceType": "Observation", "valueQuantity": quantity}, bound, units) == expected


def test_declared_profiles_of_contained_resources_and_entries() -> None:
    named = profile("named", "Organization", element("Organization.name", min=1))
    inside = {"resourceType": "Organization", "id": "o", "meta": {"profile": [BASE + "named"]}, "active": True}
    assert faults({"resourceType": "Patient", "contained": [inside]}, named, profiles=[]) == [
        ("required", "Patient.contained[0].name")
    ]
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": inside}]}
    assert faults(bundle, named, profiles=[]) == [("required", "Bundle.entry[0].resource.name")]
    unknown = {"resourceType": "Patient", "meta": {"profile": ["http://example.org/unheard-of"]}}
    assert faults(unknown, named, profiles=[], severity="information") == [("not-found", "Patient")]


def test_versions() -> None:
    one = {**profile("p", "Patient", element("Patient.gender", min=1)), "version": "1.0.0"}
    two = {**profile("p", "Patient"), "version": "2.0.0"}
    patient = {"resourceType": "Patient"}
    assert faults(patient, one, two, profiles=[f"{BASE}p|1.0.0"]) == [("required", "Patient.gender")]
    assert faults(patient, one, two, profiles=[f"{BASE}p|2.0.0"]) == []
    assert faults(patient, one, two, profiles=[f"{BASE}p|3.0.0"]) == [("not-found", "Patient")]


def test_recursive_content_is_checked_at_every_depth() -> None:
    checked = profile(
        "q", "Questionnaire", element("Questionnaire", min=0, max="*"),
        element("Questionnaire.item", min=0, max="*", slicing=None),
        element("Questionnaire.item.text", min=1),
        element("Questionnaire.item.item", contentReference="#Questionnaire.item"), view="snapshot",
    )  # fmt: skip
    inner = {"linkId": "2", "type": "display"}
    resource = {
        "resourceType": "Questionnaire", "status": "draft",
        "item": [{"linkId": "1", "type": "group", "text": "A", "item": [inner]}],
    }  # fmt: skip
    assert faults(resource, checked) == [("required", "Questionnaire.item[0].item[0].text")]


def test_ids_are_made_where_a_differential_has_none() -> None:
    elements = [
        {"path": "Patient.identifier", "slicing": sliced(("value", "system"))},
        {"path": "Patient.identifier", "sliceName": "mrn", "min": 1},
        {"path": "Patient.identifier.system", "min": 1, "fixedUri": "urn:mrn"},
        {"path": "Patient.identifier", "sliceName": "other"},
        {"path": "Patient.identifier.system", "fixedUri": "urn:other"},
        {"path": "Patient.identifier.value", "min": 1},
    ]
    checked = profile("p", "Patient", *elements)
    mrn = {"system": "urn:mrn"}
    assert faults({"resourceType": "Patient", "identifier": [mrn]}, checked) == []
    assert faults({"resourceType": "Patient", "identifier": [mrn, {"system": "urn:other"}]}, checked) == [
        ("required", "Patient.identifier[1].value")
    ]
