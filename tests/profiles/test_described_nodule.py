"""From a nodule's attenuation to its category: measured and described by the adapter, by way of SR and FHIR."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset

from ai_adapters.lobes import LEFT, Lungs
from ai_adapters.registry import registry
from ai_adapters.run import finding, measured
from dicom_sr.findings import Algorithm, Findings
from dicom_sr.read import read
from dicom_sr.to_fhir import to_fhir
from dicom_sr.write_sr import write_sr
from server.workflow import pathway
from server.workflow.plan import TopicEvent, apply
from tests.ai_adapters.balls import CT, scan
from tests.dicom_sr.refresh import instance
from tests.profiles.sources import Given
from tests.profiles.test_tables import document, of, row_of, value

#: The piece of lung lies low in front of a left lung.
LUNGS = Lungs(middle=-40.0, boxes={LEFT: (np.array([-40.0, -10.0, -100.0]), np.array([80.0, 160.0, 200.0]))})
SEEN = "2026-01-31T10:00:00Z"


def findings(*layers: tuple[float, float]) -> tuple[Findings, list[Dataset]]:
    volume, region, center = scan(*layers)
    one = finding(
        registry().get("nodule_detection"), volume, measured(region, volume, center, 0.9), LUNGS, ("n", "2.25.9")
    )
    found = Findings(
        key="5e" * 32,
        study_instance_uid=volume.study_instance_uid,
        frame_of_reference_uid=volume.frame_of_reference_uid,
        sources=volume.sources,
        findings=(one,),
        timestamp=datetime(2026, 1, 31, 10, tzinfo=UTC),
        algorithm=Algorithm(name="n", version="1", manufacturer="m", device_uid="2.25.3"),
    )
    return found, [_header(source.sop_instance_uid, n) for n, source in enumerate(volume.sources)]


def _header(uid: str, number: int) -> Dataset:
    image = Dataset()
    image.SOPClassUID, image.SOPInstanceUID, image.SeriesInstanceUID = CT, uid, "2.25.6"
    image.StudyInstanceUID, image.FrameOfReferenceUID, image.Modality = "2.25.5", "2.25.4", "CT"
    image.PatientID, image.PatientName, image.PatientBirthDate, image.PatientSex = "p", "A^B", "19600101", "F"
    image.StudyDate, image.StudyTime, image.StudyID, image.AccessionNumber = "20260131", "100000", "1", ""
    image.Rows = image.Columns = 57
    image.PixelSpacing, image.ImageOrientationPatient = [0.7, 0.7], [1, 0, 0, 0, 1, 0]
    image.ImagePositionPatient = [-19.65, -19.65, -19.375 + 1.25 * number]
    return image


def category(*layers: tuple[float, float]) -> tuple[str, str]:
    """Row and category by Lung-RADS of what the adapter said, once an SR had carried it."""
    found, images = findings(*layers)
    sr = write_sr(found, images)
    back = read(sr)
    made = to_fhir(
        back,
        subject={"reference": "Patient/p"},
        imaging_study={"reference": "ImagingStudy/s"},
        sr=instance(sr),
        effective=SEEN,
    )
    report = next(one for one in made if one["resourceType"] == "DiagnosticReport")
    report["meta"] = {"versionId": "1", "tag": [{"system": "urn:hutong:adapter", "code": "nodule_detection"}]}
    study: dict[str, Any] = {
        "resourceType": "ImagingStudy",
        "id": "s",
        "status": "available",
        "subject": {"reference": "Patient/p"},
        "started": SEEN,
        "series": [{"uid": "2.25.6", "modality": {"system": "urn:x", "code": "CT"}}],
    }
    patient = {"resourceType": "Patient", "id": "p", "gender": "female", "birthDate": "1960-01-01"}
    table = document("lung-rads-2022")
    known = pathway.read("lung_nodule")
    (plan,) = known.answering(table["topic"])
    event = TopicEvent(topic=table["topic"], focus=report, recorded=table["recorded"])
    told = apply(plan, event, known, Given([report, patient, study, *made]))
    (nodule,) = [one for one in of(told, "Observation") if one["code"]["coding"][0]["code"] == "nodule-category"]
    return row_of(nodule), value(nodule)


@pytest.mark.parametrize(
    ("layers", "row", "expected"),
    [
        ([(12.0, 40.0)], "solid-8-to-15", "4A"),
        ([(12.0, -620.0)], "ground-glass-under-30", "2"),
        ([(12.0, -620.0), (4.6, 20.0)], "part-solid-from-6-part-under-6", "3"),
        ([(18.0, -620.0), (10.0, 20.0)], "part-solid-from-6-part-from-8", "4B"),
    ],
    ids=["solid", "ground glass", "part-solid, small core", "part-solid, large core"],
)
def test_what_a_nodule_is_made_of_decides_its_category(layers, row, expected) -> None:
    assert category(*layers) == (row, expected)
