"""The modality worklist from FHIR orders: what is listed, what matches, what it says."""

from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydicom import Dataset
from pydicom.datadict import tag_for_keyword
from pydicom.sequence import Sequence

from server.dimse.service import Response
from server.dimse.worklist import MODEL, WorklistFinding
from server.fhir import validate
from server.fhir.definitions import load
from server.imaging.worklist import Worklist
from server.imaging.worklist_mapping import rows
from server.repository import Repository
from server.search.find import Search
from server.security.access import system
from server.store.database import Database
from tests.dimse.association import Association, answers, keys, read, request

_TYPE = "http://terminology.hl7.org/CodeSystem/v2-0203"
_DCM = "http://dicom.nema.org/resources/ontology/DCM"
_SCT = "http://snomed.info/sct"
Find = Callable[..., list[Dataset]]


def typed(code: str, value: str) -> dict[str, Any]:
    return {"type": {"coding": [{"system": _TYPE, "code": code}]}, "value": value}


PATIENT = {
    "resourceType": "Patient",
    "id": "p1",
    "identifier": [{**typed("MR", "P-0001"), "system": "urn:oid:1.2.3.4"}],
    "name": [
        {"family": "Wang", "given": ["XiaoDong"]},
        {
            "family": "王",
            "given": ["小东"],
            "extension": [
                {"url": "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation", "valueCode": "IDE"}
            ],
        },
    ],
    "gender": "female",
    "birthDate": "1970-01-02",
}


def order(id: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "ServiceRequest",
        "id": id,
        "status": "active",
        "intent": "order",
        "category": [{"coding": [{"system": _SCT, "code": "363679005"}]}],
        "code": {"coding": [{"system": _SCT, "code": "169069000", "display": "CT of chest"}], "text": "CT chest"},
        "subject": {"reference": "Patient/p1"},
        "identifier": [typed("ACSN", f"A-{id}"), typed("PLAC", f"PL-{id}"), typed("FILL", f"F-{id}")],
        "orderDetail": [{"coding": [{"system": _DCM, "code": "CT"}]}],
        "occurrenceDateTime": "2026-11-23T23:30:00Z",
        "priority": "stat",
        "requester": {"display": "Li^Wei"},
        "performer": [{"type": "Device", "identifier": {"value": "CT1"}}],
    } | more


STATION = {"resourceType": "Device", "id": "mr", "deviceName": [{"type": "other", "name": "MR1"}]}
STEP = {
    "resourceType": "Task",
    "id": "a-step-with-a-rather-long-id",
    "status": "requested",
    "intent": "order",
    "basedOn": [{"reference": "ServiceRequest/o2"}],
    "owner": {"reference": "Device/mr"},
    "code": {"text": "MR head"},
    "input": [
        {
            "type": {"coding": [{"system": _DCM, "code": "121139"}]},
            "valueCodeableConcept": {"coding": [{"system": _DCM, "code": "MR"}]},
        }
    ],
    "restriction": {"period": {"start": "2026-11-25T09:00:00+08:00"}},
}


@pytest.fixture
def find(database: Database) -> Find:
    definitions = load()
    repository = Repository(database, definitions, Search(definitions), validate=validate.validate)
    with repository.transaction(system()) as tx:
        for resource in (
            PATIENT,
            STATION,
            order("o1"),
            order("o2", identifier=[typed("ACSN", "A-2"), {"system": "urn:dicom:uid", "value": "urn:oid:1.2.840.99"}]),
            STEP,
            {**STEP, "id": "done", "status": "completed"},
            order("o3", status="completed"),
            order("o4", intent="proposal"),
            order("o5", category=[{"coding": [{"system": _SCT, "code": "108252007"}]}]),
        ):
            tx.update(resource)
    worklist = Worklist(repository=repository, zone=ZoneInfo("Asia/Shanghai"))
    service = WorklistFinding(find=worklist.find)

    def run(identifier: Dataset) -> list[Dataset]:
        found: list[Response] = answers(service.serve, Association(), request(MODEL, identifier))
        assert [response.status for response in found] == [0xFF00] * (len(found) - 1) + [0]
        return [read(response) for response in found[:-1]]

    return run


def asked(**step: Any) -> Dataset:
    """What a modality asks; ``step`` are keys of the scheduled procedure step."""
    wanted = ("Modality", "ScheduledStationAETitle", "ScheduledProcedureStepStartDate", "ScheduledProcedureStepID")
    item = keys(**dict.fromkeys((*wanted, "ScheduledProcedureStepStartTime", "ScheduledProtocolCodeSequence"), None))
    for keyword, value in step.items():
        setattr(item, keyword, value)
    return keys(
        AccessionNumber=None,
        PatientName=None,
        PatientID=None,
        PatientSex=None,
        PatientBirthDate=None,
        StudyInstanceUID=None,
        RequestedProcedureID=None,
        RequestedProcedurePriority=None,
        ReferringPhysicianName=None,
        RequestedProcedureCodeSequence=None,
        PatientWeight=None,
        ScheduledProcedureStepSequence=Sequence([item]),
    )


