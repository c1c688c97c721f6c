"""Searches over synthetic patients and a few resources of our own, against a second reading of what they mean.

The patients are loaded as transactions by REST, and searched by REST. ``evaluator`` works the answers out by brute
force over the stored JSON. Three bundles make it quick; HUTONG_SYNTHEA_BUNDLES=62 takes all.
"""

import os
import re
import tarfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import psycopg
import pytest
import uvicorn
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.fhir.definitions import load
from server.fhir.json_format import parse, write
from server.fhir.validate import validate
from server.http.fhir import FhirServices, router
from server.repository import Repository
from server.search import find, lookup
from server.search.find import Search
from server.search.match import Candidate, holds
from server.search.numbers import number
from server.search.url import parameters
from server.security.access import system
from server.store.database import Database
from server.store.embedded import EmbeddedPostgres
from tests.search.evaluator import World, folded, span, tokens
from tests.search.test_fuzz import PARAMETERS

Json = dict[str, Any]
pytestmark = pytest.mark.data
BASE = "http://here/fhir"
LOINC, SCT, UCUM = "http://loinc.org", "http://snomed.info/sct", "http://unitsofmeasure.org"
STATUS = "http://hl7.org/fhir/observation-status"
ANIMALS = "http://example.org/animals"
#: code -> parents.
HIERARCHY = {"animal": (), "bird": ("animal",), "duck": ("bird",), "goose": ("bird",), "fish": ("animal",)}
SETS: dict[str, set[tuple[str, str]]] = {
    "http://example.org/birds": {(ANIMALS, "bird"), (ANIMALS, "duck"), (ANIMALS, "goose")},
    "http://example.org/heights": {(LOINC, "8302-2"), (LOINC, "29463-7"), (ANIMALS, "fish")},
    "http://hl7.org/fhir/ValueSet/administrative-gender": {
        ("http://hl7.org/fhir/administrative-gender", code) for code in ("male", "female", "other", "unknown")
    },
}


def own_resources() -> Iterator[Json]:
    """What Synthea has none of: hierarchies, positions, numbers, canonicals, profiles, value sets."""
    places = {"campus": ("", 42.36, -71.06), "wing": ("campus", 42.361, -71.06), "ward": ("wing", 42.5, -71.2),
              "annex": ("", -33.86, 151.2)}  # fmt: skip
    for id, (whole, latitude, longitude) in places.items():
        part = {"partOf": {"reference": f"Location/{whole}"}} if whole else {}
        yield {"resourceType": "Location", "id": id, "name": f"The {id}", "status": "active", **part,
               "position": {"latitude": latitude, "longitude": longitude}}  # fmt: skip
        yield {"resourceType": "Encounter", "id": f"at-{id}", "status": "planned", "class": {"code": "IMP"},
               "location": [{"location": {"reference": f"Location/{id}"}}],
               "period": {"start": "2030-05-01T10:00:00+02:00"}}  # fmt: skip
    for id, code in enumerate(HIERARCHY):
        yield {"resourceType": "Observation", "id": f"seen-{id}", "status": "preliminary",
               "code": {"coding": [{"system": ANIMALS, "code": code, "display": f"Ein großer {code}"}]},
               "valueString": f"50% of {code}s, a_b",
               "effectivePeriod": {"start": f"2024-0{id + 1}", "end": "2024-06-15"},
               "subject": {"identifier": {"system": "urn:tag", "value": code}},
               "meta": {"profile": [f"http://example.org/profiles/{code}"], "source": f"http://example.org/feed/{id}",
                        "security": [{"system": "urn:s", "code": "R"}],
                        "tag": [{"system": "urn:t", "code": code}]}}  # fmt: skip
    for id, probability in enumerate(("0.5", "0.50", "0.495", "0.05", "0.9")):
        yield {"resourceType": "RiskAssessment", "id": f"r{id}", "status": "final", "subject": {"reference": "Group/g"},
               "prediction": [{"probabilityDecimal": Decimal(probability)}]}  # fmt: skip
    for version in ("1", "1.2", "1.2.3", "2"):
        yield {"resourceType": "QuestionnaireResponse", "id": f"q{version}", "status": "completed",
               "questionnaire": f"http://example.org/q/a|{version}"}  # fmt: skip
        yield {"resourceType": "Questionnaire", "id": f"q{version}", "status": "draft", "version": version,
               "url": f"http://example.org/q/{'/'.join(version.split('.'))}", "title": f"Frage {version}"}  # fmt: skip
    yield {"resourceType": "Group", "id": "g", "type": "person", "actual": True}
    yield {"resourceType": "CodeSystem", "id": "animals", "url": ANIMALS, "status": "active", "content": "complete",
           "concept": [{"code": "animal", "concept": [
               {"code": "bird", "concept": [{"code": "duck"}]}, {"code": "fish"}]},
               {"code": "goose", "property": [{"code": "parent", "valueCode": "bird"}]}]}  # fmt: skip
    yield {"resourceType": "ValueSet", "id": "birds", "url": "http://example.org/birds", "status": "active",
           "compose": {"include": [{"system": ANIMALS, "filter": [
               {"property": "concept", "op": "is-a", "value": "bird"}]}]}}  # fmt: skip
    yield {"resourceType": "ValueSet", "id": "heights", "url": "http://example.org/heights", "status": "active",
           "compose": {"include": [
               {"system": LOINC, "concept": [{"code": "8302-2"}, {"code": "29463-7"}]}, {"system": ANIMALS}],
               "exclude": [{"valueSet": ["http://example.org/birds"]},
                           {"system": ANIMALS, "concept": [{"code": "animal"}]}]}}  # fmt: skip


