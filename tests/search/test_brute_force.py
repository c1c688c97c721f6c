"""Searches over real (synthetic) patients: the answers are worked out apart from the index, from the JSON itself."""

import tarfile
from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from server.fhir.definitions import load
from server.fhir.json_format import parse
from server.interactions.request import Request
from server.interactions.transaction import transaction
from server.repository import Repository
from server.search.find import Search
from server.search.url import parameters
from server.security.access import system
from server.store.database import Database

Json = dict[str, Any]
World = dict[str, list[Json]]
pytestmark = pytest.mark.data


@pytest.fixture
def repository(database: Database, shared: Path) -> Repository:
    definitions = load()
    filled = Repository(database, definitions, Search(definitions))
    with tarfile.open(shared / "synthea" / "synthea-r4.tar.xz") as archive:
        files = sorted((member for member in archive if member.name.endswith(".json")), key=lambda m: m.size)
        for member in files[:3]:
            bundle = parse(archive.extractfile(member).read())  # type: ignore[union-attr]
            transaction(filled, system(), Request(method="POST", resource=bundle, prefer_return="minimal"))
    with database.unit_of_work() as uow:
        # What autovacuum does within seconds after a load.
        uow.driver.execute("analyze")
    return filled


def codings(concept: Json | None) -> Iterator[tuple[str, str]]:
    for coding in (concept or {}).get("coding", ()):
        yield coding["system"], coding["code"]


def has_code(resource: Json, code: str, name: str = "code") -> bool:
    return any(code == found for _, found in codings(resource.get(name)))


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def quantity(resource: Json) -> Decimal | None:
    value = resource.get("valueQuantity", {}).get("value")
    return None if value is None else Decimal(str(value))


def by_id(world: World, reference: str) -> Json:
    kind, _, id = reference.partition("/")
    return next(one for one in world[kind] if one["id"] == id)


def names(patient: Json) -> list[str]:
    return [part.lower() for name in patient["name"] for part in [name["family"], *name["given"]]]


