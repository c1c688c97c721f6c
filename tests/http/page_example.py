"""A study on its way through the server, step by step, for the tests of the results page: 8 slices of 256 x 256."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from sqlalchemy import insert, update

from dicom_sr import codes
from dicom_sr.fhir_elements import Instance
from dicom_sr.findings import Finding, Findings, Measurement, Region
from dicom_sr.serialise import serialise
from dicom_sr.to_fhir import to_fhir
from dicom_sr.write_sr import write_sr
from server.imaging.ingest import Ingest, Outcome, Received
from server.repository import Repository
from server.security.access import system
from server.store.database import Database
from server.store.tables import analyses, imaging
from tests.dicom_sr import examples

STUDY = examples.STUDY
SIZE = 256
PIXEL_MM = 1.3
ADAPTER = "nodule_detection"
TASK = "t1"


def pixels(index: int) -> bytes:
    """A slice of a chest, roughly: body, two lungs, vessels, two nodules."""
    rows, columns = np.mgrid[0:SIZE, 0:SIZE].astype(float)
    hu = np.full((SIZE, SIZE), -1000.0)

    def ellipse(x: float, y: float, a: float, b: float) -> Any:
        return ((columns - x) / a) ** 2 + ((rows - y) / b) ** 2 <= 1

    hu[ellipse(128, 132, 112, 84)] = 40
    for x in (76, 180):
        hu[ellipse(x, 128, 40, 60)] = -860
    noise = np.random.default_rng(index).normal(0, 1, (60, 3))
    for x, y, size in noise:
        hu[ellipse(128 + math.copysign(52, x) + 15 * x, 128 + 26 * y, 1 + abs(size), 1 + abs(size))] = -100
    hu[ellipse(128, 108, 15, 22)] = 50
    for finding in findings().findings:
        (x, y), radius = middle(finding), 4.0
        hu[ellipse(x, y, radius, radius)] = 20
    hu += np.random.default_rng(100 + index).normal(0, 18, hu.shape)
    return bytes((hu + 1024).clip(0, 4095).astype("<u2").tobytes())


def middle(finding: Finding) -> tuple[float, float]:
    """The middle of the outline, pixels."""
    assert finding.region is not None
    x, y = zip(*finding.region.points, strict=True)
    return sum(x) / len(x), sum(y) / len(y)


def _nodule(number: int, center: tuple[float, float], slice_index: int) -> Finding:
    image = examples.references()[slice_index]
    turns = [2 * math.pi * step / 24 for step in range(25)]

    def ring(scale: float) -> tuple[tuple[float, float], ...]:
        return tuple((center[0] + 4.6 * scale * math.cos(t), center[1] + 4 * scale * math.sin(t)) for t in turns)

    def line(points: tuple[tuple[float, float], ...]) -> Region:
        return Region(image=image, graphic_type="POLYLINE", points=points)

    across = ((center[0] - 4.6, center[1]), (center[0] + 4.6, center[1]))
    down = ((center[0], center[1] - 4), (center[0], center[1] + 4))
    plain = examples.nodule(number, (slice_index, 20, 20), 3)
    return replace(
        plain,
        region=line(ring(1)),
        measurements=(
            Measurement(concept=codes.LONG_AXIS, value=11.96, unit=codes.MILLIMETER, region=line(across)),
            Measurement(concept=codes.SHORT_AXIS, value=10.4, unit=codes.MILLIMETER, region=line(down)),
            Measurement(concept=codes.DIAMETER, value=11.2, unit=codes.MILLIMETER),
            Measurement(concept=codes.VOLUME, value=735.6, unit=codes.CUBIC_MILLIMETER),
        ),
    )


def findings() -> Findings:
    """Two nodules, the second the more certain."""
    return examples.findings(_nodule(1, (66.0, 104.0), 3), _nodule(2, (190.0, 150.0), 5))


def nothing() -> Findings:
    """The same analysis without a finding."""
    return examples.findings()


def _file(dataset: Dataset) -> bytes:
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def images() -> Iterator[bytes]:
    """The study's CT series as Part 10 files."""
    for index, image in enumerate(examples.ct()):
        image.StudyDescription, image.SeriesDescription = "CT chest <low dose>", "1.25 mm lung"
        image.Rows = image.Columns = SIZE
        image.PixelSpacing = [PIXEL_MM, PIXEL_MM]
        image.SamplesPerPixel, image.PhotometricInterpretation, image.PixelRepresentation = 1, "MONOCHROME2", 0
        image.BitsAllocated, image.BitsStored, image.HighBit = 16, 12, 11
        image.RescaleIntercept, image.RescaleSlope, image.RescaleType = -1024, 1, "HU"
        image.WindowCenter, image.WindowWidth = -600, 1500
        image.PixelData = pixels(index)
        yield _file(image)