def bundles(path: Path) -> Iterator[Json]:
    """The smallest bundle of each kind of patient; or as many as are asked for."""
    most, seen = int(os.environ.get("HUTONG_SYNTHEA_BUNDLES", "0")), set[object]()
    with tarfile.open(path) as archive:
        files = sorted((member for member in archive if member.name.endswith(".json")), key=lambda m: m.size)
        for member in files[:most] if most else files:
            bundle = parse(archive.extractfile(member).read())  # type: ignore[union-attr]
            patient = bundle["entry"][0]["resource"]
            traits = {patient["gender"], "deceasedDateTime" in patient}
            if most or traits - seen:
                seen |= traits
                yield bundle
            if not most and len(seen) == 4:
                return


@contextmanager
def served(repository: Repository) -> Iterator[httpx.Client]:
    """A client of the FHIR routes over loopback."""
    app = FastAPI()
    app.include_router(router(FhirServices(repository=repository, access=lambda _: system())))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    with httpx.Client(base_url=f"http://127.0.0.1:{port}/fhir", timeout=120) as client:
        yield client
    server.should_exit = True
    thread.join(timeout=10)


@pytest.fixture(scope="module")
def repository(cluster: EmbeddedPostgres, shared: Path, request: pytest.FixtureRequest) -> Iterator[Repository]:
    """Bundles of Synthea, a List of what the first patient has, and our own, in a database for all cases."""
    with psycopg.connect(cluster.url.replace("///hutong?", "///postgres?"), autocommit=True) as connection:
        connection.execute("create database synthea template hutong strategy file_copy")
    database = Database(cluster.url.replace("///hutong?", "///synthea?"))
    definitions = load()
    filled = Repository(database, definitions, Search(definitions, BASE), validate=validate)
    began, count = time.monotonic(), 0
    with served(filled) as client:
        for bundle in bundles(shared / "synthea" / "synthea-r4.tar.xz"):
            answer = client.post("", content=write(bundle), headers={"prefer": "return=minimal"})
            assert answer.status_code == 200, answer.text[:1000]
            count += len(bundle["entry"])
    seconds = time.monotonic() - began
    request.config.get_terminal_writer().line(
        f"\n{count} resources by REST in {seconds:.0f} s: {count / seconds:.0f}/s"
    )
    with filled.transaction(system()) as writing:
        for one in own_resources():
            writing.update(one)
    first = filled.search(system(), "Condition", [("_count", "5")]).matches
    listed = [{"item": {"reference": f"{one.type}/{one.id}"}} for one in first]
    found = {
        "resourceType": "List",
        "id": "l",
        "status": "current",
        "mode": "working",
        "title": "Mine",
        "entry": listed,
    }
    filled.update(system(), found)
    with database.unit_of_work() as uow:
        uow.driver.execute("analyze")
    yield filled
    database.close()


@pytest.fixture(scope="module")
def client(repository: Repository) -> Iterator[httpx.Client]:
    """A client of a server over that database; here it is asked what is right, and not how fast."""
    with pytest.MonkeyPatch.context() as patch, served(repository) as made:
        patch.setattr(find, "SLOWEST_MILLISECONDS", 60_000)
        yield made


@pytest.fixture(scope="module")
def world(repository: Repository) -> World:
    """The stored JSON, as it came out of the database."""
    with repository.database.reading() as uow:
        bodies = uow.driver.execute("select body from resource where not deleted").fetchall()
    return World((parse(bytes(row[0])) for row in bodies), {ANIMALS: HIERARCHY}, SETS, BASE)


