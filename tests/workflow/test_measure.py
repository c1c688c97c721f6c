"""Measures in memory: who is in which population, and what is reported of it."""

from typing import Any

import pytest

from server.errors import TooLarge, Unprocessable
from server.fhir import definitions
from server.fhir.validate import validate
from server.workflow import measure as measures
from server.workflow import pathway
from server.workflow.measure import Asked, evaluate, report
from tests.profiles.sources import Given

Resource = dict[str, Any]

SYSTEM = "https://hutong.example/fhir/CodeSystem/lung-nodule"
POPULATION = "http://terminology.hl7.org/CodeSystem/measure-population"
ASKED = Asked(start="2026-01-01", end="2026-12-31", recorded="2026-06-30T08:00:00.000Z")


def measure(scoring: str = "proportion", **criteria: str) -> Resource:
    """Of Observations; populations by their codes, with _ for -."""

    def population(code: str, text: str) -> Resource:
        language = "application/x-fhir-query" if code == "initial-population" else "text/fhirpath"
        return {
            "code": {"coding": [{"system": POPULATION, "code": code}]},
            "criteria": {"language": language, "expression": text},
        }

    stated = {"initial_population": "Observation?status=final", **criteria}
    return {
        "resourceType": "Measure", "id": "m", "url": "urn:m", "version": "3", "status": "active",
        "scoring": {"coding": [{"code": scoring}]},
        "group": [{"population": [population(code.replace("_", "-"), text) for code, text in stated.items()]}],
    }  # fmt: skip


def observation(id: str, number: int, patient: str = "p") -> Resource:
    return {
        "resourceType": "Observation", "id": id, "status": "final", "code": {"text": "a number"},
        "subject": {"reference": f"Patient/{patient}"}, "valueInteger": number,
    }  # fmt: skip


THERE = Given([*(observation(f"o{n}", n) for n in range(1, 7)), observation("other", 6, "q")])


def members(definition: Resource, asked: Asked = ASKED) -> dict[str, list[str]]:
    (group,) = evaluate(definition, asked, THERE, THERE.search)
    return {code: [one.removeprefix("Observation/") for one in found] for code, found in group.members.items()}


def test_the_numerator_is_a_part_of_the_denominator() -> None:
    found = members(measure(denominator="value >= 3", numerator="value = 1 or value = 5"))
    assert found["initial-population"] == ["o1", "o2", "o3", "o4", "o5", "o6", "other"]
    assert (found["denominator"], found["numerator"]) == (["o3", "o4", "o5", "o6", "other"], ["o5"])


def test_who_is_excluded_is_in_no_numerator_and_an_exception_only_who_is_not_in_it() -> None:
    definition = measure(
        denominator="value >= 3", denominator_exclusion="value = 3 or value = 1", numerator="value <= 5",
        numerator_exclusion="value = 5", denominator_exception="value = 6 or value = 4",
    )  # fmt: skip
    groups = evaluate(definition, ASKED, THERE, THERE.search)
    found = groups[0].members
    assert found["denominator-exclusion"] == ["Observation/o3"]
    assert (found["numerator"], found["numerator-exclusion"]) == (["Observation/o4"], ["Observation/o5"])
    assert found["denominator-exception"] == ["Observation/o6", "Observation/other"]
    # 4 of those that are left: o4 and o5.
    made = report(definition, groups, ASKED, kind="summary")
    assert made["group"][0]["measureScore"]["value"] * 2 == 1


def test_expressions_see_the_period_and_the_measures_variables() -> None:
    variable = {"name": "twice", "language": "text/fhirpath", "expression": "value * 2"}
    stated = {"url": "http://hl7.org/fhir/StructureDefinition/variable", "valueExpression": variable}
    when = "%twice = 4 and %periodStart = '2026-01-01' and %periodEnd = '2026-12-31' and %today = '2026-06-30'"
    assert members({**measure(denominator=when), "extension": [stated]})["denominator"] == ["o2"]


def test_one_subject() -> None:
    asked = Asked(start="2026-01-01", end="2026-12-31", recorded=ASKED.recorded, subject="Patient/q")
    definition = measure(denominator="true", numerator="value > 5")
    assert members(definition, asked)["initial-population"] == ["other"]
    made = report(definition, evaluate(definition, asked, THERE, THERE.search), asked, kind="individual")
    assert made["subject"] == {"reference": "Patient/q"}
    assert made["group"][0]["measureScore"]["value"] == 1


@pytest.mark.parametrize("kind", ["summary", "subject-list"])
def test_a_report_is_sound(kind: str) -> None:
    definition = measure(denominator="value >= 3", numerator="value > 100")
    made = report(definition, evaluate(definition, ASKED, THERE, THERE.search), ASKED, kind=kind)
    assert [issue for issue in validate(definitions.load(), made) if issue.severity != "warning"] == []
    assert (made["measure"], made["type"]) == ("urn:m|3", kind)
    lists = {f"#{one['id']}": one for one in made.get("contained", ())}
    for population in made["group"][0]["population"]:
        if kind == "subject-list":
            assert len(lists[population["subjectResults"]["reference"]].get("entry", ())) == population["count"]
    assert [one["count"] for one in made["group"][0]["population"]] == [7, 5, 0]
    assert made["group"][0]["measureScore"]["value"] == 0


