"""PlanDefinition/$apply and ActivityDefinition/$apply over HTTP."""

import json
from typing import Any

import pytest
from httpx import Client

from server.fhir.definitions import load
from server.fhir.json_format import parse
from server.fhir.validate import validate
from tests.profiles.report import given


def put(fhir: Client, resource: dict[str, Any]) -> None:
    answer = fhir.put(f"/{resource['resourceType']}/{resource['id']}", json=resource)
    assert answer.status_code in (200, 201), answer.text


def fhirpath(expression: str) -> dict[str, str]:
    return {"language": "text/fhirpath", "expression": expression}


def applies(expression: str) -> list[dict[str, Any]]:
    return [{"kind": "applicability", "expression": fhirpath(expression)}]


def variable(name: str, language: str, expression: str) -> dict[str, Any]:
    url = "http://hl7.org/fhir/StructureDefinition/variable"
    return {"url": url, "valueExpression": {"name": name, "language": language, "expression": expression}}


def plan(**more: Any) -> dict[str, Any]:
    return {"resourceType": "PlanDefinition", "id": "plan", "url": "urn:plan", "status": "active", **more}


ACTIVITY = {
    "resourceType": "ActivityDefinition",
    "id": "order",
    "url": "urn:order",
    "version": "2",
    "status": "active",
    "kind": "ServiceRequest",
    "intent": "proposal",
    "priority": "urgent",
    "doNotPerform": False,
    "code": {"text": "CT"},
    "timingDateTime": "2026-03-01",
    "bodySite": [{"text": "chest"}],
    "quantity": {"value": 1},
    "dynamicValue": [
        {"path": "reasonCode[0].text", "expression": fhirpath("'for ' + name.given.first()")},
        {"path": "patientInstruction", "expression": fhirpath("%setting.text")},
    ],
}


@pytest.fixture
def patient(fhir: Client) -> None:
    put(fhir, {"resourceType": "Patient", "id": "p", "gender": "female", "name": [{"given": ["Ada"]}]})
    put(fhir, {"resourceType": "Practitioner", "id": "dr"})
    put(fhir, {"resourceType": "Organization", "id": "org", "name": "Clinic"})
    visit = {"class": {"code": "AMB"}, "status": "finished", "subject": {"reference": "Patient/p"}}
    put(fhir, {"resourceType": "Encounter", "id": "e", **visit})
    put(fhir, ACTIVITY)


def asked(fhir: Client, path: str, *parts: dict[str, Any]) -> dict[str, Any]:
    """Calls by POST; what comes out is sound FHIR."""
    answer = fhir.post(path, json={"resourceType": "Parameters", "parameter": [*parts]})
    assert answer.status_code == 200, answer.text
    issues = [one for one in validate(load(), parse(answer.content)) if one.severity != "warning"]
    assert issues == []
    found: dict[str, Any] = answer.json()
    return found


def subject(text: str = "Patient/p") -> dict[str, Any]:
    return {"name": "subject", "valueString": text}


def applied(fhir: Client, definition: dict[str, Any], *parts: dict[str, Any]) -> dict[str, Any]:
    sent = {"name": "planDefinition", "resource": definition}
    return asked(fhir, "/PlanDefinition/$apply", subject(), sent, *parts)


