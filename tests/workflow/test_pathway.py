"""What plans make is written once for an event, and people's decisions about it stand."""

import json
from importlib import resources
from typing import Any

import pytest

from server.errors import Gone
from server.events import topics
from server.fhir import definitions
from server.repository import Repository
from server.search.find import Search
from server.store.database import Database
from server.workflow import pathway
from server.workflow.pathway import Planner
from server.workflow.periodic import periodic
from tests.workflow.conftest import ACCESS

TOPIC = "https://hutong.example/fhir/SubscriptionTopic/ai-result-available"
NOW = "2026-02-01T08:00:05.000Z"


@pytest.fixture
def planner(database: Database) -> Planner:
    known = definitions.load()
    repository = Repository(database, known, Search(known))
    return Planner(repository=repository, pathways=pathway.load())


def case() -> dict[str, Any]:
    file = resources.files("fhir_profiles").joinpath("lung_nodule", "cases", "solid.json")
    cases = json.loads(file.read_text(encoding="utf-8"))["cases"]
    return dict(next(one for one in cases if one["title"] == "solid 8.0 mm"))


def written(planner: Planner) -> int:
    """Stores the case's resources; gives the report's version."""
    one = case()
    for resource in (*one["given"], one["focus"]):
        planner.repository.update(ACCESS, resource)
    return int(planner.repository.read(ACCESS, "DiagnosticReport", "report")["meta"]["versionId"])


def plans(planner: Planner) -> list[dict[str, Any]]:
    found = planner.repository.search(ACCESS, "CarePlan", [])
    return [planner.repository.read(ACCESS, "CarePlan", stored.id) for stored in found.matches]


def test_the_same_event_again_leaves_what_people_did(planner: Planner) -> None:
    version = written(planner)
    planner.run(1, TOPIC, "DiagnosticReport", "report", version, NOW)
    (plan,) = plans(planner)
    planner.repository.update(ACCESS, {**plan, "status": "active", "title": "Agreed with the patient"})
    planner.run(1, TOPIC, "DiagnosticReport", "report", version, NOW)
    (kept,) = plans(planner)
    assert (kept["status"], kept["title"]) == ("active", "Agreed with the patient")


def test_a_new_report_brings_a_new_version_of_the_same_plan(planner: Planner) -> None:
    version = written(planner)
    planner.run(1, TOPIC, "DiagnosticReport", "report", version, NOW)
    (before,) = plans(planner)
    report = planner.repository.read(ACCESS, "DiagnosticReport", "report")
    planner.repository.update(ACCESS, {**report, "status": "final"})
    planner.run(1, TOPIC, "DiagnosticReport", "report", version + 1, "2026-02-02T08:00:05.000Z")
    (after,) = plans(planner)
    assert after["id"] == before["id"]
    assert after["meta"]["source"] == f"DiagnosticReport/report/_history/{version + 1}"
    # A late job for the version before does not bring the old one back.
    planner.run(1, TOPIC, "DiagnosticReport", "report", version, NOW)
    assert plans(planner) == [after]


def test_what_was_deleted_stays_deleted(planner: Planner) -> None:
    version = written(planner)
    planner.run(1, TOPIC, "DiagnosticReport", "report", version, NOW)
    (plan,) = plans(planner)
    planner.repository.delete(ACCESS, "CarePlan", plan["id"])
    planner.run(1, TOPIC, "DiagnosticReport", "report", version, NOW)
    with pytest.raises(Gone):
        planner.repository.read(ACCESS, "CarePlan", plan["id"])


def test_an_event_whose_focus_is_gone_makes_nothing(planner: Planner) -> None:
    planner.run(1, TOPIC, "DiagnosticReport", "nowhere", 1, NOW)
    assert plans(planner) == []


def test_every_topic_that_a_plan_answers_exists() -> None:
    known = {topic.url for topic in topics.load()}
    for found in pathway.load():
        for plan in found.plans.values():
            for action in plan["action"]:
                triggers = [one for one in action.get("trigger", ()) if one["type"] != "periodic"]
                assert {trigger["name"] for trigger in triggers} <= known
    # What the clock wakes names a period and a measure that are there.
    assert [one.seconds for one in periodic(pathway.load())] == [86_400.0]
