"""Performed procedure steps: the state rules of PS3.4 annex F, and what they do to orders in FHIR."""

from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from fhir.resources.R4B.procedure import Procedure
from pydicom import Dataset

from server.dimse.mpps import MPPS, MPPS_RETRIEVE, Performing
from server.dimse.service import Response
from server.errors import NotFound
from server.fhir import validate
from server.fhir.definitions import load
from server.imaging.ingest import Ingest, Received
from server.imaging.performed_step import PerformedSteps
from server.imaging.procedure import procedure_id
from server.imaging.sweep import sweep
from server.imaging.worklist import Worklist
from server.repository import Repository
from server.search.find import Search
from server.security.access import system
from server.settings import Settings
from server.store.database import Database
from tests.dimse.association import Association, answers, keys, read, request
from tests.dimse.test_worklist import PATIENT, STATION, STEP, order, typed

Make = Callable[..., bytes]
N_CREATE, N_SET, N_GET = 0x0140, 0x0120, 0x0110
UID = "1.2.826.0.1.99"


class Steps:
    """The service over a repository."""

    def __init__(self, database: Database) -> None:
        definitions = load()
        self.repository = Repository(database, definitions, Search(definitions), validate=validate.validate)
        zone = ZoneInfo("Asia/Shanghai")
        worklist = Worklist(repository=self.repository, zone=zone)
        self.service = Performing(steps=PerformedSteps(repository=self.repository, worklist=worklist, zone=zone))
        self.worklist = worklist

    def put(self, *resources: dict[str, Any]) -> None:
        with self.repository.transaction(system()) as tx:
            for resource in resources:
                tx.update(resource)

    def ask(self, field: int, dataset: Dataset | None, uid: str = UID, model: str = MPPS, **more: Any) -> Response:
        name = "AffectedSOPInstanceUID" if field == N_CREATE else "RequestedSOPInstanceUID"
        command = {"CommandField": field, name: uid} | more
        (answer,) = answers(self.service.serve, Association(), request(model, dataset, **command))
        return answer

    def get(self, kind: str, id: str) -> dict[str, Any]:
        return self.repository.read(system(), kind, id)

    def procedure(self) -> dict[str, Any]:
        return self.get("Procedure", procedure_id(1, UID))


@pytest.fixture
def steps(database: Database) -> Steps:
    return Steps(database)


def begun(study: str = "1.2.3", **scheduled: Any) -> Dataset:
    """What a modality sends when it begins."""
    item = keys(StudyInstanceUID=study, AccessionNumber="", RequestedProcedureID="", ScheduledProcedureStepID="")
    for keyword, value in scheduled.items():
        setattr(item, keyword, value)
    return keys(
        ScheduledStepAttributesSequence=[item],
        PatientName="Hu^Tong",
        PatientID="P1",
        PatientBirthDate="",
        PatientSex="",
        PerformedProcedureStepID="PPS1",
        PerformedStationAETitle="CT1",
        PerformedProcedureStepStartDate="20261124",
        PerformedProcedureStepStartTime="080000",
        PerformedProcedureStepStatus="IN PROGRESS",
        PerformedProcedureStepDescription="CT chest",
        Modality="CT",
        PerformedSeriesSequence=[],
    )