def contained(care_plan: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [one for one in care_plan.get("contained", []) if one["resourceType"] == kind]


@pytest.mark.usefixtures("patient")
def test_an_activity_becomes_a_request_for_the_subject(fhir: Client) -> None:
    made = asked(
        fhir,
        "/ActivityDefinition/order/$apply",
        subject(),
        {"name": "practitioner", "valueString": "Practitioner/dr"},
        {"name": "encounter", "valueString": "Encounter/e"},
        {"name": "setting", "valueCodeableConcept": {"text": "fasting"}},
    )
    made.pop("authoredOn")
    assert made == {
        "resourceType": "ServiceRequest",
        "status": "draft",
        "intent": "proposal",
        "instantiatesCanonical": ["urn:order|2"],
        "priority": "urgent",
        "doNotPerform": False,
        "code": {"text": "CT"},
        "occurrenceDateTime": "2026-03-01",
        "bodySite": [{"text": "chest"}],
        "quantityQuantity": {"value": 1},
        "subject": {"reference": "Patient/p"},
        "encounter": {"reference": "Encounter/e"},
        "requester": {"reference": "Practitioner/dr"},
        "reasonCode": [{"text": "for Ada"}],
        "patientInstruction": "fasting",
    }
    by_url = fhir.get("/ActivityDefinition/$apply?canonical=urn:order&subject=Patient/p").json()
    assert by_url["code"] == {"text": "CT"} and "patientInstruction" not in by_url
    assert fhir.get("/ActivityDefinition/$apply?canonical=urn:order|1&subject=Patient/p").status_code == 404


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    ("kind", "more", "expected"),
    [
        (
            "MedicationRequest",
            {"productCodeableConcept": {"text": "m"}, "dosage": [{"text": "daily"}]},
            {"medicationCodeableConcept": {"text": "m"}, "dosageInstruction": [{"text": "daily"}]},
        ),
        ("Task", {"code": {"text": "c"}}, {"for": {"reference": "Patient/p"}, "instantiatesCanonical": "urn:a"}),
        ("CarePlan", {"code": {"text": "c"}}, {"instantiatesCanonical": ["urn:a"]}),
        ("DeviceRequest", {"code": {"text": "c"}}, {"codeCodeableConcept": {"text": "c"}}),
        ("CommunicationRequest", {}, {"status": "draft", "subject": {"reference": "Patient/p"}}),
    ],
)
def test_each_kind_takes_what_its_elements_hold(
    fhir: Client, kind: str, more: dict[str, Any], expected: dict[str, Any]
) -> None:
    activity = {"resourceType": "ActivityDefinition", "url": "urn:a", "status": "active", "kind": kind, **more}
    sent = {"name": "activityDefinition", "resource": activity}
    made = asked(fhir, "/ActivityDefinition/$apply", subject(), sent)
    assert made["resourceType"] == kind
    assert {name: made.get(name) for name in expected} == expected


@pytest.mark.usefixtures("patient")
def test_a_plan_becomes_a_care_plan_with_its_request_group(fhir: Client) -> None:
    stated = plan(
        title="A plan",
        goal=[{"description": {"text": "well"}, "target": [{"due": {"value": 3, "unit": "mo"}}]}],
        action=[
            {
                "id": "yes",
                "title": "Order",
                "definitionCanonical": "urn:order|2",
                "condition": [*applies("gender = 'female'"), {"kind": "stop", "expression": fhirpath("false")}],
                "dynamicValue": [{"path": "code.text", "expression": fhirpath("%organization.name")}],
                "participant": [{"type": "patient"}, {"type": "practitioner"}],
                "relatedAction": [
                    {"actionId": "told", "relationship": "before", "offsetDuration": {"value": 1, "unit": "h"}},
                    {"actionId": "no", "relationship": "before"},
                ],
            },
            {"id": "no", "condition": applies("gender = 'male'"), "definitionCanonical": "urn:order"},
            {"id": "told", "description": "Tell her", "priority": "asap"},
            {
                "id": "choice",
                "selectionBehavior": "exactly-one",
                "groupingBehavior": "logical-group",
                "action": [{"id": "a", "title": "A"}, {"id": "b", "title": "B"}],
            },
        ],
    )
    made = applied(fhir, stated, {"name": "organization", "valueString": "Organization/org"})
    assert (made["status"], made["intent"], made["title"]) == ("draft", "proposal", "A plan")
    assert made["subject"] == {"reference": "Patient/p"} and made["instantiatesCanonical"] == ["urn:plan"]
    (group,) = contained(made, "RequestGroup")
    assert made["activity"] == [{"reference": {"reference": f"#{group['id']}"}}]
    assert [one["id"] for one in group["action"]] == ["yes", "told", "choice"]
    yes, told, choice = group["action"]
    (request,) = contained(made, "ServiceRequest")
    assert request["code"]["text"] == "Clinic" and yes["resource"] == {"reference": f"#{request['id']}"}
    assert yes["participant"] == [{"reference": "Patient/p"}]
    assert [one["kind"] for one in yes["condition"]] == ["stop"]
    assert [one["actionId"] for one in yes["relatedAction"]] == ["told"]
    tasks = {f"#{one['id']}": one.get("description") for one in contained(made, "Task")}
    assert told["priority"] == "asap" and tasks[told["resource"]["reference"]] == "Tell her"
    # It is for the user to choose: both are there.
    assert (choice["selectionBehavior"], choice["groupingBehavior"]) == ("exactly-one", "logical-group")
    assert [one["id"] for one in choice["action"]] == ["a", "b"]
    (goal,) = contained(made, "Goal")
    assert goal["lifecycleStatus"] == "proposed" and made["goal"] == [{"reference": f"#{goal['id']}"}]