#: {patient} is the id of a patient, {encounter} of an encounter, {mrn} a medical record number.
CASES = """
Patient gender=female
Patient gender=male,female
Patient gender=http://hl7.org/fhir/administrative-gender|male
Patient gender=http://hl7.org/fhir/other|male
Patient gender:not=female
Patient gender:not=male,female
Patient gender:missing=true
Patient gender:missing=false
Patient gender:in=http://hl7.org/fhir/ValueSet/administrative-gender
Patient gender:not-in=http://hl7.org/fhir/ValueSet/administrative-gender
Patient birthdate=lt1990
Patient birthdate=ge1990-01-01
Patient birthdate=ne1990
Patient birthdate=sa1960&birthdate=eb2010
Patient birthdate=gt1970-01,lt1950
Patient birthdate=ap1980
Patient name=a
Patient name:contains=A
Patient name:exact={family}
Patient name:exact={FAMILY}
Patient family={FAMILY}
Patient family:contains=i
Patient family:missing=false
Patient given=m,c
Patient given=m&family=k
Patient phonetic=v
Patient address=us
Patient address:contains=street
Patient address-city:contains=o
Patient address-state=MA,Massachusetts
Patient address-country=US
Patient address-postalcode:missing=true
Patient identifier={mrn}
Patient identifier=http://hospital.smarthealthit.org|{mrn}
Patient identifier=http://hospital.smarthealthit.org|
Patient identifier=|{mrn}
Patient identifier:of-type=http://terminology.hl7.org/CodeSystem/v2-0203|MR|{mrn}
Patient identifier:of-type=http://terminology.hl7.org/CodeSystem/v2-0203|SS|{mrn}
Patient identifier:text=medical
Patient telecom:missing=true
Patient telecom:missing=false
Patient language=en-US
Patient language=urn:ietf:bcp:47|en-US
Patient organization:missing=true
Patient death-date:missing=true
Patient _id={patient}
Patient _id={patient},x
Patient _id:not={patient}
Patient _tag=synthea-5-2019
Patient _tag=https://smarthealthit.org/tags|synthea-5-2019
Patient _tag:not=synthea-5-2019
Patient _lastUpdated=gt2020-01-01
Patient _lastUpdated=lt2020-01-01
Patient _lastUpdated=sa2020&_lastUpdated=eb2999
Patient _text=synthea
Patient _text=generated+seed
Patient _text=nowhere
Patient _content=massachusetts
Patient _content=medical+record
Patient _has:Condition:patient:clinical-status=active
Patient _has:Condition:patient:clinical-status:not=active
Patient _has:Condition:subject:onset-date=lt2015
Patient _has:Observation:patient:value-quantity=gt150|http://unitsofmeasure.org|cm
Patient _has:Observation:patient:code-value-quantity=8302-2$gt150
Patient _has:Observation:patient:encounter.class=AMB
Patient _has:Observation:patient:_has:DiagnosticReport:result:status=final
Patient _has:Encounter:patient:_has:Procedure:encounter:status=completed
Patient _has:Encounter:patient:service-provider.name:contains=hospital
Patient _has:MedicationRequest:subject:status=stopped
Patient _has:Immunization:patient:vaccine-code=140&gender=male
Observation code=http://loinc.org|8302-2
Observation code=8302-2,29463-7
Observation code=8302-2
Observation code=|8302-2
Observation code=http://loinc.org|
Observation code:not=8302-2
Observation code:not=8302-2,29463-7
Observation code:text=body
Observation code:text=Ein+GROSSER
Observation code:missing=true
Observation code:in=http://example.org/birds
Observation code:in=http://example.org/heights
Observation code:in=ValueSet/birds
Observation code:not-in=http://example.org/birds
Observation code:not-in=http://example.org/heights&status=preliminary
Observation code:below=http://example.org/animals|bird
Observation code:below=http://example.org/animals|animal
Observation code:below=http://example.org/animals|duck
Observation code:above=http://example.org/animals|duck
Observation code:above=http://example.org/animals|goose,http://example.org/animals|fish
Observation code:above=http://example.org/animals|animal
Observation status=final
Observation status=http://hl7.org/fhir/observation-status|preliminary
Observation status:not=final
Observation category=vital-signs
Observation category=laboratory,survey
Observation category:not=laboratory
Observation category:missing=true
Observation subject={patient}
Observation subject=Patient/{patient}
Observation subject=http://here/fhir/Patient/{patient}
Observation subject:Patient={patient}
Observation subject:Group={patient}
Observation subject:missing=true
Observation subject:identifier=urn:tag|duck
Observation subject:identifier=fish,bird
Observation patient={patient}&code=8302-2
Observation encounter={encounter}
Observation encounter=Encounter/{encounter},Encounter/none
Observation encounter:missing=true
Observation date=ge2012
Observation date=lt2012
Observation date=2012
Observation date=ne2012
Observation date=sa2011&date=eb2013
Observation date=gt2012-06-15
Observation date=le2012-06-15T12:00:00Z
Observation date={instant}
Observation date=ge{instant}
Observation date=gt{instant}
Observation date=ap2012
Observation date=ge2024-03&date=lt2024-07
Observation date=sa2024-02-01
Observation date=eb2024-06-16
Observation date=2024
Observation date=2024-06
Observation value-quantity=gt100
Observation value-quantity=lt10
Observation value-quantity=ge100&value-quantity=le200
Observation value-quantity=150
Observation value-quantity=1.5e2
Observation value-quantity=ne150
Observation value-quantity=ap150
Observation value-quantity=sa150
Observation value-quantity=eb5
Observation value-quantity=gt150|http://unitsofmeasure.org|cm
Observation value-quantity=gt1.5|http://unitsofmeasure.org|m
Observation value-quantity=gt1500|http://unitsofmeasure.org|mm
Observation value-quantity=le50|http://unitsofmeasure.org|kg
Observation value-quantity=gt50000|http://unitsofmeasure.org|g
Observation value-quantity=gt50||kg
Observation value-quantity=lt7||mg/dL
Observation value-quantity:missing=true
Observation value-concept=266919005
Observation value-concept=http://snomed.info/sct|266919005
Observation value-concept:text=never
Observation value-concept:missing=false
Observation value-string=50%25
Observation value-string:contains=a_b
Observation value-string:contains=%25
Observation value-string:exact=50%25+of+ducks\\,+a_b
Observation component-code=8480-6
Observation component-value-quantity=gt120
Observation component-value-quantity=lt80||mm[Hg]
Observation combo-code=8480-6,8302-2
Observation combo-value-quantity=lt10
Observation code-value-quantity=8302-2$gt150
Observation code-value-quantity=http://loinc.org|8302-2$gt1.5|http://unitsofmeasure.org|m
Observation code-value-quantity=8302-2$lt100,29463-7$gt60
Observation code-value-concept=72166-2$266919005
Observation code-value-quantity:missing=true
Observation component-code-value-quantity=8480-6$gt120
Observation component-code-value-quantity=8480-6$lt80
Observation component-code-value-quantity=8462-4$lt80
Observation combo-code-value-quantity=8480-6$gt120,8302-2$gt150
Observation subject:Patient.gender=female
Observation patient.gender=male
Observation patient.birthdate=lt1980
Observation patient.name:contains=a&category=vital-signs
Observation patient.identifier={mrn}
Observation patient.gender:missing=true
Observation encounter.class=AMB
Observation encounter.date=ge2015
Observation encounter.service-provider.name:contains=hospital
Observation encounter.participant:Practitioner.identifier:missing=false
Observation encounter.subject:Patient.birthdate=gt1950
Observation subject:Patient._has:Condition:subject:clinical-status=active
Observation _has:DiagnosticReport:result:code=51990-0
Observation _has:DiagnosticReport:result:_tag:missing=false
Observation _profile=http://example.org/profiles/duck
Observation _profile:below=http://example.org/profiles
Observation _profile:missing=true
Observation _source=http://example.org/feed/1
Observation _source:below=http://example.org
Observation _source:above=http://example.org/feed/1/2
Observation _security=R
Observation _security=urn:s|R
Observation _security:missing=true
Observation _tag=urn:t|duck
Observation _tag:missing=true
Observation _content=ducks
Observation _content=tobacco+smoking
Condition onset-date=2012
Condition onset-date=gt2010-06&onset-date=lt2018
Condition abatement-date:missing=false
Condition abatement-date:missing=true&clinical-status=active
Condition code=http://snomed.info/sct|
Condition code:text=acute
Condition verification-status=confirmed
Condition _list=l
Condition _list=l&clinical-status=resolved
Condition encounter.date=lt2015
Condition subject.gender=female
Encounter class=AMB
Encounter class=http://terminology.hl7.org/CodeSystem/v3-ActCode|AMB
Encounter date=ge2012
Encounter date=sa2012
Encounter date=eb2012
Encounter date=gt2029
Encounter date=lt2030-05-01T08:00:00Z
Encounter date=2030
Encounter status=planned,finished
Encounter type:text=encounter
Encounter location=ward
Encounter location:below=wing
Encounter location:below=Location/campus
Encounter location:above=ward
Encounter location:above=Location/annex
Encounter location.name=the+w
Encounter location.near=42.36|-71.06|1|km
Encounter location.partof.name=the+campus
Encounter service-provider.address-city:missing=false
Encounter _has:Observation:encounter:code=8302-2
Encounter reason-code:missing=true
Location near=42.36|-71.06|1|km
Location near=42.36|-71.06|500|m
Location near=42.36|-71.06
Location near=-33.86|151.2|5
Location partof:missing=true
Location partof:below=campus
Location partof=campus,wing
Location name:contains=W
Location _has:Encounter:location:status=planned
RiskAssessment probability=0.5
RiskAssessment probability=0.50
RiskAssessment probability=gt0.4
RiskAssessment probability=ne0.5
RiskAssessment probability=ap0.5
RiskAssessment probability=lt0.1,ge0.9
RiskAssessment probability=5e-1
RiskAssessment subject=Group/g
Questionnaire url=http://example.org/q/1
Questionnaire url:below=http://example.org/q/1
Questionnaire url:above=http://example.org/q/1/2/3
Questionnaire url:missing=true
Questionnaire version=1.2
Questionnaire title=frage
QuestionnaireResponse questionnaire=http://example.org/q/a
QuestionnaireResponse questionnaire=http://example.org/q/a|1.2
ValueSet reference=http://example.org/animals
CodeSystem code=animal
Claim created=gt2012
Claim provider.name:contains=a
Claim patient.gender=male&use=claim
Claim encounter.class=AMB
ExplanationOfBenefit created=ge2015
ExplanationOfBenefit claim.created=ge2015
ExplanationOfBenefit identifier:missing=false
Immunization vaccine-code=140
Immunization date=ge2015&date=lt2018
Immunization patient.birthdate=lt1980
DiagnosticReport result.code=2339-0
DiagnosticReport result.value-quantity=gt100
DiagnosticReport result.code-value-quantity=2339-0$gt70
DiagnosticReport issued=ge2015
DiagnosticReport subject:Patient.name=a
Procedure date=ge2015
Procedure date=lt2015-06-01
Procedure reason-reference:missing=true
Procedure reason-reference:Condition.clinical-status=active
MedicationRequest status=stopped
MedicationRequest code:text=acet
MedicationRequest requester.identifier:missing=false
CarePlan category:missing=false
CarePlan condition.code:missing=false
Organization name:contains=hospital
Organization address-city:contains=a
Practitioner identifier=99999
Practitioner name:missing=false
 _type=Patient,Practitioner&name:contains=a
 _type=Observation,Condition,Procedure&encounter.class=AMB
 _type=Observation,DiagnosticReport&code:text=b
 _tag=synthea-5-2019
 _tag:not=synthea-5-2019
 _lastUpdated=gt2020&_type=Patient,Location
 _id=campus,l,g
 _profile:below=http://example.org/profiles
 _security=R
 _list=l
 _content=hospital
"""
ROWS = [tuple(line.split(" ", 1)) for line in CASES.strip("\n").splitlines()]
MORE = [("_count", "1000")]
#: Resources that each search is asked of in memory.
MOST_IN_MEMORY = 5000


