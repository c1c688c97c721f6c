"""Change, malignancy models and answered follow-ups of the pathway, against published figures."""

import math
from decimal import Decimal
from typing import Any

import pytest

from server.fhir import definitions
from server.fhir.validate import validate
from tests.profiles.report import SYSTEM
from tests.profiles.test_tables import applied, code_of, document, of

FOUND = document("lung-rads-2022")
Resource = dict[str, Any]


def made(case: dict[str, Any]) -> list[Resource]:
    found, _ = applied(FOUND, case)
    for resource in found:
        assert [issue for issue in validate(definitions.load(), resource) if issue.severity != "warning"] == []
    return found


def models(case: dict[str, Any]) -> dict[str, Resource]:
    return {one["method"]["coding"][0]["code"]: one for one in of(made(case), "RiskAssessment")}


def percent(risk: Resource) -> Decimal | None:
    value = risk["prediction"][0].get("probabilityDecimal")
    return None if value is None else Decimal(str(value))


def lesion(**words: Any) -> dict[str, Any]:
    return {"density": "solid", "diameter": 4.0, "lobe": "lower", "words": ["smooth"], **words}


NO_RISKS = {"family-history-of-lung-cancer": False, "emphysema": False}
FEMALE = {"gender": "female", "birthDate": "1964-01-31"}
MALE = {"gender": "male", "birthDate": "1964-01-31"}


def test_brock_2b_of_the_small_nodule() -> None:
    """62 years, female, solid 4 mm, four nodules, lower lobe, no risks: 0.20495 %."""
    found = models({"lesions": [lesion()] * 1 + [{"nodule": n, **lesion()} for n in (2, 3, 4)], "facts": NO_RISKS})
    assert percent(found["brock-2b"]) == Decimal("0.20495")


def test_brock_2b_of_the_suspicious_nodule() -> None:
    """62 years, male, part-solid 10 mm, upper lobe, spiculated, single: 16.74 %."""
    words = lesion(density="part-solid", diameter=10.0, part=4.0, lobe="upper", words=["spiculated"])
    found = models({"patient": MALE, "lesions": [words], "facts": NO_RISKS})
    risk = percent(found["brock-2b"])
    assert risk is not None and risk.quantize(Decimal("0.01")) == Decimal("16.74")


def test_mayo() -> None:
    """60 years, has smoked, 20 mm, spiculated, upper lobe: 66.4 %."""
    patient = {"gender": "male", "birthDate": "1966-01-31"}
    facts = {"ever-smoker": True, "extrathoracic-cancer": False}
    words = lesion(diameter=20.0, lobe="upper", words=["spiculated"])
    risk = percent(models({"patient": patient, "lesions": [words], "facts": facts})["mayo"])
    assert risk is not None and risk.quantize(Decimal("0.1")) == Decimal("66.4")


@pytest.mark.parametrize(("uptake", "weight"), [("none", 0), ("faint", 2.322), ("moderate", 4.617), ("intense", 4.771)])
def test_herder_goes_on_from_mayo(uptake: str, weight: float) -> None:
    facts = {"ever-smoker": True, "extrathoracic-cancer": False, "fdg-uptake": uptake}
    found = models({"lesions": [lesion(diameter=20.0)], "facts": facts})
    mayo, herder = percent(found["mayo"]), percent(found["herder"])
    assert mayo is not None and herder is not None
    expected = 100 / (1 + math.exp(4.739 - 3.691 * float(mayo) / 100 - weight))
    assert float(herder) == pytest.approx(expected, abs=2e-5)


def test_brock_1b_needs_no_history() -> None:
    """The published coefficients, by an independent sum."""
    found = models({"lesions": [lesion(diameter=8.0, lobe="upper", words=["spiculated"])]})
    x = -6.6144 + 0.6467 - 5.5537 * ((8 / 10) ** -0.5 - 1.58113883) + 0.6009 + 0.9309
    assert set(found) == {"brock-1b"}
    assert float(percent(found["brock-1b"]) or 0) == pytest.approx(100 / (1 + math.exp(-x)), abs=1e-5)
    assert "size = 8.0" in found["brock-1b"]["note"][0]["text"]


