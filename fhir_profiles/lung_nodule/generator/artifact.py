"""FHIR artifacts from short words: what the generator of this folder writes with."""

import json
from pathlib import Path
from typing import Any

Resource = dict[str, Any]

BASE = "https://hutong.example/fhir/"
SYSTEM = f"{BASE}CodeSystem/lung-nodule"
VARIABLE = "http://hl7.org/fhir/StructureDefinition/variable"
FOR_EACH = f"{BASE}StructureDefinition/action-for-each"
TEMPLATE = f"{BASE}StructureDefinition/result-template"
_FHIRPATH, _QUERY = "text/fhirpath", "application/x-fhir-query"
_VERSION, _DATE = "2.0.0", "2026-11-23"


def quoted(text: str) -> str:
    """A FHIRPath string."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def url(kind: str, id: str) -> str:
    """The canonical of an artifact of ours."""
    return f"{BASE}{kind}/{id}"


def variables(stated: dict[str, str]) -> list[Resource]:
    """Name -> FHIRPath, or a FHIR query, which begins with a type and a question mark."""
    return [
        {
            "url": VARIABLE,
            "valueExpression": {
                "name": name,
                "language": _QUERY if "?" in text.partition("=")[0] else _FHIRPATH,
                "expression": text,
            },
        }
        for name, text in stated.items()
    ]


def for_each(name: str, expression: str) -> Resource:
    """An action for each item."""
    return {"url": FOR_EACH, "valueExpression": {"name": name, "language": _FHIRPATH, "expression": expression}}


def action(
    id: str,
    title: str,
    *,
    when: str = "",
    plan: str = "",
    activity: str = "",
    extension: list[Resource] | None = None,
    **more: Any,
) -> Resource:
    """One action of a PlanDefinition."""
    found: Resource = {"extension": extension} if extension else {}
    found |= {"id": id, "title": title, **more}
    if when:
        expression = {"language": _FHIRPATH, "expression": when}
        found["condition"] = [{"kind": "applicability", "expression": expression}]
    if plan or activity:
        found["definitionCanonical"] = url("PlanDefinition", plan) if plan else url("ActivityDefinition", activity)
    below = found.pop("action", None)
    return {**found, "action": below} if below else found


def _head(kind: str, id: str, title: str, description: str, extension: list[Resource] | None) -> Resource:
    found: Resource = {"resourceType": kind, "id": id, "url": url(kind, id), "version": _VERSION}
    if extension:
        found["extension"] = extension
    name = "".join(part.capitalize() for part in id.split("-"))
    return found | {
        "name": name,
        "title": title,
        "status": "active",
        "experimental": True,
        "date": _DATE,
        "description": description,
    }


def _about(kind: str) -> Resource:
    return {"subjectCodeableConcept": {"coding": [{"system": "http://hl7.org/fhir/resource-types", "code": kind}]}}


def plan(
    id: str,
    title: str,
    description: str,
    actions: list[Resource],
    *,
    stated: dict[str, str] | None = None,
    subject: str = "DiagnosticReport",
    **more: Any,
) -> Resource:
    """A PlanDefinition, about a report unless another subject is named."""
    head = _head("PlanDefinition", id, title, description, variables(stated or {}))
    return {**head, **_about(subject), **more, "action": actions}


def measure(
    id: str, title: str, description: str, criteria: dict[str, str], *, stated: dict[str, str], subject: str
) -> Resource:
    """A proportion Measure of one group, less of which is better; population -> FHIR query or FHIRPath."""
    head = _head("Measure", id, title, description, variables(stated))
    codes = "http://terminology.hl7.org/CodeSystem/"
    return {
        **head,
        **_about(subject),
        "scoring": {"coding": [{"system": f"{codes}measure-scoring", "code": "proportion"}]},
        "improvementNotation": {"coding": [{"system": f"{codes}measure-improvement-notation", "code": "decrease"}]},
        "group": [{"population": [_population(code, text) for code, text in criteria.items()]}],
    }


def _population(code: str, text: str) -> Resource:
    system = "http://terminology.hl7.org/CodeSystem/measure-population"
    language = _QUERY if code == "initial-population" else _FHIRPATH
    return {
        "code": {"coding": [{"system": system, "code": code}]},
        "criteria": {"language": language, "expression": text},
    }


def activity(
    id: str,
    title: str,
    description: str,
    values: dict[str, str],
    *,
    kind: str = "",
    template: Resource | None = None,
    changed: str = "",
    subject: str = "DiagnosticReport",
) -> Resource:
    """An ActivityDefinition: a request of a kind, a filled template, or a change of what an expression gives."""
    extension: list[Resource] = []
    more: Resource = {"kind": kind, "intent": "proposal"} if kind else {}
    if template is not None:
        extension = [{"url": TEMPLATE, "valueReference": {"reference": "#result"}}]
        more = {"contained": [{"resourceType": template["resourceType"], "id": "result", **template}]}
    if changed:
        extension = [{"url": TEMPLATE, "valueExpression": {"language": _FHIRPATH, "expression": changed}}]
    dynamic = [
        {"path": path, "expression": {"language": _FHIRPATH, "expression": text}} for path, text in values.items()
    ]
    head = _head("ActivityDefinition", id, title, description, extension)
    return {**head, **_about(subject), **more, "dynamicValue": dynamic}


def code_system(id: str, title: str, description: str, codes: dict[str, str]) -> Resource:
    """A CodeSystem of ours."""
    head = _head("CodeSystem", id, title, description, None)
    return {
        **head,
        "caseSensitive": True,
        "content": "complete",
        "concept": [{"code": code, "display": display} for code, display in codes.items()],
    }


def coded(code: str, display: str, system: str = SYSTEM) -> Resource:
    """A CodeableConcept of one coding."""
    return {"coding": [{"system": system, "code": code, "display": display}], "text": display}


def text_of(artifact: Resource) -> str:
    """The file of an artifact."""
    return json.dumps(artifact, indent=1, ensure_ascii=False) + "\n"


def write(folder: Path, artifact: Resource) -> None:
    """Writes an artifact into its file."""
    name = f"{artifact['resourceType']}-{artifact['id']}.json"
    folder.joinpath(name).write_text(text_of(artifact), encoding="utf-8")