def filled_in(query: str, world: World) -> str:
    patients = sorted(one["id"] for (kind, _), one in world.all.items() if kind == "Patient")
    patient = world.all["Patient", patients[0]]
    numbers = [one["value"] for one in patient["identifier"] if "MR" in str(one.get("type"))]
    observation = next(
        one
        for _, one in sorted(world.all.items())
        if one["resourceType"] == "Observation" and "effectiveDateTime" in one
    )
    known = {
        "{patient}": patients[0], "{mrn}": numbers[0], "{family}": patient["name"][0]["family"],
        "{FAMILY}": patient["name"][0]["family"].upper(),
        "{instant}": observation["effectiveDateTime"].replace("+", "%2B"),
        "{encounter}": observation["encounter"]["reference"].partition("/")[2],
    }  # fmt: skip
    return re.sub(r"\{\w+\}", lambda found: known[found.group()], query)


@dataclass
class Page:
    """What came back: (type, id) of matches and of what is included."""

    matches: list[tuple[str, str]]
    included: list[tuple[str, str]]


def pages(client: httpx.Client, kind: str, query: str) -> Iterator[Page]:
    url = f"/{kind}?{urlencode([*parameters(query), *MORE])}"
    while url:
        answer = client.get(url)
        assert answer.status_code == 200, (kind, query, answer.text[:1000])
        bundle = parse(answer.content)
        found: dict[str, list[tuple[str, str]]] = {"match": [], "include": []}
        for entry in bundle.get("entry", ()):
            found[entry["search"]["mode"]].append((entry["resource"]["resourceType"], entry["resource"]["id"]))
        yield Page(matches=found["match"], included=found["include"])
        url = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), "")


