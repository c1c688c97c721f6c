"""Measure/$evaluate-measure over HTTP."""

from typing import Any

import pytest
from httpx import Client

from server.fhir.definitions import load
from server.fhir.json_format import parse
from server.fhir.validate import validate
from tests.workflow.test_measure import follow_up, measure, observation

SHIPPED = "https://hutong.example/fhir/Measure/overdue-follow-ups"
YEAR = {"periodStart": "2025-01-01", "periodEnd": "2025-12-31"}


def put(fhir: Client, resource: dict[str, Any]) -> None:
    answer = fhir.put(f"/{resource['resourceType']}/{resource['id']}", json=resource)
    assert answer.status_code in (200, 201), answer.text


def asked(fhir: Client, path: str, **parameters: str) -> dict[str, Any]:
    answer = fhir.get(path, params={**YEAR, **parameters})
    assert answer.status_code == 200, answer.text
    assert [one for one in validate(load(), parse(answer.content)) if one.severity != "warning"] == []
    found: dict[str, Any] = answer.json()
    return found


def counts(report: dict[str, Any]) -> dict[str, int]:
    populations = report["group"][0]["population"]
    return {one["code"]["coding"][0]["code"]: one["count"] for one in populations}


def test_the_overdue_follow_ups(fhir: Client) -> None:
    put(fhir, {"resourceType": "Patient", "id": "p"})
    put(fhir, follow_up("open", occurrenceDateTime="2025-03-01"))
    put(fhir, follow_up("done", "completed", occurrenceDateTime="2025-03-01"))
    put(fhir, follow_up("before", occurrenceDateTime="2024-03-01"))
    found = asked(fhir, "/Measure/$evaluate-measure", measure=SHIPPED)
    assert counts(found) == {"initial-population": 3, "denominator": 2, "numerator": 1}
    assert (found["type"], found["group"][0]["measureScore"]["value"]) == ("summary", 0.5)
    listed = asked(fhir, "/Measure/$evaluate-measure", measure=SHIPPED, reportType="subject-list")
    lists = {one["id"]: one for one in listed["contained"]}
    assert [one["item"]["reference"] for one in lists["numerator-1"]["entry"]] == ["ServiceRequest/open"]
    one = asked(fhir, "/Measure/$evaluate-measure", measure=SHIPPED, subject="Patient/p")
    assert (one["type"], one["subject"]) == ("individual", {"reference": "Patient/p"})


def test_a_stored_measure(fhir: Client) -> None:
    put(fhir, {"resourceType": "Patient", "id": "p"})
    put(fhir, measure(denominator="true", numerator="value > 1"))
    for number in (1, 2, 3):
        put(fhir, observation(f"o{number}", number))
    for path, more in (("/Measure/m/", {}), ("/Measure/", {"measure": "m"}), ("/Measure/", {"measure": "urn:m|3"})):
        found = asked(fhir, f"{path}$evaluate-measure", **more)
        assert counts(found) == {"initial-population": 3, "denominator": 3, "numerator": 2}
        assert found["group"][0]["measureScore"]["value"] == 0.6667


@pytest.mark.parametrize(
    ("parameters", "status"),
    [
        ({"periodStart": "2025-12-31", "periodEnd": "2025-01-01"}, 400),
        ({"periodStart": "2025", "periodEnd": "2025"}, 400),
        ({"measure": "urn:nothing"}, 404),
        ({"measure": "nothing"}, 404),
        ({"measure": ""}, 400),
        ({"reportType": "data-collection"}, 400),
        ({"reportType": "subject"}, 400),
        ({"reportType": "population", "subject": "Patient/p"}, 400),
        ({"subject": "Patient/nobody"}, 404),
        ({"subject": "nobody"}, 422),
        ({"practitioner": "Practitioner/1"}, 400),
        ({"periodStart": ""}, 400),
    ],
)
def test_what_can_not_be_evaluated(fhir: Client, parameters: dict[str, str], status: int) -> None:
    answer = fhir.get("/Measure/$evaluate-measure", params={**YEAR, "measure": SHIPPED, **parameters})
    assert answer.status_code == status, answer.text
    assert answer.json()["resourceType"] == "OperationOutcome"