@dataclass(frozen=True, kw_only=True)
class Way:
    """The steps that other parts of the server take."""

    database: Database
    ingest: Ingest
    repository: Repository

    def _store(self, *files: bytes) -> None:
        outcome: Outcome = self.ingest.receive(system(), [Received(chunks=[file]) for file in files])
        assert not outcome.refused, outcome.refused

    @property
    def patient(self) -> str:
        with self.database.reading() as uow:
            return str(uow.execute(imaging.patient.select()).one().patient)

    def receive(self) -> None:
        """The images arrive."""
        self._store(*images())

    def complete(self) -> None:
        """The study was quiet; Patient and ImagingStudy are there."""
        with self.database.unit_of_work() as uow:
            uow.execute(update(imaging.study_activity).values(dispatched=imaging.study_activity.c.revision))
        access, subject = system(), {"reference": f"Patient/{self.patient}"}
        self.repository.update(access, {"resourceType": "Patient", "id": self.patient})
        study = {
            "resourceType": "ImagingStudy",
            "id": "study",
            "status": "available",
            "subject": subject,
            "identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:{STUDY}"}],
        }
        self.repository.update(access, study)

    def ask(self, status: str = "requested", reason: str = "", task: str = TASK) -> None:
        """A Task asks for the adapter."""
        adapter = {"coding": [{"system": "https://hutong.example/fhir/CodeSystem/task-parameter", "code": "adapter"}]}
        body: dict[str, Any] = {
            "resourceType": "Task",
            "id": task,
            "status": status,
            "intent": "order",
            "focus": {"reference": "ImagingStudy/study"},
            "authoredOn": "2026-01-02T09:00:00Z",
            "input": [{"type": adapter, "valueString": ADAPTER}],
        }
        if reason:
            body["statusReason"] = {"text": reason}
        self.repository.update(system(), body)

    def find(self, found: Findings, task: str = TASK, predecessor: str = "") -> None:
        """The analysis ends: Findings, SR, FHIR resources, Task completed; without a task it is somebody else's."""
        sr = write_sr(found, examples.ct())
        self._store(_file(sr))
        resources = to_fhir(
            found,
            subject={"reference": f"Patient/{self.patient}"},
            imaging_study={"reference": "ImagingStudy/study"},
            sr=Instance(
                study_instance_uid=STUDY,
                series_instance_uid=sr.SeriesInstanceUID,
                sop_instance_uid=sr.SOPInstanceUID,
                sop_class_uid=sr.SOPClassUID,
            ),
        )
        report = next(one["id"] for one in resources if one["resourceType"] == "DiagnosticReport")
        with self.repository.transaction(system()) as transaction:
            for resource in resources:
                transaction.update(resource)
            transaction.uow.execute(
                insert(analyses.analysis).values(
                    tenant=1, key=found.key, study=STUDY, adapter=ADAPTER, adapter_version="1.0.0", task=task,
                    findings=serialise(found), found=datetime.now(UTC), seconds=12.34,
                    provider="CPUExecutionProvider", sr_instance=sr.SOPInstanceUID, report=report,
                    predecessor=predecessor, published=datetime.now(UTC),
                )
            )  # fmt: skip
        if task:
            self.ask("completed", task=task)

    def conclude(self, category: str = "Category 4A") -> None:
        """Some pathway answers the result with a category, a request and a plan."""
        found = self.repository.search(system(), "DiagnosticReport", []).matches[0]
        report = self.repository.read(system(), "DiagnosticReport", found.id)
        subject = {"reference": f"Patient/{self.patient}"}
        about = [{"reference": f"DiagnosticReport/{found.id}"}]
        self.repository.update(
            system(),
            {
                "resourceType": "Observation",
                "id": "category",
                "status": "preliminary",
                "code": {"text": "Assessment category"},
                "subject": subject,
                "partOf": [{"reference": "ImagingStudy/study"}],
                "derivedFrom": report["result"],
                "valueCodeableConcept": {"text": category},
            },
        )
        self.repository.update(
            system(),
            {
                "resourceType": "ServiceRequest",
                "id": "follow-up",
                "status": "draft",
                "intent": "proposal",
                "subject": subject,
                "code": {"text": "Low-dose CT of the chest in 3 months"},
                "occurrenceDateTime": "2026-04-02",
                "supportingInfo": about,
            },
        )
        self.repository.update(
            system(),
            {
                "resourceType": "CarePlan",
                "id": "plan",
                "status": "draft",
                "intent": "proposal",
                "subject": subject,
                "title": "Follow-up of nodules",
                "supportingInfo": about,
                "activity": [{"reference": {"reference": "ServiceRequest/follow-up"}}],
            },
        )