def everything(client: httpx.Client, kind: str, query: str) -> list[tuple[str, str]]:
    return [one for page in pages(client, kind, query) for one in page.matches]


@pytest.mark.parametrize(("kind", "template"), ROWS, ids=lambda text: text[:60])
def test_answers_are_those_of_brute_force(client: httpx.Client, world: World, kind: str, template: str) -> None:
    query = filled_in(template, world)
    keys = everything(client, kind, query)
    assert len(keys) == len(set(keys))
    expected = world.find(kind, query.replace("ValueSet/birds", "http://example.org/birds"))
    assert set(keys) == expected, (kind, query, len(keys), len(expected))


def test_the_cases_say_something(world: World) -> None:
    """Most find something, and not everything; every modifier, prefix and way of chaining is among them."""
    telling = 0
    for kind, template in ROWS:
        expected = world.find(kind, filled_in(template, world).replace("ValueSet/birds", "http://example.org/birds"))
        telling += 0 < len(expected) < sum(not kind or key[0] == kind for key in world.all)
    assert len(ROWS) >= 200 and telling > len(ROWS) * 0.6, (telling, len(ROWS))
    modifiers = "exact contains missing not text above below in not-in identifier of-type Patient"
    for modifier in modifiers.split():
        assert f":{modifier}=" in CASES
    for prefix in ("ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"):
        assert f"={prefix}" in CASES