LOINC = "http://loinc.org"
UCUM = "http://unitsofmeasure.org"
DAY = "2012-01-01T00:00:00+00:00"
#: (type, query, which resources it should find): {first} is the first patient's id.
CASES: list[tuple[str, str, Callable[[Json, World], bool]]] = [
    ("Patient", "gender=female", lambda r, w: r["gender"] == "female"),
    ("Patient", "gender:not=female", lambda r, w: r["gender"] != "female"),
    ("Patient", "birthdate=lt1990", lambda r, w: r["birthDate"] < "1990"),
    ("Patient", "birthdate=ge1990-01-01", lambda r, w: r["birthDate"] >= "1990-01-01"),
    ("Patient", "name=a", lambda r, w: any(part.startswith("a") for part in names(r))),
    ("Patient", "family:contains=e", lambda r, w: any("e" in name["family"].lower() for name in r["name"])),
    ("Patient", "deceased=true", lambda r, w: "deceasedDateTime" in r),
    ("Patient", "deceased=false", lambda r, w: "deceasedDateTime" not in r),
    ("Patient", "address-state=MA,Massachusetts", lambda r, w: r["address"][0]["state"] in ("MA", "Massachusetts")),
    ("Patient", "telecom:missing=true", lambda r, w: "telecom" not in r),
    ("Patient", "_has:Condition:patient:clinical-status=active", lambda r, w: any(
        has_code(c, "active", "clinicalStatus") and c["subject"]["reference"] == f"Patient/{r['id']}"
        for c in w["Condition"])),
    ("Patient", "_has:Observation:patient:_has:DiagnosticReport:result:status=final", lambda r, w: any(
        by_id(w, result["reference"])["subject"]["reference"] == f"Patient/{r['id']}"
        for report in w["DiagnosticReport"] for result in report.get("result", ()))),
    ("Observation", f"code={LOINC}|8302-2", lambda r, w: (LOINC, "8302-2") in codings(r["code"])),
    ("Observation", "code=8302-2,29463-7", lambda r, w: has_code(r, "8302-2") or has_code(r, "29463-7")),
    ("Observation", "code:not=8302-2", lambda r, w: not has_code(r, "8302-2")),
    ("Observation", "code:text=body", lambda r, w: r["code"].get("text", "").lower().startswith("body")
     or any(c.get("display", "").lower().startswith("body") for c in r["code"]["coding"])),
    ("Observation", "category=vital-signs", lambda r, w: any(
        has_code({"code": category}, "vital-signs") for category in r["category"])),
    ("Observation", "subject={first}", lambda r, w: r["subject"]["reference"] == f"Patient/{w['Patient'][0]['id']}"),
    ("Observation", "patient=Patient/{first}&code=8302-2", lambda r, w: has_code(r, "8302-2")
     and r["subject"]["reference"] == f"Patient/{w['Patient'][0]['id']}"),
    ("Observation", "date=ge2012", lambda r, w: moment(r["effectiveDateTime"]) >= moment(DAY)),
    ("Observation", "date=lt2012", lambda r, w: moment(r["effectiveDateTime"]) < moment(DAY)),
    ("Observation", "date=sa2011&date=eb2013", lambda r, w: moment(DAY) <= moment(r["effectiveDateTime"])
     < moment(DAY.replace("2012", "2013"))),
    ("Observation", "value-quantity=gt100", lambda r, w: (quantity(r) or 0) > 100),
    # Picograms are kilograms too.
    ("Observation", f"value-quantity=le20|{UCUM}|kg", lambda r, w: "valueQuantity" in r
     and (r["valueQuantity"]["unit"] == "pg" or (r["valueQuantity"]["unit"] == "kg" and (quantity(r) or 0) <= 20))),
    ("Observation", f"value-quantity=gt50000|{UCUM}|g", lambda r, w: (quantity(r) or 0) > 50
     and r["valueQuantity"]["unit"] == "kg"),
    ("Observation", "code-value-quantity=8302-2$gt150", lambda r, w: has_code(r, "8302-2")
     and (quantity(r) or 0) > 150),
    ("Observation", "component-code-value-quantity=8480-6$gt120", lambda r, w: any(
        has_code(c, "8480-6") and (quantity(c) or 0) > 120 for c in r.get("component", ()))),
    ("Observation", "combo-value-quantity=lt10", lambda r, w: any(
        "valueQuantity" in c and (quantity(c) or 0) < 10 for c in [r, *r.get("component", ())])),
    ("Observation", "subject:Patient.gender=female", lambda r, w:
        by_id(w, r["subject"]["reference"])["gender"] == "female"),
    ("Observation", "encounter.class=AMB", lambda r, w: "encounter" in r
     and by_id(w, r["encounter"]["reference"])["class"]["code"] == "AMB"),
    ("Observation", "encounter.service-provider.name:missing=false", lambda r, w: "encounter" in r
     and "serviceProvider" in by_id(w, r["encounter"]["reference"])),
    ("Condition", "onset-date=2012", lambda r, w: r.get("onsetDateTime", "").startswith("2012")),
    ("Condition", "abatement-date:missing=false", lambda r, w: "abatementDateTime" in r),
    ("Encounter", "class=AMB", lambda r, w: r["class"]["code"] == "AMB"),
    ("Encounter", "date=ge2012", lambda r, w: moment(r["period"]["end"]) >= moment(DAY)),
    ("Encounter", "date=sa2012", lambda r, w: moment(r["period"]["start"]) >= moment(DAY.replace("2012", "2013"))),
    ("Claim", "created=gt2012", lambda r, w: moment(r["created"]) >= moment(DAY.replace("2012", "2013"))),
    ("MedicationRequest", "status=stopped", lambda r, w: r["status"] == "stopped"),
    ("DiagnosticReport", "result.code=2339-0", lambda r, w: any(
        has_code(by_id(w, result["reference"]), "2339-0") for result in r.get("result", ()))),
    ("Practitioner", "identifier=99999", lambda r, w: any(one["value"] == "99999" for one in r["identifier"])),
]  # fmt: skip


def test_answers_are_those_of_the_json(repository: Repository) -> None:
    world = {kind: everything(repository, kind) for kind in {*(case[0] for case in CASES), "Patient"}}
    first = world["Patient"][0]["id"]
    hits = 0
    for kind, query, expected in CASES:
        asked = [*parameters(query.replace("{first}", first)), ("_count", "1000")]
        found = {one.id for one in repository.search(system(), kind, asked).matches}
        wanted = {one["id"] for one in world[kind] if expected(one, world)}
        assert found == wanted, (kind, query, len(found), len(wanted))
        hits += bool(wanted)
    # The cases say something: most of them find something.
    assert hits > len(CASES) * 2 // 3


def everything(repository: Repository, kind: str) -> list[Json]:
    with repository.database.reading() as uow:
        rows = uow.driver.execute("select body from resource where type = %s order by key", (kind,))
        return [parse(bytes(row[0])) for row in rows]
