"""Every row and every boundary of the guidelines' tables, each case through the machine that answers events."""

import json
import math
import re
import tomllib
from collections.abc import Iterator
from importlib import resources
from typing import Any

import pytest

from server.fhir import definitions
from server.fhir.validate import validate
from server.workflow import pathway
from server.workflow.plan import TopicEvent, apply
from tests.profiles.report import given
from tests.profiles.sources import Given

Resource = dict[str, Any]

FOLDER = resources.files("fhir_profiles").joinpath("lung_nodule")
TABLES = ("lung-rads-2022", "fleischner-2017", "c-lung-rads")
STUDY_CODES = {"lung-rads-category", "c-lung-rads-category", "fleischner-recommendation"}


def document(table: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(FOLDER.joinpath("cases", f"rows-{table}.json").read_text(encoding="utf-8"))
    return found


def table(name: str) -> dict[str, Any]:
    return tomllib.loads(FOLDER.joinpath("tables", f"{name}.toml").read_text(encoding="utf-8"))


def _cases() -> Iterator[Any]:
    for name in TABLES:
        found = document(name)
        for number, row in enumerate(found["rows"]):
            words = row["expected"]["rows"] or [row["expected"].get("row", "nothing")]
            yield pytest.param(found, row["given"], row["expected"], id=f"{name}-{number}-{'+'.join(words)}")


def applied(found: dict[str, Any], case: dict[str, Any]) -> tuple[list[Resource], list[Resource]]:
    """What is made, and all that there was."""
    focus, others = given(case)
    event = TopicEvent(topic=found["topic"], focus=focus, recorded=found["recorded"])
    known = pathway.read("lung_nodule")
    (plan,) = known.answering(found["topic"])
    return apply(plan, event, known, Given([focus, *others])), [focus, *others]


def code_of(resource: Resource) -> str:
    return str(resource["code"]["coding"][0]["code"])


def of(made: list[Resource], kind: str) -> list[Resource]:
    return [one for one in made if one["resourceType"] == kind]


def component(observation: Resource, code: str) -> Resource:
    found = [one for one in observation.get("component", ()) if one["code"]["coding"][0]["code"] == code]
    return found[0] if found else {}


def row_of(observation: Resource) -> str:
    return str(component(observation, "table-row")["valueCodeableConcept"]["coding"][0]["code"])


def row_texts(guideline: str) -> dict[str, str]:
    """The rows' own words, by their codes."""
    system = json.loads(FOLDER.joinpath(f"CodeSystem-{guideline}-rows.json").read_text(encoding="utf-8"))
    return {one["code"]: one["display"] for one in system["concept"]}


def value(observation: Resource) -> str:
    return str(observation["valueCodeableConcept"]["coding"][0]["code"])


def occurrence(request: Resource) -> Any:
    period = request.get("occurrencePeriod")
    return request.get("occurrenceDateTime") or (period and [period["start"], period["end"]])


@pytest.mark.parametrize(("found", "case", "expected"), list(_cases()))
def test_case(found: dict[str, Any], case: dict[str, Any], expected: dict[str, Any]) -> None:
    made, there = applied(found, case)
    for resource in made:
        assert [issue for issue in validate(definitions.load(), resource) if issue.severity != "warning"] == []
    nodules = [one for one in of(made, "Observation") if code_of(one) == "nodule-category"]
    assert [row_of(one) for one in nodules] == expected["rows"]
    assert [value(one) for one in nodules] == expected["categories"]
    studies = [one for one in of(made, "Observation") if code_of(one) in STUDY_CODES]
    assert [value(one) for one in studies] == ([] if expected["study"] is None else [expected["study"]])
    for study in studies:
        assert study["valueCodeableConcept"]["coding"][0]["system"].endswith(f"/{found['guideline']}")
        if "row" in expected:
            assert row_of(study) == expected["row"]
        words = component(study, "table-row")["valueCodeableConcept"]["text"]
        assert words == row_texts(found["guideline"])[row_of(study)]
        assert component(study, "modifier").get("valueString") == expected.get("modifier")
        assert study["derivedFrom"] == there[0]["result"]
    assert applied(found, case)[0] == made
    _follow_up(found, made, expected)
    _references(made, there)


def _follow_up(found: dict[str, Any], made: list[Resource], expected: dict[str, Any]) -> None:
    """The requests, in a plan; a flag for what is urgent; a message where somebody ordered the study."""
    requests = {code_of(one): one for one in of(made, "ServiceRequest")}
    later = requests.pop("later-chest-ct", None)
    urgent = expected["study"] in [one["code"] for one in table(found["guideline"])["category"] if one.get("urgent")]
    assert len(requests) == (1 if expected["due"] or urgent else 0)
    for request in requests.values():
        assert occurrence(request) == expected["due"]
        assert request["priority"] == ("urgent" if urgent else "routine")
        assert (request["status"], request["intent"]) == ("draft", "proposal")
        assert ", row " in request["note"][0]["text"]
    assert (later and occurrence(later)) == expected.get("later")
    plans = of(made, "CarePlan")
    assert len(plans) == len(requests)
    held = [one["reference"]["reference"] for plan in plans for one in plan["activity"]]
    assert held == [f"ServiceRequest/{one['id']}" for one in (*requests.values(), *filter(None, [later]))]
    assert len(of(made, "Flag")) == (1 if urgent else 0)
    told = [one["reference"] for message in of(made, "Communication") for one in message["recipient"]]
    assert told == expected.get("told", [])


def _references(made: list[Resource], there: list[Resource]) -> None:
    known = {f"{one['resourceType']}/{one['id']}" for one in (*made, *there)}
    named = set(re.findall(r'"reference": "([^"]+)"', json.dumps(made, default=str)))
    assert named <= known


@pytest.mark.parametrize("name", TABLES)
def test_every_row_of_a_table_has_a_case(name: str) -> None:
    stated = table(name)
    expected = [one["expected"] for one in document(name)["rows"]]
    tested = {row for one in expected for row in [*one["rows"], one.get("row", "")]}
    assert {row["id"] for row in (*stated["row"],)} | {one["row"] for one in stated.get("statement", ())} <= tested
    assert {one["code"] for one in stated["category"]} == {one["study"] for one in expected} - {None}
    assert set(stated["order"]) == {one["code"] for one in stated["category"]}


def test_the_volume_beside_a_diameter_is_that_of_a_sphere() -> None:
    pairs = {size["mm"]: size["mm3"] for size in table("lung-rads-2022")["size"]}
    assert pairs == {4: 34, 6: 113, 8: 268, 10: 524, 15: 1767, 30: 14137}
    for mm, mm3 in pairs.items():
        assert math.floor(math.pi / 6 * mm**3 + 0.5) == mm3
    printed = [one["text"] for one in table("lung-rads-2022")["row"]]
    # "(34 to < 113 mm3)" and "(524 mm3)": each after its diameters.
    for text in printed:
        for group in re.findall(r"([^()]*)\(([^()]*mm3)\)", text):
            sizes = [int(number) for number in re.findall(r"\b\d+\b(?!\w)", group[0])]
            volumes = [int(number) for number in re.findall(r"(\d+)(?= mm3| to)", group[1])]
            assert [pairs[size] for size in sizes if size in pairs][-len(volumes) :] == volumes, text