INCLUDES = """
Observation code=8302-2&_include=Observation:subject
Observation code=8302-2&_include=Observation:patient:Patient&_include=Observation:encounter
Observation code=8302-2&_include=Observation:subject:Group
Observation code=8302-2&_include=Observation:*
Observation code=8302-2&_include=*
Observation code=8302-2&_include=Observation:encounter&_include:iterate=Encounter:service-provider
Observation code=8302-2&_include=Observation:encounter&_include=Encounter:service-provider
Observation code=8302-2&_revinclude=DiagnosticReport:result
Patient gender=male&_revinclude=Condition:subject
Patient gender=male&_revinclude=Condition:patient&_include:iterate=Condition:encounter
Patient gender=female&_revinclude=*:*
Encounter class=AMB&_revinclude=Procedure:encounter&_include=Encounter:participant:Practitioner
Location _id=ward&_include:iterate=Location:partof
Location _id=ward&_include=Location:partof
Location _id=campus&_revinclude:iterate=Location:partof&_revinclude:iterate=Encounter:location
DiagnosticReport status=final&_include=DiagnosticReport:result
Procedure status=completed&_include=Procedure:reason-reference:Condition
Claim use=claim&_include=Claim:patient&_include=Claim:provider
List _id=l&_include=List:item&_include:iterate=Condition:subject
MedicationRequest status=stopped&_include=MedicationRequest:requester&_revinclude=Claim:patient
 _type=Location,List&_include=List:item&_include=Location:partof
"""


@pytest.mark.parametrize(
    ("kind", "query"), [tuple(line.split(" ", 1)) for line in INCLUDES.strip("\n").splitlines()], ids=str
)
def test_includes_are_those_of_brute_force(client: httpx.Client, world: World, kind: str, query: str) -> None:
    results = list(pages(client, kind, query))
    matches = {one for result in results for one in result.matches}
    assert matches == world.find(kind, query) and matches
    included = [result.included for result in results]
    assert all(len(found) == len(set(found)) for found in included)
    # What one page includes may be a match of another.
    found = {key for page in included for key in page} - matches
    if "*" in query:
        # By hand only the parameters of the cases are written down; of all there are more.
        expected = world.included(matches, query)
        assert expected <= found
    else:
        assert found == world.included(matches, query)