@pytest.mark.usefixtures("patient")
def test_a_plan_inside_a_plan_and_definitions_that_it_contains(fhir: Client) -> None:
    put(fhir, plan(id="inner", url="urn:inner", action=[{"id": "i", "definitionCanonical": "urn:order"}]))
    own = {"resourceType": "ActivityDefinition", "id": "own", "status": "active", "kind": "Task"}
    actions = [
        {"id": "in", "definitionCanonical": "urn:inner"},
        {"id": "own", "definitionCanonical": "#own", "action": [{"title": "and"}]},
    ]
    put(fhir, plan(contained=[own], action=actions))
    made = asked(fhir, "/PlanDefinition/plan/$apply", subject())
    outer, inner = contained(made, "RequestGroup")
    assert outer["action"][0]["resource"] == {"reference": f"#{inner['id']}"}
    assert inner["instantiatesCanonical"] == ["urn:inner"]
    # An action has a resource or actions: what it makes itself comes first among those below it.
    assert [sorted(one) for one in outer["action"][1]["action"]] == [["resource"], ["resource", "title"]]


@pytest.mark.usefixtures("patient")
def test_variables_queries_and_actions_for_each_item(fhir: Client) -> None:
    for number in (1, 2, 3):
        code = {"coding": [{"code": "w"}]}
        subject_of = {"reference": "Patient/p"}
        put(
            fhir,
            {"resourceType": "Observation", "id": f"o{number}", "status": "final", "code": code, "subject": subject_of},
        )
    each = {
        "url": "https://hutong.example/fhir/StructureDefinition/action-for-each",
        "valueExpression": {
            "name": "one", "language": "text/fhirpath", "expression": "%found.where(id != 'o2')",
        },
    }  # fmt: skip
    stated = plan(
        extension=[variable("found", "application/x-fhir-query", "Observation?subject=Patient/{{id}}&code=w")],
        action=[
            {
                "id": "each",
                "extension": [each],
                "definitionCanonical": "urn:order",
                "dynamicValue": [
                    {"path": "reasonReference[0].reference", "expression": fhirpath("'Observation/' + %one.id")},
                ],
            },
            {
                "id": "then",
                "condition": applies("%made.count() = 2"),
                "definitionCanonical": "urn:order",
                "dynamicValue": [
                    {"path": "note[0].text", "expression": fhirpath("%made.reasonReference.resolve().id.join(' ')")},
                    {"path": "supportingInfo[0]", "expression": fhirpath("%created.then")},
                ],
            },
        ],
    )
    made = applied(fhir, stated)
    requests = contained(made, "ServiceRequest")
    assert [one["reasonReference"][0]["reference"] for one in requests[:2] if "reasonReference" in one] == [
        "Observation/o3",
        "Observation/o1",
    ]
    assert requests[2]["note"] == [{"text": "o3 o1"}]
    assert requests[2]["supportingInfo"] == [{"reference": f"#{requests[2]['id']}"}]
    assert len({one["id"] for one in requests}) == 3


@pytest.mark.usefixtures("patient")
def test_nothing_that_applies_gives_an_empty_care_plan(fhir: Client) -> None:
    made = applied(fhir, plan(action=[{"title": "never", "condition": applies("false")}]))
    assert "activity" not in made and "contained" not in made


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    ("definition", "status", "said"),
    [
        (plan(action=[{"transform": "urn:map", "definitionCanonical": "urn:order"}]), 422, "StructureMap"),
        (plan(action=[{"definitionCanonical": "urn:nowhere"}]), 422, "urn:nowhere"),
        (plan(action=[{"definitionUri": "urn:elsewhere"}]), 422, "urn:elsewhere"),
        (plan(subjectCodeableConcept={"coding": [{"code": "Device"}]}), 400, "for Device"),
        (
            plan(
                action=[
                    {
                        "title": "cql",
                        "condition": [
                            {"kind": "applicability", "expression": {"language": "text/cql", "expression": "A"}}
                        ],
                    }
                ]
            ),
            422,
            "text/cql",
        ),
        (plan(action=[{"title": "x", "condition": applies("name.where(")}]), 400, "FHIRPath"),
        (
            plan(
                action=[
                    {
                        "definitionCanonical": "urn:order",
                        "dynamicValue": [{"path": "status", "expression": fhirpath("'wrong'")}],
                    }
                ]
            ),
            422,
            "rules of FHIR|wrong|status",
        ),
        (plan(action=[{"definitionCanonical": "urn:self"}], url="urn:self"), 422, "no PlanDefinition"),
    ],
)
def test_what_cannot_be_applied_is_refused_by_name(
    fhir: Client, definition: dict[str, Any], status: int, said: str
) -> None:
    sent = {"name": "planDefinition", "resource": definition}
    body = {"resourceType": "Parameters", "parameter": [subject(), sent]}
    answer = fhir.post("/PlanDefinition/$apply", json=body)
    assert answer.status_code == status, answer.text
    assert any(word in answer.text for word in said.split("|")), answer.text


