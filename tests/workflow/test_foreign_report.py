"""A third party's structured report becomes FHIR by the same code as our own, and wakes no adapter."""

from collections import Counter
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydicom import Dataset

from dicom_sr.findings import Algorithm, Findings
from dicom_sr.write_sr import write_sr
from server.fhir import instants
from tests.ai_adapters.series import STUDY
from tests.dicom_sr.test_chest_cad import FOUND, nodule, report
from tests.workflow.conftest import ACCESS, House, ct, part10


def somebody_elses(images: list[Dataset]) -> Dataset:
    """A report on the CT by another vendor's product, which found nothing."""
    findings = Findings(
        key="their-run-1", study_instance_uid=STUDY, frame_of_reference_uid="", sources=(), findings=(),
        timestamp=instants.now(),
        algorithm=Algorithm(name="Other CAD", version="7", manufacturer="Other", device_uid="2.25.777"),
    )  # fmt: skip
    return write_sr(findings, images, uid_root="1.2.3.4")


def test_a_report_is_read_once_and_wakes_no_adapter(house: House) -> None:
    images = ct(slices=slice(0, 3))
    report = somebody_elses(images)
    house.receive([report])
    jobs = Counter(house.settle())
    assert jobs["sr-received"] == 1
    assert jobs["run-task"] == 0
    (found,) = house.search("DiagnosticReport")
    assert found["identifier"][0]["value"] == f"urn:oid:{report.SOPInstanceUID}"
    assert found["meta"]["tag"][0]["code"] == "Other CAD"
    assert found["meta"]["security"][0]["code"] == "AIAST"
    assert house.search("Task") == []
    house.receive(images)
    jobs = Counter(house.settle())
    assert jobs["sr-received"] == 0
    assert len(house.search("DiagnosticReport")) == 1


def test_our_own_report_sent_back_to_us_is_known(house: House) -> None:
    house.receive(ct())
    house.settle()
    (place,) = [one for one in house.retrieve.locate(ACCESS) if one.sop_class.startswith("1.2.840.10008.5.1.4.1.1.88")]
    ours = pydicom.dcmread(BytesIO(house.retrieve.file(ACCESS, place)))
    again = house.receive([ours])
    assert len(again.already) == 1
    assert house.settle() == []


def test_a_document_without_measurements_is_left_alone(house: House) -> None:
    report = somebody_elses(ct(slices=slice(0, 1)))
    report.SOPInstanceUID = report.file_meta.MediaStorageSOPInstanceUID = "2.25.4242"
    report.ContentTemplateSequence[0].TemplateIdentifier = "10011"
    report.ConceptNameCodeSequence[0].CodeValue = "113701"
    report.ContentSequence = [item for item in report.ContentSequence if item.ValueType != "CONTAINER"]
    house.receive([report])
    assert Counter(house.settle())["sr-received"] == 1
    assert house.search("DiagnosticReport") == []
    house.receive(ct(slices=slice(0, 1)))
    assert Counter(house.settle())["sr-received"] == 0


@pytest.mark.data
@pytest.mark.parametrize("name", ["dcmqi_sr.dcm", "highdicom_sr_multiple_groups.dcm"])
def test_reports_of_other_writers(house: House, shared: Path, name: str) -> None:
    dataset = pydicom.dcmread(shared / "sr" / name)
    assert house.receive([dataset]).refused == []
    house.settle()
    (report,) = house.search("DiagnosticReport")
    groups = house.search("Observation", code="125007")
    assert len(groups) == len(report["result"]) > 0
    assert house.search("Task") == []
    assert part10(dataset)


def test_a_chest_cad_report_goes_the_same_way(house: House) -> None:
    images = ct(slices=slice(0, 2))
    cad = report(FOUND, nodule(1), images=[str(image.SOPInstanceUID) for image in images])
    cad.StudyInstanceUID = STUDY
    cad.PatientID, cad.PatientName = images[0].PatientID, images[0].PatientName
    if "IssuerOfPatientID" in images[0]:
        cad.IssuerOfPatientID = images[0].IssuerOfPatientID
    cad.Modality = "SR"
    cad.file_meta = pydicom.dataset.FileMetaDataset()
    cad.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    house.receive([*images, cad])
    jobs = Counter(house.settle())
    assert jobs["sr-received"] == 1
    found = house.search("DiagnosticReport")
    assert "1 finding by Lung Eye 4.2. Not verified by a person." in [one["conclusion"].split("\n")[0] for one in found]
    assert any("27925004" in str(one) for one in house.search("Observation"))