def test_nobody_in_the_denominator_is_no_score() -> None:
    definition = measure(denominator="false", numerator="true")
    made = report(definition, evaluate(definition, ASKED, THERE, THERE.search), ASKED, kind="summary")
    assert "measureScore" not in made["group"][0]


@pytest.mark.parametrize(
    "definition",
    [
        measure("continuous-variable"),
        measure(measure_population="true"),
        measure(initial_population=""),
        {**measure(), "group": [{**measure()["group"][0], "stratifier": [{"code": {"text": "sex"}}]}]},
    ],
)
def test_what_is_not_evaluated_is_refused(definition: Resource) -> None:
    if not definition["group"][0]["population"][0]["criteria"]["expression"]:
        definition["group"][0]["population"][0]["criteria"] = {"language": "text/cql", "expression": "x"}
    with pytest.raises(Unprocessable):
        members(definition)


def test_more_than_can_be_looked_at_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measures, "MOST", 6)
    with pytest.raises(TooLarge):
        members(measure())


def follow_up(id: str, status: str = "draft", **occurrence: Any) -> Resource:
    coding = {"system": SYSTEM, "code": "low-dose-chest-ct"}
    return {
        "resourceType": "ServiceRequest", "id": id, "status": status, "intent": "proposal",
        "subject": {"reference": "Patient/p"}, "code": {"coding": [coding]}, **occurrence,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("occurrence", "end", "today", "overdue"),
    [
        ({"occurrenceDateTime": "2026-06-29T10:00:00Z"}, "2026-12-31", "2026-06-30", True),
        # The last day is not over yet.
        ({"occurrenceDateTime": "2026-06-30T10:00:00Z"}, "2026-12-31", "2026-06-30", False),
        ({"occurrenceDateTime": "2026-06-29"}, "2026-06-28", "2026-06-30", False),
        ({"occurrencePeriod": {"start": "2026-01-01", "end": "2026-06-29"}}, "2026-06-29", "2026-06-30", True),
        ({"occurrencePeriod": {"start": "2026-01-01", "end": "2026-06-30"}}, "2026-06-29", "2026-06-30", False),
        ({"occurrencePeriod": {"start": "2026-01-01"}}, "2026-06-29", "2026-06-30", False),
        ({"occurrenceDateTime": "2026-06"}, "2026-12-31", "2026-06-30", False),
        ({"occurrenceDateTime": "2026-06"}, "2026-12-31", "2026-07-01", True),
        ({"occurrenceDateTime": "2026"}, "2026-12-31", "2026-12-31", False),
        ({"occurrenceDateTime": "2025"}, "2026-12-31", "2026-06-30", True),
        ({}, "2026-12-31", "2026-06-30", False),
    ],
)
def test_the_last_day_of_a_follow_up(occurrence: Resource, end: str, today: str, overdue: bool) -> None:
    known = pathway.read("lung_nodule")
    shipped = known.measure("https://hutong.example/fhir/Measure/overdue-follow-ups")
    assert shipped is not None
    there = Given([follow_up("open", **occurrence), follow_up("done", "completed", **occurrence)])
    asked = Asked(start="2000-01-01", end=end, recorded=f"{today}T08:00:00.000Z")
    (group,) = evaluate(shipped, asked, there, there.search)
    assert group.members["numerator"] == (["ServiceRequest/open"] if overdue else [])
    assert len(group.members["denominator"]) == (2 if overdue else 0)


@pytest.mark.parametrize(
    ("seen", "code", "answered"),
    [
        ("2026-06-20", "low-dose-chest-ct", True),
        ("2026-01-01", "low-dose-chest-ct", False),
        ("2026-06-20", "later-chest-ct", True),
        ("2026-01-20", "later-chest-ct", False),
    ],
)
def test_a_later_study_that_was_assessed_answers(seen: str, code: str, answered: bool) -> None:
    """Whichever of the two studies came in first."""
    known = pathway.read("lung_nodule")
    shipped = known.measure("https://hutong.example/fhir/Measure/overdue-follow-ups")
    assert shipped is not None
    request = follow_up("open", occurrencePeriod={"start": "2026-02-01", "end": "2026-06-01"})
    request["code"]["coding"][0]["code"] = code
    request["supportingInfo"] = [{"reference": "DiagnosticReport/r"}]
    study = {"resourceType": "ImagingStudy", "id": "s", "started": "2026-01-01T10:00:00Z"}
    report_on = {"resourceType": "DiagnosticReport", "id": "r", "imagingStudy": [{"reference": "ImagingStudy/s"}]}
    category = {
        **observation("c", 1), "code": {"coding": [{"system": SYSTEM, "code": "lung-rads-category"}]},
        "effectiveDateTime": f"{seen}T10:00:00Z",
    }  # fmt: skip
    there = Given([request, study, report_on, category])
    asked = Asked(start="2000-01-01", end="2026-06-29", recorded="2026-06-30T08:00:00.000Z")
    (group,) = evaluate(shipped, asked, there, there.search)
    assert group.members["numerator"] == ([] if answered else ["ServiceRequest/open"])
    assert group.count("denominator") == 1