@pytest.mark.usefixtures("patient")
def test_a_plan_that_never_ends_is_refused(fhir: Client) -> None:
    put(fhir, plan(url="urn:self", action=[{"definitionCanonical": "urn:self"}]))
    answer = fhir.get("/PlanDefinition/plan/$apply?subject=Patient/p")
    assert answer.status_code == 422 and "nested too deeply" in answer.text
    many = plan(action=[{"extension": [_each("(1|2|3|4|5|6|7|8|9|10)")], "action": [_wide(4)]}])
    sent = {"name": "planDefinition", "resource": many}
    body = {"resourceType": "Parameters", "parameter": [subject(), sent]}
    assert fhir.post("/PlanDefinition/$apply", json=body).status_code == 413


def _each(expression: str) -> dict[str, Any]:
    return {
        "url": "https://hutong.example/fhir/StructureDefinition/action-for-each",
        "valueExpression": {"name": "n", "language": "text/fhirpath", "expression": expression},
    }


def _wide(depth: int) -> dict[str, Any]:
    ten = {"extension": [_each("(1|2|3|4|5|6|7|8|9|10)")]}
    return {**ten, "action": [_wide(depth - 1)]} if depth else {"title": "leaf", **ten}


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("subject=Patient/p", 400),
        ("canonical=urn:nowhere&subject=Patient/p", 404),
        ("canonical=urn:plan", 400),
        ("canonical=urn:plan&subject=Patient/none", 404),
        ("canonical=urn:plan&subject=p", 400),
        ("canonical=urn:plan&subject=Nothing/p", 400),
        ("canonical=urn:plan&subject=Organization/org", 400),
        ("canonical=urn:plan&subject=Patient/p&subject=Patient/p", 400),
        ("canonical=urn:plan&subject=Patient/p&encounter=Encounter/none", 404),
        ("canonical=urn:plan&subject=Patient/p&nonsense=1", 400),
    ],
)
def test_calls_that_name_the_wrong_thing(fhir: Client, query: str, status: int) -> None:
    put(fhir, plan())
    answer = fhir.get(f"/PlanDefinition/$apply?{query}")
    assert answer.status_code == status, answer.text


def test_a_bundled_pathway_by_its_canonical(fhir: Client) -> None:
    """The pathway that answers results, asked for one report: the same category, and nothing is written."""
    report, others = given({"lesions": [{"density": "solid", "diameter": 8.0}]})
    for resource in (*others, report):
        sent = json.dumps(resource, default=float)
        answer = fhir.put(f"/{resource['resourceType']}/{resource['id']}", content=sent)
        assert answer.status_code in (200, 201), answer.text
    canonical = "https://hutong.example/fhir/PlanDefinition/assess-lung-nodules"
    setting = {"name": "setting", "valueCodeableConcept": {"coding": [{"code": "c-lung-rads"}]}}
    asked_by = {"name": "subject", "valueString": f"DiagnosticReport/{report['id']}"}
    for parts, category in (([], "4A"), ([setting], "2")):
        made = asked(fhir, f"/PlanDefinition/$apply?canonical={canonical}", asked_by, *parts)
        values = [one["valueCodeableConcept"]["coding"][0]["code"] for one in contained(made, "Observation")]
        assert values == [category, category]
        assert made["subject"] == {"reference": "Patient/p"} and len(contained(made, "ServiceRequest")) == 1
    assert fhir.get("/CarePlan").json()["total"] == 0
    refused = fhir.get(f"/PlanDefinition/$apply?canonical={canonical}&subject=Patient/p")
    assert refused.status_code == 400 and "DiagnosticReport" in refused.text
