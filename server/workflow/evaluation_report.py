"""An evaluation as a MeasureReport: https://hl7.org/fhir/R4/measurereport.html.

The Measure that it reports on is data (fhir_profiles/imaging/Measure-detection-evaluation.json), and says what each
figure is. The report holds figures and counts, no reference to a patient, a study or a report.
"""

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from importlib import resources
from typing import Any

from ai_adapters.evaluation.figures import Estimate, Evaluation, Figures
from ai_adapters.evaluation.froc import RATES
from server.fhir.instants import text

Resource = dict[str, Any]
_POPULATION = "http://terminology.hl7.org/CodeSystem/measure-population"


@dataclass(frozen=True, kw_only=True)
class Data:
    """What the figures were taken from, and when."""

    #: Dates of the studies, DA; empty where none is known.
    dates: Sequence[str]
    moment: datetime


@dataclass(frozen=True, kw_only=True)
class System:
    """Who is evaluated, as its results name it."""

    title: str
    version: str
    creator: str
    device_uid: str


def measure_report(evaluation: Evaluation, system: System, data: Data) -> Resource:
    """The MeasureReport of one system."""
    return {
        "resourceType": "MeasureReport",
        "contained": [_device(system)],
        "status": "complete",
        "type": "summary",
        "measure": _measure()["url"],
        "subject": {"reference": "#system", "display": f"{system.title} {system.version}".strip()},
        "date": text(data.moment),
        "period": _period(data),
        "group": [group for item in _measure()["group"] if (group := _group(item, evaluation)) is not None],
    }


@lru_cache(maxsize=1)
def _measure() -> Resource:
    file = resources.files("fhir_profiles").joinpath("imaging/Measure-detection-evaluation.json")
    measure: Resource = json.loads(file.read_text(encoding="utf-8"))
    return measure


def _device(system: System) -> Resource:
    device: Resource = {"resourceType": "Device", "id": "system"}
    if system.device_uid:
        device["identifier"] = [{"system": "urn:ietf:rfc:3986", "value": f"urn:oid:{system.device_uid}"}]
    if system.creator:
        device["manufacturer"] = system.creator
    device["deviceName"] = [{"name": system.title, "type": "model-name"}]
    if system.version:
        device["version"] = [{"value": system.version}]
    return device


def _period(data: Data) -> Resource:
    """From the first study's date to the last one's; the moment of the evaluation where no study has one."""
    days = sorted(f"{day[:4]}-{day[4:6]}-{day[6:8]}" for day in data.dates if len(day) == 8 and day.isdecimal())
    if not days:
        return {"start": text(data.moment), "end": text(data.moment)}
    return {"start": days[0], "end": days[-1]}


def _group(item: Resource, evaluation: Evaluation) -> Resource | None:
    """The report's group for one of the Measure's; None where there is nothing to tell."""
    code = item["code"]["coding"][0]["code"]
    if code in _WHOLES:
        return _whole(item, getattr(evaluation.as_wholes, _WHOLES[code]), evaluation)
    if not evaluation.finds_places:
        return None
    if code == "false-positives-a-scan":
        scans = _population("initial-population", len(evaluation.scans))
        return {"code": item["code"], "population": [scans], **_score(evaluation.false_positives.value, "1")}
    if code == "froc":
        return _curve(item, evaluation.total)
    figure, unit = _FIGURES[code]
    if (value := figure(evaluation.total)) is None:
        return None
    strata = {"size": evaluation.sizes, "density": evaluation.densities}
    told = [
        {"code": [each["code"]], "stratum": _strata(strata[each["code"]["coding"][0]["code"]], figure, unit)}
        for each in item["stratifier"]
    ]
    stratifiers = [each for each in told if each["stratum"]]
    group = {"code": item["code"], "population": _counts(evaluation.total), **_score(value, unit)}
    return {**group, "stratifier": stratifiers} if stratifiers else group


def _whole(item: Resource, estimate: Estimate, evaluation: Evaluation) -> Resource | None:
    """A figure of scans as wholes; None where all of them are of one kind."""
    value = _of(estimate, "value")
    if value is None:
        return None
    scans = _population("initial-population", len(evaluation.scans))
    return {"code": item["code"], "population": [scans], **_score(value, "1")}


def _strata(parts: Iterable[Figures], figure: "_Figure", unit: str) -> list[Resource]:
    return [
        {"value": {"text": part.stratum.name}, "population": _counts(part), **_score(value, unit)}
        for part in parts
        if (value := figure(part)) is not None
    ]


def _curve(item: Resource, figures: Figures) -> Resource | None:
    if figures.froc is None:
        return None
    points = [
        {"value": {"text": f"{rate:g}"}, **_score(value, "1")}
        for rate, value in zip(RATES, figures.froc, strict=True)
    ]  # fmt: skip
    return {"code": item["code"], "stratifier": [{"code": [item["stratifier"][0]["code"]], "stratum": points}]}


def _counts(figures: Figures) -> list[Resource]:
    return [_population("denominator", figures.lesions), _population("numerator", figures.found)]


def _population(code: str, count: int) -> Resource:
    return {"code": {"coding": [{"system": _POPULATION, "code": code}]}, "count": count}


def _score(value: float, unit: str) -> Resource:
    quantity = {"value": round(value, 4), "system": "http://unitsofmeasure.org", "code": unit}
    return {"measureScore": quantity if unit == "1" else {**quantity, "unit": unit}}


_Figure = Callable[[Figures], float | None]


def _of(estimate: Estimate | None, end: str) -> float | None:
    value = None if estimate is None else float(getattr(estimate, end))
    return None if value is None or math.isnan(value) else value


#: By the Measure's code: figures of scans as wholes.
_WHOLES = {"scan-roc-area": "area", "scan-sensitivity": "sensitivity", "scan-specificity": "specificity"}
#: By the Measure's code: where the figure is, and its unit (UCUM).
_FIGURES: dict[str, tuple[_Figure, str]] = {
    "sensitivity": (lambda figures: _of(figures.sensitivity, "value"), "1"),
    "sensitivity-low": (lambda figures: _of(figures.sensitivity, "low"), "1"),
    "sensitivity-high": (lambda figures: _of(figures.sensitivity, "high"), "1"),
    "cpm": (lambda figures: _of(figures.cpm, "value"), "1"),
    "cpm-low": (lambda figures: _of(figures.cpm, "low"), "1"),
    "cpm-high": (lambda figures: _of(figures.cpm, "high"), "1"),
    "volume-error": (lambda figures: figures.volume_error, "1"),
    "diameter-error": (lambda figures: figures.diameter_error_mm, "mm"),
    "dice": (lambda figures: figures.dice, "1"),
}
