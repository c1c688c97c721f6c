"""Thirty searches over 1x and 10x the data: how long they take, and by how much that grows.

Those of a clinical client: by identifier, by patient, by code and date, chained, with includes, sorted. Each answers at
most a page. Their values come from the data, drawn anew for each request.
"""

import json
import random
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from benchmarks.fhir import importing
from benchmarks.fhir.clients import milliseconds
from benchmarks.fhir.importing import Figures, Given
from benchmarks.fhir.wire import Failed, Wire

#: Requests of each search.
_ROUNDS = 20
_SAMPLES = 40
_LOINC = "http://loinc.org|"
SEARCHES = (
    "Patient?identifier={identifier}",
    "Patient?_id={patient}",
    "Patient?family={family}&_count=20",
    "Patient?name:contains={family}&gender=female&_count=20",
    "Patient?birthdate=ge1960-01-01&birthdate=lt1961-01-01&_count=20",
    "Patient?family:exact={family}&_revinclude=Condition:subject&_count=5",
    "Patient?address-city={city}&_sort=family&_count=20",
    "Patient?_has:Condition:subject:code=44054006&_count=10",
    "Encounter?patient={patient}&_count=20",
    "Encounter?patient={patient}&date=ge2015-01-01&_sort=-date&_count=20",
    "Encounter?patient={patient}&class=AMB&_include=Encounter:service-provider&_count=20",
    "Encounter?_id={encounter}&_include=Encounter:participant&_revinclude=Observation:encounter",
    "Observation?patient={patient}&category=vital-signs&_count=50",
    "Observation?patient={patient}&code={loinc}8302-2&_sort=-date&_count=10",
    "Observation?patient={patient}&date=ge2016-01-01&_count=50",
    "Observation?encounter={encounter}&_count=50",
    "Observation?subject=Patient/{patient}&code={loinc}8302-2,{loinc}29463-7&_count=50",
    "Observation?patient={patient}&code-value-quantity={loinc}8302-2$gt100&_count=20",
    "Observation?code={loinc}2339-0&value-quantity=gt200&_count=10",
    "Observation?subject:Patient.identifier={identifier}&code={loinc}39156-5&_count=20",
    "Observation?code={loinc}8480-6,{loinc}85354-9&date=ge2018&_count=10",
    "Condition?patient={patient}&clinical-status=active&_count=50",
    "Condition?code=http://snomed.info/sct|44054006&_include=Condition:subject&_count=20",
    "Condition?patient.family={family}&_count=20",
    "MedicationRequest?patient={patient}&status=active&_count=20",
    "Procedure?patient={patient}&date=ge2010&_count=20",
    "Immunization?patient={patient}&_sort=-date&_count=20",
    "DiagnosticReport?patient={patient}&_include=DiagnosticReport:result&_count=5",
    "Claim?patient={patient}&_count=10",
    "AllergyIntolerance?patient={patient}",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sample:
    """One patient of the data, with what is searched for."""

    values: dict[str, str]


def run(given: Given, *, times: int = 10) -> Figures:
    """The figures at 1x and at ``times`` the data, which are sent first."""
    wire = Wire(given.base, given.token)
    figures: Figures = {}
    importing.run(given)
    small = _measured(wire)
    importing.run(importing.more(given, times - 1))
    large = _measured(wire)
    for name, found in (("1x", small), (f"{times}x", large)):
        every = [one for seconds in found.values() for one in seconds]
        figures[f"search {name} p50 ms"] = milliseconds(every, 50)
        figures[f"search {name} p99 ms"] = milliseconds(every, 99)
    figures["search p50 growth"] = figures[f"search {times}x p50 ms"] / figures["search 1x p50 ms"]
    for search in SEARCHES:
        first, second = (milliseconds(found[search], 50) for found in (small, large))
        figures[f"{search} 1x"], figures[f"{search} {times}x"] = first, second
    wire.close()
    return figures


def _measured(wire: Wire) -> dict[str, list[float]]:
    # A server may have ended a connection that rested for long.
    wire.close()
    chance = random.Random(1)
    samples = _samples(wire)
    for search in SEARCHES:
        _ask(wire, search, samples[0])
    found: dict[str, list[float]] = {search: [] for search in SEARCHES}
    for _ in range(_ROUNDS):
        for search in SEARCHES:
            found[search].append(_ask(wire, search, chance.choice(samples)))
    return found


def _ask(wire: Wire, search: str, sample: _Sample) -> float:
    path = search.format(loinc=_LOINC, **sample.values)
    began = time.perf_counter()
    wire.expect((200,), "GET", f"/{quote(path, safe='?=&:/,$%')}")
    return time.perf_counter() - began


def _samples(wire: Wire) -> list[_Sample]:
    patients = _resources(wire, f"/Patient?_count={_SAMPLES}")
    if not patients:
        raise Failed("There is no Patient.")
    return [_sample(wire, patient) for patient in patients]


def _sample(wire: Wire, patient: dict[str, Any]) -> _Sample:
    encounter = _resources(wire, f"/Encounter?patient={patient['id']}&_count=1")[0]
    identifier = patient["identifier"][0]
    return _Sample(
        values={
            "patient": patient["id"],
            "encounter": encounter["id"],
            "identifier": f"{identifier['system']}|{identifier['value']}",
            "family": patient["name"][0]["family"],
            "city": patient["address"][0]["city"],
        }
    )


def _resources(wire: Wire, path: str) -> list[dict[str, Any]]:
    bundle = json.loads(wire.expect((200,), "GET", path).body)
    return [entry["resource"] for entry in bundle.get("entry", [])]