@pytest.mark.parametrize(
    ("case", "model", "missing"),
    [
        ({"lesions": [lesion()], "facts": {"emphysema": True}}, "brock-2b", "family history of lung cancer"),
        ({"lesions": [lesion(density="unknown")], "facts": NO_RISKS}, "brock-2b", "density"),
        ({"lesions": [lesion(lobe="")], "facts": NO_RISKS}, "brock-2b", "lobe"),
        ({"lesions": [lesion(words=[])], "facts": NO_RISKS}, "brock-1b", "margin"),
        ({"lesions": [lesion()], "facts": NO_RISKS}, "mayo", "ever smoked, extrathoracic cancer"),
        ({"lesions": [lesion()], "facts": NO_RISKS, "patient": {"gender": "other"}}, "brock-1b", "sex"),
        ({"lesions": [lesion()], "facts": {"fdg-uptake": "faint"}}, "herder", "ever smoked, extrathoracic cancer"),
    ],
)
def test_a_model_that_lacks_an_input_is_withheld_and_says_which(case: dict[str, Any], model: str, missing: str) -> None:
    prediction = models(case)[model]["prediction"][0]
    assert "probabilityDecimal" not in prediction
    assert prediction["rationale"] == f"Withheld; missing: {missing}"


def before(date: str, **words: Any) -> list[dict[str, Any]]:
    return [{"date": date, "density": "solid", **words}]


def changed(case: dict[str, Any]) -> dict[str, Resource]:
    codes = ("volume-change", "volume-doubling-time")
    return {code_of(one): one for one in of(made(case), "Observation") if code_of(one) in codes}


def test_twice_the_volume_in_90_days_doubles_in_90_days() -> None:
    seen = "2026-01-31T10:00:00Z"
    case = {"seen": seen, "lesions": [{"volume": 200}], "before": before("2025-11-02T10:00:00Z", volume=100)}
    found = changed(case)
    assert found["volume-change"]["valueQuantity"]["value"] == 100
    assert found["volume-doubling-time"]["valueQuantity"]["value"] == 90
    shortest, longest = (one["valueQuantity"]["value"] for one in found["volume-doubling-time"]["component"])
    assert float(shortest) == pytest.approx(90 * math.log(2) / math.log(2.5), abs=0.05)
    assert float(longest) == pytest.approx(90 * math.log(2) / math.log(1.6), abs=0.05)
    assert len(found["volume-doubling-time"]["derivedFrom"]) == 2


@pytest.mark.parametrize("told", [{"volumeChange": 103.0, "doublingTime": 88.0}, {"volumeChange": -3.0}])
def test_what_a_comparison_of_both_studies_told_is_not_computed_again(told: dict[str, float]) -> None:
    earlier = before("2025-11-02T10:00:00Z", volume=100)
    assert changed({"lesions": [{"volume": 200, **told}], "before": earlier}) == {}


@pytest.mark.parametrize(("volume", "kinds"), [(124, {"volume-change"}), (60, {"volume-change"})])
def test_noise_and_shrinking_have_no_doubling_time(volume: int, kinds: set[str]) -> None:
    earlier = before("2025-11-02T10:00:00Z", volume=100)
    assert set(changed({"lesions": [{"volume": volume}], "before": earlier})) == kinds


def test_a_quarter_more_has_a_doubling_time_without_an_upper_end() -> None:
    found = changed({"lesions": [{"volume": 125}], "before": before("2025-11-02T10:00:00Z", volume=100)})
    components = found["volume-doubling-time"]["component"]
    assert [one["code"]["coding"][0]["code"] for one in components] == ["shortest"]
    assert "note" not in found["volume-change"]


def test_the_latest_of_several_earlier_volumes_counts() -> None:
    earlier = [*before("2025-01-31T10:00:00Z", volume=50), *before("2025-11-02T10:00:00Z", volume=100)]
    assert changed({"lesions": [{"volume": 200}], "before": earlier})["volume-change"]["valueQuantity"]["value"] == 100
    assert changed({"lesions": [{"volume": 200}]}) == {}