#: A filter, and the queries that it joins: & binds tighter than |, ! is not.
FILTERS = [
    ("Patient", 'gender eq female and name co "a"', "gender=female & name:contains=a"),
    ("Patient", "gender eq male or birthdate lt 1970", "gender=male | birthdate=lt1970"),
    ("Patient", "not (gender eq male)", "! gender=male"),
    ("Patient", "death-date pr false", "death-date:missing=true"),
    ("Observation", "code eq loinc|8302-2 and value-quantity gt 150",
     "code=http://loinc.org|8302-2 & value-quantity=gt150"),
    ("Observation", "code eq 8302-2 or code eq 29463-7 and date ge 2012", "code=8302-2,29463-7 & date=ge2012"),
    ("Observation", "code eq 8302-2 or (code eq 29463-7 and date ge 2012)", "code=8302-2 | code=29463-7 & date=ge2012"),
    ("Observation", 'subject:Patient.name co "a"', "subject:Patient.name:contains=a"),
    ("Observation", "patient[gender eq male].birthdate lt 1990", "patient.gender=male & patient.birthdate=lt1990"),
    ("Observation", "subject re Patient/{patient}", "subject=Patient/{patient}"),
    ("Observation", "code in http://example.org/birds", "code:in=http://example.org/birds"),
    ("Observation", "code ni http://example.org/birds", "code:not-in=http://example.org/birds"),
    ("Observation", "code ss http://example.org/animals|bird", "code:below=http://example.org/animals|bird"),
    ("Observation", "code sb http://example.org/animals|duck", "code:above=http://example.org/animals|duck"),
    ("Observation", "date po 2024-02", "date:missing=false & ! date=sa2024-02 & ! date=eb2024-02"),
    ("Observation", "code-value-quantity eq 8302-2$gt150", "code-value-quantity=8302-2$gt150"),
    ("Observation", "_tag eq duck or _profile eq http://example.org/profiles/fish",
     "_tag=duck | _profile=http://example.org/profiles/fish"),
    ("Encounter", "date sa 2015 and not (class eq IMP)", "date=sa2015 & ! class=IMP"),
    ("RiskAssessment", "probability ge 0.5 and probability lt 0.9", "probability=ge0.5&probability=lt0.9"),
    ("Questionnaire", "url ne http://example.org/q/1", "! url=http://example.org/q/1"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "text", "meaning"), FILTERS, ids=lambda text: text[:50])
def test_filters_are_what_they_join(client: httpx.Client, world: World, kind: str, text: str, meaning: str) -> None:
    expected: set[tuple[str, str]] = set()
    for alternative in filled_in(meaning, world).split(" | "):
        parts = [part.strip() for part in alternative.split(" & ")]
        sets = [
            world.find(kind, "") - world.find(kind, part[2:]) if part.startswith("! ") else world.find(kind, part)
            for part in parts
        ]
        expected |= set.intersection(*sets)
    found = everything(client, kind, urlencode({"_filter": filled_in(text, world)}))
    assert set(found) == expected


SORTS = [
    ("Patient", "birthdate"), ("Patient", "-birthdate,family"), ("Patient", "given,-_id"),
    ("Observation", "-date,code"),
    ("Observation", "value-quantity"), ("Observation", "-value-quantity,_id"), ("Observation", "status,subject,-date"),
    ("Condition", "abatement-date,_id"), ("Encounter", "class,-_id"), ("Location", "name"),
    ("RiskAssessment", "-probability"),
    ("Questionnaire", "-url"), ("", "_id"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "sort"), SORTS)
def test_order_is_that_of_the_values(client: httpx.Client, world: World, kind: str, sort: str) -> None:
    found = everything(client, kind, f"_sort={sort}")
    assert set(found) == world.find(kind, "")
    before: list[Any] | None = None
    for type, id in found:
        own = [ordinal(world, type, id, key) for key in sort.split(",")]
        assert before is None or before <= own, (sort, before, own)
        before = own


def ordinal(world: World, kind: str, id: str, key: str) -> tuple[bool, Any]:
    """What a resource is sorted by: the absent last, the first value upwards, the last one downwards."""
    code = key.removeprefix("-")
    one = world.all[kind, id]
    values = [value for each in world.found(one, code) for value in plain(world.place(kind, code)[0], each)]
    if not values:
        return True, 0
    return (False, Reversed(max(values))) if key.startswith("-") else (False, min(values))


