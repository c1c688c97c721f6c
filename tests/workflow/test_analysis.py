"""A study becomes one result set, exactly once, with the shipped bundle on a small chest."""

from collections import Counter
from typing import Any

import pytest

from ai_adapters import run as adapter_run
from server.store import analyses
from server.workflow.analysis import Analyst
from tests.workflow.conftest import ACCESS, House, ct


def instances(house: House) -> Counter[str]:
    """Stored instances by SOP class."""
    return Counter(place.sop_class for place in house.retrieve.locate(ACCESS))


SR, SEG = "1.2.840.10008.5.1.4.1.1.88.34", "1.2.840.10008.5.1.4.1.1.66.4"


def only(found: list[dict[str, Any]]) -> dict[str, Any]:
    assert len(found) == 1
    return found[0]


def test_from_study_to_care_plan(house: House) -> None:
    house.receive(ct())
    jobs = Counter(house.settle())
    assert jobs["run-task"] == 1
    task = only(house.search("Task"))
    assert task["status"] == "completed"
    outputs = {item["type"]["coding"][0]["code"]: item for item in task["output"]}
    assert outputs["execution-provider"]["valueString"].endswith("ExecutionProvider")
    assert task["owner"]["reference"].startswith("Device/")
    assert {"start", "end"} <= set(task["executionPeriod"])
    assert instances(house)[SR] == instances(house)[SEG] == 1
    report = only(house.search("DiagnosticReport"))
    assert outputs["report"]["valueReference"]["reference"] == f"DiagnosticReport/{report['id']}"
    assert report["status"] == "preliminary"
    assert report["meta"]["tag"][0]["code"] == "nodule_detection"
    assert len(report["result"]) >= 2
    study = only(house.search("ImagingStudy"))
    assert {series["modality"]["code"] for series in study["series"]} == {"CT", "SR", "SEG"}
    plan, request = only(house.search("CarePlan")), only(house.search("ServiceRequest"))
    assert plan["activity"][0]["reference"]["reference"] == f"ServiceRequest/{request['id']}"
    # Two nodules of 14 and 11 mm: 4A, so three months after the study's date.
    assert request["occurrenceDateTime"].startswith("2026-04-30")
    assert house.sent == [("pacs", 2)]


def test_the_same_study_again_in_another_order_gives_nothing_new(house: House) -> None:
    house.receive(ct())
    house.settle()
    before = {kind: len(house.search(kind)) for kind in ("Task", "Observation", "DiagnosticReport", "CarePlan")}
    versions = only(house.search("ImagingStudy"))["meta"]["versionId"]
    again = house.receive(reversed(ct()))
    assert len(again.already) == 64
    assert house.settle() == []
    assert {kind: len(house.search(kind)) for kind in before} == before
    assert only(house.search("ImagingStudy"))["meta"]["versionId"] == versions


class Died(BaseException):
    """Stands for SIGKILL: nothing catches it, everything uncommitted is gone."""


@pytest.mark.parametrize("point", ["claimed", "inferring", "sr-written", "sr-stored", "fhir-committed"])
def test_killed_at_any_point_and_run_again(house: House, point: str, monkeypatch: pytest.MonkeyPatch) -> None:
    house.receive(ct())
    house.settle(without=["run-task"])
    task = only(house.search("Task"))["id"]
    runs = Counter[str]()
    infer = adapter_run.run

    def counted(*arguments: Any, **named: Any) -> Any:
        runs["inferred"] += 1
        return infer(*arguments, **named)

    def die(name: str) -> None:
        if name == point:
            raise Died

    monkeypatch.setattr("server.workflow.analysis.adapter_run.run", counted)
    with monkeypatch.context() as patch:
        patch.setattr("server.telemetry.kill_points.at", die)
        with pytest.raises(Died):
            house.analyst.run(1, task)
    house.analyst.run(1, task)
    house.analyst.run(1, task)
    assert runs["inferred"] == 1
    house.settle(without=["run-task"])
    assert instances(house)[SR] == instances(house)[SEG] == 1
    assert only(house.search("Task"))["status"] == "completed"
    assert len(house.search("DiagnosticReport")) == 1
    assert len(house.search("Provenance")) == 1
    groups = house.search("Observation", code="125007")
    assert len(groups) == len(only(house.search("DiagnosticReport"))["result"])