def ended(status: str = "COMPLETED", *made: str) -> Dataset:
    """What it sends at the end."""
    images = [keys(ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.2", ReferencedSOPInstanceUID=uid) for uid in made]
    series = keys(SeriesInstanceUID="1.2.3.1", ReferencedImageSequence=images)
    return keys(
        PerformedProcedureStepStatus=status,
        PerformedProcedureStepEndDate="20261124",
        PerformedProcedureStepEndTime="081500",
        PerformedSeriesSequence=[series],
    )


def test_an_unscheduled_step_is_a_procedure_of_its_patient(steps: Steps) -> None:
    answer = steps.ask(N_CREATE, begun())
    assert answer.status == 0 and answer.command["AffectedSOPInstanceUID"] == UID
    found = steps.procedure()
    Procedure.model_validate(found)
    assert (found["status"], found["code"]["text"]) == ("in-progress", "CT chest")
    assert found["performedPeriod"] == {"start": "2026-11-24T00:00:00Z"} and "basedOn" not in found
    assert found["performer"][0]["actor"]["identifier"]["value"] == "CT1"
    subject = steps.get(*found["subject"]["reference"].split("/"))
    assert subject["identifier"][0]["value"] == "P1"
    assert steps.ask(N_SET, ended()).status == 0
    assert steps.procedure()["performedPeriod"]["end"] == "2026-11-24T00:15:00Z"
    assert steps.procedure()["status"] == "completed"


def test_a_step_may_be_created_once_and_set_until_it_ends(steps: Steps) -> None:
    assert steps.ask(N_SET, ended()).status == 0x0112
    assert steps.ask(N_CREATE, begun()).status == 0
    assert steps.ask(N_CREATE, begun()).status == 0x0111
    assert steps.ask(N_SET, keys(PerformedProcedureStepDescription="CT chest low dose")).status == 0
    assert steps.ask(N_SET, ended("DISCONTINUED")).status == 0
    late = steps.ask(N_SET, ended("COMPLETED"))
    assert late.status == 0x0110 and late.command["ErrorID"] == 0xA710
    assert steps.procedure()["status"] == "stopped"


def test_who_names_no_instance_is_given_one(steps: Steps) -> None:
    answer = steps.ask(N_CREATE, begun(), uid="")
    assert answer.status == 0 and answer.command["AffectedSOPInstanceUID"].startswith("2.25.")


@pytest.mark.parametrize(
    ("change", "status", "tag"),
    [
        ({"PerformedProcedureStepID": None}, 0x0120, 0x00400253),
        ({"PerformedStationAETitle": ""}, 0x0121, 0x00400241),
        ({"ScheduledStepAttributesSequence": []}, 0x0121, 0x00400270),
        ({"PerformedProcedureStepStatus": "COMPLETED"}, 0x0106, None),
    ],
)
def test_a_beginning_that_lacks_something_is_refused(
    steps: Steps, change: dict[str, Any], status: int, tag: int | None
) -> None:
    dataset = begun()
    for keyword, value in change.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    answer = steps.ask(N_CREATE, dataset)
    assert answer.status == status and answer.command.get("AttributeIdentifierList") == ([tag] if tag else None)
    with pytest.raises(NotFound):
        steps.procedure()


def test_an_end_needs_its_time_and_changes_no_patient(steps: Steps) -> None:
    steps.ask(N_CREATE, begun())
    early = ended()
    del early.PerformedProcedureStepEndTime
    assert steps.ask(N_SET, early).status == 0x0120
    assert steps.ask(N_SET, keys(PatientID="P2")).status == 0x0106
    assert steps.ask(N_SET, keys(PatientID="P1")).status == 0
    assert steps.ask(N_SET, keys(PerformedProcedureStepStatus="SCHEDULED")).status == 0x0106
    assert steps.procedure()["status"] == "in-progress"


def test_an_order_without_tasks_is_completed_with_its_step(steps: Steps) -> None:
    steps.put(
        PATIENT, order("o1", identifier=[typed("ACSN", "A1"), {"system": "urn:dicom:uid", "value": "urn:oid:1.2.3"}])
    )
    steps.ask(N_CREATE, begun(AccessionNumber="A1"))
    assert steps.procedure()["basedOn"] == [{"reference": "ServiceRequest/o1"}]
    assert steps.procedure()["subject"] == {"reference": "Patient/p1"}
    assert steps.get("ServiceRequest", "o1")["status"] == "active"
    steps.ask(N_SET, ended())
    assert steps.get("ServiceRequest", "o1")["status"] == "completed"
    assert list(steps.worklist.find(system(), {"00080050": {"vr": "SH"}})) == []


def test_a_task_goes_with_its_step_and_the_order_with_its_last_task(steps: Steps) -> None:
    uid = {"system": "urn:dicom:uid", "value": "urn:oid:1.2.840.99"}
    first = {**STEP, "id": "t1", "identifier": [{"value": "SPS1"}]}
    second = {**STEP, "id": "t2", "identifier": [{"value": "SPS2"}]}
    steps.put(PATIENT, STATION, order("o2", identifier=[typed("ACSN", "A-2"), uid]), first, second)
    scheduled = {"AccessionNumber": "A-2", "ScheduledProcedureStepID": "SPS1"}
    assert steps.ask(N_CREATE, begun("1.2.840.99", **scheduled)).status == 0
    assert [steps.get("Task", id)["status"] for id in ("t1", "t2")] == ["in-progress", "requested"]
    steps.ask(N_SET, ended())
    assert steps.get("Task", "t1")["status"] == "completed"
    assert steps.get("ServiceRequest", "o2")["status"] == "active"
    scheduled["ScheduledProcedureStepID"] = "SPS2"
    steps.ask(N_CREATE, begun("1.2.840.99", **scheduled), uid="1.2.98")
    steps.ask(N_SET, ended("DISCONTINUED"), uid="1.2.98")
    assert steps.get("Task", "t2")["status"] == "failed"
    assert steps.get("ServiceRequest", "o2")["status"] == "active"


def test_a_step_can_be_read_back(steps: Steps) -> None:
    steps.ask(N_CREATE, begun())
    everything = steps.ask(N_GET, None, model=MPPS_RETRIEVE)
    assert read(everything).PerformedProcedureStepID == "PPS1"
    some = read(steps.ask(N_GET, None, model=MPPS_RETRIEVE, AttributeIdentifierList=[0x00400252, 0x00080060]))
    assert [element.keyword for element in some] == ["Modality", "PerformedProcedureStepStatus"]
    assert steps.ask(N_GET, None, uid="1.2.9", model=MPPS_RETRIEVE).status == 0x0112


def test_a_completed_step_whose_images_are_here_closes_the_study(
    steps: Steps, settings: Settings, database: Database, make_instance: Make
) -> None:
    from datetime import UTC

    from server.imaging.guard import GuardLimits
    from server.store.packs import Packs

    ingest = Ingest(database, Packs(settings.blobs), GuardLimits(), UTC)
    steps.ask(N_CREATE, begun())
    ingest.receive(system(), [Received(chunks=[make_instance(n)]) for n in (1, 2)])
    assert sweep(database, 3600) == 0
    steps.ask(N_SET, ended("COMPLETED", "1.2.3.1.1", "1.2.3.1.2"))
    assert sweep(database, 3600) == 1
    ingest.receive(system(), [Received(chunks=[make_instance(3)])])
    steps.ask(N_CREATE, begun(), uid="1.2.98")
    steps.ask(N_SET, ended("COMPLETED", "1.2.3.1.3", "1.2.3.1.4"), uid="1.2.98")
    assert sweep(database, 3600) == 0