def test_an_order_is_listed_with_all_that_it_says(find: Find) -> None:
    (entry,) = find(asked(Modality="CT"))
    assert (entry.AccessionNumber, entry.PatientID, entry.PatientSex) == ("A-o1", "P-0001", "F")
    assert str(entry.PatientName) == "Wang^XiaoDong=王^小东" and entry.SpecificCharacterSet == "ISO_IR 192"
    assert (entry.PatientBirthDate, entry.RequestedProcedureID) == ("19700102", "F-o1")
    assert (entry.RequestedProcedurePriority, entry.ReferringPhysicianName) == ("STAT", "Li^Wei")
    assert entry.RequestedProcedureCodeSequence[0].CodeValue == "169069000"
    assert entry.RequestedProcedureCodeSequence[0].CodingSchemeDesignator == "SCT"
    assert entry.StudyInstanceUID.startswith("2.25.") and entry["PatientWeight"].is_empty
    step = entry.ScheduledProcedureStepSequence[0]
    # Half past eleven at night in Greenwich is the next morning in Shanghai.
    assert (step.ScheduledProcedureStepStartDate, step.ScheduledProcedureStepStartTime) == ("20261124", "073000")
    assert (step.Modality, step.ScheduledStationAETitle) == ("CT", "CT1")


def test_a_task_is_a_step_of_its_own(find: Find) -> None:
    (entry,) = find(asked(Modality="MR"))
    step = entry.ScheduledProcedureStepSequence[0]
    assert (step.ScheduledStationAETitle, step.ScheduledProcedureStepStartTime) == ("MR1", "090000")
    assert entry.StudyInstanceUID == "1.2.840.99" and len(step.ScheduledProcedureStepID) == 12


@pytest.mark.parametrize(
    ("step", "accessions"),
    [
        ({}, {"A-o1", "A-2"}),
        ({"ScheduledStationAETitle": "CT1"}, {"A-o1"}),
        ({"ScheduledStationAETitle": "CT9"}, set()),
        ({"ScheduledProcedureStepStartDate": "20261124"}, {"A-o1"}),
        ({"ScheduledProcedureStepStartDate": "20261120-20261130"}, {"A-o1", "A-2"}),
        ({"ScheduledProcedureStepStartDate": "20261125-", "ScheduledProcedureStepStartTime": "0800-1000"}, {"A-2"}),
        ({"Modality": "CT", "ScheduledStationAETitle": "MR1"}, set()),
    ],
)
def test_steps_are_matched_by_station_time_and_modality(find: Find, step: dict[str, str], accessions: set[str]) -> None:
    assert {entry.AccessionNumber for entry in find(asked(**step))} == accessions


@pytest.mark.parametrize(
    ("key", "value", "count"),
    [
        ("PatientName", "WANG*", 2),
        ("PatientName", "王*", 2),
        ("PatientName", "Zhang*", 0),
        ("PatientID", "P-0001", 2),
        ("AccessionNumber", "A-o1", 1),
        ("AccessionNumber", "A-*", 2),
        ("StudyInstanceUID", "1.2.840.99", 1),
        ("RequestedProcedureID", "F-o1", 1),
    ],
)
def test_orders_are_matched_by_patient_and_number(find: Find, key: str, value: str, count: int) -> None:
    identifier = asked()
    if key == "PatientName":
        identifier.SpecificCharacterSet = "GB18030"
    setattr(identifier, key, value)
    found = find(identifier)
    assert len(found) == count
    if key == "PatientName" and count:
        assert found[0].SpecificCharacterSet == "GB18030" and str(found[0].PatientName) == "Wang^XiaoDong=王^小东"


def test_an_empty_sequence_asks_for_the_whole_step(find: Find) -> None:
    entries = find(keys(ScheduledProcedureStepSequence=Sequence([]), AccessionNumber="A-o1"))
    assert entries[0].ScheduledProcedureStepSequence[0].ScheduledProcedureStepStatus == "SCHEDULED"


def test_pages_of_orders_are_all_read(find: Find, database: Database) -> None:
    definitions = load()
    repository = Repository(database, definitions, Search(definitions))
    with repository.transaction(system()) as tx:
        for number in range(450):
            tx.update(order(f"n{number}"))
    assert len(find(asked(Modality="CT"))) == 451


def test_every_row_of_the_mapping_names_an_attribute_once() -> None:
    names = [(row.inside, row.tag) for row in rows()]
    assert len(names) == len(set(names)) > 30
    steps = f"{tag_for_keyword('ScheduledProcedureStepSequence'):08X}"
    assert {row.inside for row in rows()} == {"", steps}
