"""The smallest valid resource of a type, made from the definitions."""

from typing import Any

from server.fhir.definitions import Definitions, Element
from server.fhir.validate import validate

_PRIMITIVES: dict[str, Any] = {
    "boolean": True, "integer": 1, "positiveInt": 1, "unsignedInt": 1, "decimal": 1, "date": "2024-01-02",
    "dateTime": "2024-01-02", "instant": "2024-01-02T03:04:05Z", "time": "03:04:05", "base64Binary": "eA==",
    "uuid": "urn:uuid:c757873d-ec9a-4326-a141-556f43239520", "oid": "urn:oid:1.2.3", "xhtml": "<div/>",
    "uri": "urn:x", "url": "http://x.example", "canonical": "http://x.example/x",
}  # fmt: skip
_DATATYPES: dict[str, Any] = {
    "CodeableConcept": {"text": "x"},
    "Coding": {"code": "x"},
    "Identifier": {"value": "x"},
    "Attachment": {"contentType": "text/plain"},
    "Quantity": {"value": 1},
    "SimpleQuantity": {"value": 1},
    "Money": {"value": 1, "currency": "CNY"},
    "Period": {"start": "2024"},
    "Range": {"low": {"value": 1}},
    "Timing": {"repeat": {"count": 1}},
    "HumanName": {"text": "x"},
    "ContactDetail": {"name": "x"},
    "Expression": {"language": "text/fhirpath", "expression": "true"},
    "Duration": {"value": 1, "system": "http://unitsofmeasure.org", "code": "d"},
    "Signature": {
        "type": [{"code": "x"}], "when": "2024-01-02T03:04:05Z", "who": {"display": "x"},
    },
}  # fmt: skip
#: What invariants ask for besides.
_MORE: dict[str, dict[str, Any]] = {
    "Organization": {"name": "x"},
    "Group": {"actual": True},
    "Consent": {"patient": {"display": "x"}, "policyRule": {"text": "x"}, "scope": {
        "coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "research"}]}},
    "AllergyIntolerance": {"verificationStatus": {"coding": [{
        "system": "http://terminology.hl7.org/CodeSystem/allergyintolerance-verification", "code": "entered-in-error",
    }]}},
    "Appointment": {"status": "proposed", "participant": [{"status": "accepted", "actor": {"reference": "Patient/x"}}]},
    "AppointmentResponse": {"actor": {"reference": "Patient/x"}},
    "CapabilityStatement": {"kind": "requirements", "description": "x", "rest": [{"mode": "server"}]},
    "EventDefinition": {"trigger": [{"type": "named-event", "name": "x"}]},
    "ImmunizationRecommendation": {"recommendation": [
        {"forecastStatus": {"text": "x"}, "vaccineCode": [{"text": "x"}]},
    ]},
    "InsurancePlan": {"name": "x"},
    "Linkage": {"item": [{"type": "source", "resource": {"reference": "Patient/x"}}] * 2},
    "StructureDefinition": {"kind": "logical", "differential": {"element": [{"id": "x", "path": "x"}]}},
    "TerminologyCapabilities": {"kind": "requirements", "description": "x"},
    "Questionnaire": {"name": "X"},
    "OperationDefinition": {"name": "X"},
    "SearchParameter": {
        "name": "X", "code": "x", "base": ["Basic"], "type": "token", "expression": "Basic.code", "status": "draft",
    },
}  # fmt: skip


def minimal(definitions: Definitions, kind: str, **more: Any) -> dict[str, Any]:
    """A resource that breaks no rule; the assertion names those that it does break."""
    made = {"resourceType": kind, **_required(definitions, kind, kind), **_MORE.get(kind, {}), **more}
    issues = [issue for issue in validate(definitions, made) if issue.severity in ("error", "fatal")]
    assert not issues, (kind, made, [(issue.expression, issue.details) for issue in issues])
    return made


def _required(definitions: Definitions, path: str, kind: str) -> dict[str, Any]:
    """What of an object can't be left out; nothing more."""
    made: dict[str, Any] = {}
    for name, found in definitions.properties(path).items():
        element = found.element
        if element.min == 0 or any(name.startswith(element.name) and element.choice for name in made):
            continue
        value = _value(definitions, element, found.type, found.children, kind)
        made[name] = [value] if element.many else value
    return made


def _value(definitions: Definitions, element: Element, type: str, children: str, kind: str) -> Any:
    if definitions.types[type].kind == "primitive-type":
        codes = definitions.codes(element.value_set) if element.binding_strength == "required" else None
        if codes:
            return sorted(next(iter(codes.values())))[0]
        return _PRIMITIVES.get(type, "x")
    if type == "Reference":
        target = next((one for one in element.targets if definitions.is_resource(one)), "Patient")
        return {"reference": f"{target}/x"}
    if type in _DATATYPES:
        return _DATATYPES[type]
    if type == "Resource":
        return {"resourceType": "Basic", "code": {"text": "x"}}
    return _required(definitions, children, kind)
