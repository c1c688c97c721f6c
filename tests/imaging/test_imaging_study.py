"""Instances summed up as ImagingStudy and Patient, and the sweeper that says when."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from fhir.resources.R4B.imagingstudy import ImagingStudy
from fhir.resources.R4B.patient import Patient

from server.errors import Gone, NotFound
from server.fhir import validate
from server.fhir.definitions import load
from server.imaging.imaging_study import ImagingStudies, study_id
from server.imaging.ingest import Ingest, Received
from server.imaging.remove import Remover
from server.imaging.sweep import STUDY_CHANGED, sweep
from server.repository import Repository
from server.search.find import Search
from server.security.access import Access
from server.store.database import Database

Make = Callable[..., bytes]


@pytest.fixture
def repository(database: Database) -> Repository:
    definitions = load()
    return Repository(database, definitions, Search(definitions), validate=validate.validate)


def send(ingest: Ingest, access: Access, *files: bytes) -> None:
    outcome = ingest.receive(access, [Received(chunks=[file]) for file in files])
    assert not outcome.refused


def jobs(database: Database) -> list[dict[str, Any]]:
    with database.unit_of_work() as uow:
        rows = uow.driver.execute(
            "select args from procrastinate_jobs where task_name = %s order by id", (STUDY_CHANGED,)
        )
        return [row[0] for row in rows]


def test_study_and_patient_say_what_the_headers_say(
    ingest: Ingest, access: Access, repository: Repository, make_instance: Make
) -> None:
    seg = {"SOPInstanceUID": "1.2.3.2.1", "SeriesInstanceUID": "1.2.3.2", "Modality": "SEG", "SeriesNumber": 2}
    send(ingest, access, make_instance(2, TimezoneOffsetFromUTC="+0800"), make_instance(1), make_instance(**seg))
    written = ImagingStudies(repository, wado_url="http://h/dicomweb").update(access, "1.2.3")
    assert written.created
    study = written.resource
    ImagingStudy.model_validate(study)
    assert study["id"] == study_id(1, "1.2.3")
    assert study["identifier"][0] == {"system": "urn:dicom:uid", "value": "urn:oid:1.2.3"}
    assert study["started"] == "2024-01-31T02:15:00Z"
    assert [(s["uid"], s["modality"]["code"], s["numberOfInstances"]) for s in study["series"]] == [
        ("1.2.3.1", "CT", 2),
        ("1.2.3.2", "SEG", 1),
    ]
    assert study["series"][0]["bodySite"]["code"] == "816094009"
    assert [i["uid"] for i in study["series"][0]["instance"]] == ["1.2.3.1.1", "1.2.3.1.2"]
    assert study["contained"][0]["address"] == "http://h/dicomweb"
    patient = repository.read(access, "Patient", study["subject"]["reference"].split("/")[1])
    Patient.model_validate(patient)
    assert patient["name"] == [{"family": "Hu", "given": ["Tong"]}]
    assert (patient["gender"], patient["birthDate"], patient["identifier"][0]["value"]) == (
        "female",
        "1970-01-02",
        "P1",
    )


def test_a_chinese_name_is_kept_in_each_writing(
    ingest: Ingest, access: Access, repository: Repository, make_instance: Make
) -> None:
    name = "Hu^Tong=胡^通"
    send(ingest, access, make_instance(SpecificCharacterSet="GB18030", PatientName=name, IssuerOfPatientID="1.2.156"))
    study = ImagingStudies(repository).update(access, "1.2.3").resource
    patient = repository.read(access, "Patient", study["subject"]["reference"].split("/")[1])
    assert [(n["family"], n["extension"][0]["valueCode"]) for n in patient["name"]] == [("Hu", "ABC"), ("胡", "IDE")]
    assert patient["identifier"][0]["system"] == "urn:oid:1.2.156"


def test_the_same_again_is_no_new_version_and_a_late_instance_is(
    ingest: Ingest, access: Access, repository: Repository, make_instance: Make
) -> None:
    studies = ImagingStudies(repository)
    send(ingest, access, make_instance(1))
    assert studies.update(access, "1.2.3").resource["meta"]["versionId"] == "1"
    assert not studies.update(access, "1.2.3").changed
    send(ingest, access, make_instance(2))
    assert studies.update(access, "1.2.3").resource["meta"]["versionId"] == "2"


def test_a_header_with_next_to_nothing_copes(
    ingest: Ingest, access: Access, repository: Repository, make_instance: Make
) -> None:
    names = (
        "PatientName PatientBirthDate PatientSex StudyTime StudyDate Modality BodyPartExamined SeriesNumber PatientID"
    )
    send(ingest, access, make_instance(**dict.fromkeys(names.split())))
    study = ImagingStudies(repository).update(access, "1.2.3").resource
    ImagingStudy.model_validate(study)
    assert "started" not in study and study["series"][0]["modality"]["code"] == "OT"


def test_a_date_without_a_time_is_a_date(
    ingest: Ingest, access: Access, repository: Repository, make_instance: Make
) -> None:
    send(ingest, access, make_instance(StudyTime=None))
    assert ImagingStudies(repository).update(access, "1.2.3").resource["started"] == "2024-01-31"


def test_a_patient_that_somebody_keeps_is_left_alone(
    ingest: Ingest, access: Access, repository: Repository, make_instance: Make
) -> None:
    send(ingest, access, make_instance(1))
    patient = ImagingStudies(repository).update(access, "1.2.3").resource["subject"]["reference"].split("/")[1]
    repository.update(access, repository.read(access, "Patient", patient) | {"active": True})
    send(ingest, access, make_instance(2))
    ImagingStudies(repository).update(access, "1.2.3")
    assert repository.read(access, "Patient", patient)["active"] is True


def test_an_unknown_study_is_said_to_be_none(repository: Repository, access: Access) -> None:
    with pytest.raises(NotFound):
        ImagingStudies(repository).update(access, "9.9")


def test_a_quiet_study_causes_one_job_and_a_busy_one_none(
    ingest: Ingest, access: Access, database: Database, make_instance: Make
) -> None:
    send(ingest, access, make_instance(1))
    assert sweep(database, 60.0) == 0
    time.sleep(0.01)
    assert sweep(database, 0.0) == 1
    assert sweep(database, 0.0) == 0
    assert jobs(database) == [{"tenant": 1, "study": "1.2.3"}]
    send(ingest, access, make_instance(1))
    assert sweep(database, 0.0) == 0
    send(ingest, access, make_instance(2))
    time.sleep(0.01)
    assert sweep(database, 0.0) == 1
    assert len(jobs(database)) == 2


def test_with_the_last_instance_the_imaging_study_goes_and_comes_back_with_the_next(
    ingest: Ingest, access: Access, repository: Repository, database: Database, make_instance: Make
) -> None:
    studies = ImagingStudies(repository)
    send(ingest, access, make_instance())
    studies.update(access, "1.2.3")
    studies.withdraw(access, "1.2.3")
    resource = study_id(access.tenant, "1.2.3")
    assert repository.read(access, "ImagingStudy", resource)
    Remover(database).remove(access, "1.2.3")
    studies.withdraw(access, "1.2.3")
    with pytest.raises(Gone):
        repository.read(access, "ImagingStudy", resource)
    send(ingest, access, make_instance())
    assert studies.update(access, "1.2.3").resource["numberOfInstances"] == 1
    assert repository.read(access, "ImagingStudy", resource)