def _request(id: str, report: str, code: str = "low-dose-chest-ct", **more: Any) -> Resource:
    return {
        "resourceType": "ServiceRequest",
        "id": id,
        "status": "draft",
        "intent": "proposal",
        "subject": {"reference": "Patient/p"},
        "code": {"coding": [{"system": SYSTEM, "code": code}]},
        "supportingInfo": [{"reference": f"DiagnosticReport/{report}"}],
        **more,
    }


def _reported(name: str, started: str) -> list[Resource]:
    study = {"resourceType": "ImagingStudy", "id": f"study-{name}", "status": "available"}
    return [
        {**study, "subject": {"reference": "Patient/p"}, "started": started},
        {
            "resourceType": "DiagnosticReport",
            "id": f"report-{name}",
            "status": "final",
            "code": {"text": "CT"},
            "imagingStudy": [{"reference": f"ImagingStudy/study-{name}"}],
        },
    ]


def _told(request: str, status: str = "requested") -> Resource:
    coding = {"system": "https://hutong.example/fhir/CodeSystem/task-code", "code": "followup-overdue"}
    return {
        "resourceType": "Task",
        "id": f"told-{request}",
        "status": status,
        "intent": "proposal",
        "code": {"coding": [coding]},
        "focus": {"reference": f"ServiceRequest/{request}"},
    }


def test_a_new_study_completes_the_follow_ups_that_it_answers() -> None:
    period = {"occurrencePeriod": {"start": "2026-01-15", "end": "2026-07-15"}}
    future = {"occurrencePeriod": {"start": "2026-02-15", "end": "2026-08-15"}}
    others = [
        *_reported("old", "2025-07-01T10:00:00Z"),
        *_reported("newer", "2026-03-01T10:00:00Z"),
        _request("due", "report-old"),
        _request("active", "report-old", "diagnostic-work-up", status="active"),
        _request("later-begun", "report-old", "later-chest-ct", **period),
        _request("later", "report-old", "later-chest-ct", **future),
        _request("after", "report-newer"),
        _request("done", "report-old", status="revoked"),
        _request("other", "report-old", "something-else"),
        {**_request("foreign", "report-old"), "subject": {"reference": "Patient/q"}},
        *(_told(id) for id in ("due", "later", "done")),
        _told("active", status="rejected"),
    ]
    answers = made({"lesions": [{"diameter": 4.0}], "resources": others})
    assert {one["id"]: one["status"] for one in of(answers, "Task")} == {"told-due": "completed"}
    found = of(answers, "ServiceRequest")
    completed = {one["id"]: one for one in found if one["status"] == "completed"}
    assert set(completed) == {"due", "active", "later-begun"}
    assert completed["active"]["code"]["coding"][0]["code"] == "diagnostic-work-up"
    assert len(found) == len(completed) + 1


def test_nothing_is_asked_for_because_of_a_prior_that_was_fetched() -> None:
    case = {"lesions": [{"density": "solid", "diameter": 16.0}], "context": "lung-rads-2022"}
    asked = {"ServiceRequest", "CarePlan", "Flag", "Communication"}
    assert asked <= {one["resourceType"] for one in made(case)}
    prior = {
        "resourceType": "ImagingStudy",
        "id": "study-now",
        "status": "available",
        "started": "2026-01-31T10:00:00Z",
    }
    prior |= {"meta": {"tag": [{"system": "urn:hutong:study", "code": "prior"}]}}
    prior |= {"subject": {"reference": "Patient/p"}, "series": [{"uid": "1.2.1", "modality": {"code": "CT"}}]}
    found = made({**case, "resources": [prior]})
    assert asked & {one["resourceType"] for one in found} == set()
    # What it shows is known: the next study's table rows go by it.
    assert [code_of(one) for one in of(found, "Observation")] == ["nodule-category"]