def test_late_instances_supersede_and_lesions_keep_their_names(house: House) -> None:
    house.receive(ct(slices=slice(0, 58)))
    house.settle()
    first = only(house.search("DiagnosticReport"))
    lesions = {one["id"] for one in house.search("BodyStructure")}
    house.receive(ct(slices=slice(58, 64)))
    house.settle()
    reports = {report["id"]: report for report in house.search("DiagnosticReport")}
    assert len(reports) == 2
    assert reports[first["id"]]["status"] == "amended"
    newer = next(report for id, report in reports.items() if id != first["id"])
    assert newer["status"] == "preliminary"
    assert newer["extension"][0]["valueReference"]["reference"] == f"DiagnosticReport/{first['id']}"
    statuses = Counter(one["status"] for one in house.search("Observation", code="125007"))
    assert statuses == {"amended": len(first["result"]), "preliminary": len(newer["result"])}
    assert lesions <= {one["id"] for one in house.search("BodyStructure")}
    assert len(house.search("BodyStructure")) < len(first["result"]) + len(newer["result"])
    assert instances(house)[SR] == 2
    assert len(house.search("CarePlan")) == 1


def test_a_series_that_can_t_be_read_rejects_the_task_with_the_reason(house: House) -> None:
    images = ct()
    house.receive(images[:20] + images[21:])
    house.settle()
    task = only(house.search("Task"))
    assert task["status"] == "rejected"
    assert "spaced" in task["statusReason"]["text"]
    assert house.search("DiagnosticReport") == []


def test_a_task_for_an_unknown_adapter_is_rejected(house: House) -> None:
    house.receive(ct(slices=slice(0, 3)))
    house.settle(without=["run-task"])
    study = only(house.search("ImagingStudy"))
    requested = {
        "resourceType": "Task",
        "id": "mine",
        "status": "requested",
        "intent": "order",
        "code": {"coding": [{"system": "https://hutong.example/fhir/CodeSystem/task-code", "code": "run-adapter"}]},
        "focus": {"reference": f"ImagingStudy/{study['id']}"},
        "input": [
            {
                "type": {
                    "coding": [{"system": "https://hutong.example/fhir/CodeSystem/task-parameter", "code": "adapter"}]
                },
                "valueString": "horoscope",
            }
        ],
    }
    house.repository.update(ACCESS, requested)
    house.settle()
    mine = house.repository.read(ACCESS, "Task", "mine")
    assert mine["status"] == "rejected"
    assert "nodule_detection" in mine["statusReason"]["text"]


def test_a_second_task_gets_the_same_outputs(house: House) -> None:
    house.receive(ct())
    house.settle()
    first = only(house.search("Task"))
    again = {name: value for name, value in first.items() if name not in ("output", "meta", "executionPeriod", "owner")}
    house.repository.update(ACCESS, {**again, "id": "again", "status": "requested"})
    house.settle()
    second = house.repository.read(ACCESS, "Task", "again")
    assert (second["status"], second["output"]) == ("completed", first["output"])
    assert len(house.search("DiagnosticReport")) == 1
    assert instances(house)[SR] == 1


def test_a_task_that_always_fails_says_why(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.receive(ct(slices=slice(0, 3)))
    house.settle(without=["run-task"])
    task = only(house.search("Task"))["id"]
    house.analyst.failed("The worker died 5 times while it was at this.", {"tenant": 1, "id": task})
    failed = house.repository.read(ACCESS, "Task", task)
    assert (failed["status"], failed["statusReason"]["text"]) == (
        "failed",
        "The worker died 5 times while it was at this.",
    )
    # It is over: a late attempt does nothing.
    house.analyst.run(1, task)
    assert house.repository.read(ACCESS, "Task", task)["meta"]["versionId"] == failed["meta"]["versionId"]
    with house.database.reading() as uow:
        assert analyses.latest(uow, 1, "2.25.10", "nodule_detection", "") is None
    assert isinstance(house.analyst, Analyst)