class Reversed:
    """Sorts the other way round."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reversed) and other.value == self.value

    def __hash__(self) -> int:
        return hash(self.value)

    def __lt__(self, other: "Reversed") -> bool:
        return bool(other.value < self.value)

    def __le__(self, other: "Reversed") -> bool:
        return bool(other.value <= self.value)


def plain(form: str, value: Any) -> list[Any]:
    """The values that one element is sorted by."""
    if form == "date":
        return list(span(value))
    if form == "token":
        return [code for _, code, _ in tokens(value) if code]
    if form == "reference":
        return [value["reference"]] if "reference" in value else []
    if form == "quantity":
        return [value["value"]]
    return [folded(value) if form == "string" else value]


def test_summaries_totals_and_elements(repository: Repository, world: World) -> None:
    women = world.find("Patient", "gender=female")
    for query in ("gender=female&_summary=count", "gender=female&_count=0"):
        result = repository.search(system(), "Patient", parameters(query))
        assert result.total == len(women) and not result.matches
    result = repository.search(system(), "Observation", [("_total", "accurate"), ("_count", "3")])
    assert result.total == len(world.find("Observation", "")) and len(result.matches) == 3
    assert repository.search(system(), "Observation", [("_count", "1000000000")]).query.count == 1000


def test_memory_agrees_with_sql(repository: Repository, world: World) -> None:
    """What subscriptions ask in memory finds the same as SQL."""
    engine = repository.search_engine

    def resolve(target: str) -> Json | None:
        return world.all.get(tuple(target.split("/")))  # type: ignore[arg-type]

    back: dict[tuple[str, str, str], list[Json]] = {}

    def referring(kind: str, code: str, target: str) -> list[Json]:
        if (kind, code, "") not in back:
            back[kind, code, ""] = []
            for (own, _), one in world.all.items():
                for row in engine.indexer.rows(one) if own == kind else ():
                    if row.kind == "reference" and row.parameter == number(kind, code):
                        back.setdefault((kind, code, row.values[0]), []).append(one)
        return back.get((kind, code, target), [])

    with repository.database.reading() as uow:
        known = engine.terminology(uow, 1)
        candidates = {
            key: Candidate(resource=one, indexer=engine.indexer, resolve=resolve, referring=referring)
            # Of all patients' resources every so many are asked.
            for key, one in list(world.all.items())[:: len(world.all) // MOST_IN_MEMORY + 1]
        }
        for kind, template in ROWS:
            query = engine.read(kind, parameters(filled_in(template, world)), terminology=known)
            found = {key for key, candidate in candidates.items() if holds(query, candidate)}
            expected = filled_in(template, world).replace("ValueSet/birds", "http://example.org/birds")
            assert found == world.find(kind, expected) & set(candidates), (kind, query)


def test_memory_looks_up_in_the_database_what_is_stored(repository: Repository, world: World) -> None:
    engine = repository.search_engine
    with repository.database.reading() as uow:
        resolve, referring = lookup.stored(uow, 1)
        for kind, template in ROWS:
            if "_has:" not in template and "_list=" not in template and "." not in template.partition("=")[0]:
                continue
            expected = world.find(kind, filled_in(template, world))
            for key, one in list(world.all.items())[:: len(world.all) // 40]:
                if key[0] == kind:
                    asked = parameters(filled_in(template, world))
                    held = engine.matches(one, kind, asked, resolve=resolve, referring=referring)
                    assert held == (key in expected), (kind, template, key)


def test_any_search_over_the_patients_is_answered_or_refused(
    client: httpx.Client, repository: Repository, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never a server's error, never longer than a search may take; HUTONG_FUZZ says how many."""
    calls = int(os.environ.get("HUTONG_FUZZ", "10000" if os.environ.get("CI") == "true" else "300"))
    monkeypatch.setattr(find, "SLOWEST_MILLISECONDS", 2_000)
    seen: Counter[int] = Counter()
    seconds = []

    @settings(max_examples=calls, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(
        st.sampled_from(["Observation", "Patient", "Encounter", "DiagnosticReport", "Location", "Claim", ""]),
        st.lists(PARAMETERS, min_size=1, max_size=3),
        st.booleans(),
    )
    def search(kind: str, asked: list[tuple[str, str]], lenient: bool) -> None:
        began = time.monotonic()
        answer = client.post(
            f"/{kind}/_search" if kind else "/_search",
            content=urlencode(asked, errors="replace"),
            headers={
                "content-type": "application/x-www-form-urlencoded",
                "prefer": f"handling={'lenient' if lenient else 'strict'}",
            },
        )
        seconds.append(time.monotonic() - began)
        seen[answer.status_code] += 1
        assert answer.status_code in (200, 400, 404, 410, 413), (kind, asked, answer.text[:1000])

    search()
    with repository.database.reading() as uow:
        pids = [row[0] for row in uow.driver.execute("select pid from pg_stat_activity where datname is not null")]
    most = max(int(found[1]) for pid in pids if (found := re.search(r"VmHWM:\s+(\d+)", status(pid)))) // 1024
    told = f"{seen.total()} searches: {dict(sorted(seen.items()))}; slowest {max(seconds):.2f} s; backend {most} MiB"
    request.config.get_terminal_writer().line(f"\n{told}")
    assert seen.total() >= calls * 0.9


def status(pid: int) -> str:
    """What Linux tells of a process, which may have ended."""
    path = Path(f"/proc/{pid}/status")
    return path.read_text(encoding="utf-8") if path.exists() else ""
