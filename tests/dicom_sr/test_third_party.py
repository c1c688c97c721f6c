"""SRs that others wrote become Findings and FHIR: dcmqi (TID 1411), highdicom (TID 1410 and 1501), HL7's example."""

import json
from datetime import timedelta, timezone
from pathlib import Path

import pydicom
import pytest
from pydicom import Dataset

from dicom_sr import codes
from dicom_sr.dicom_json import parse
from dicom_sr.errors import UnreadableReport
from dicom_sr.fhir_elements import Instance
from dicom_sr.findings import Findings
from dicom_sr.read import read
from dicom_sr.read_seg import read_seg
from dicom_sr.render import as_text
from dicom_sr.to_fhir import to_fhir
from terminology.codings import Coding
from tests.dicom_sr.test_to_fhir import check, of

pytestmark = [
    pytest.mark.data,
    # The published example has a UID of 66 characters.
    pytest.mark.filterwarnings("ignore:The value length .66. exceeds"),
]


def dataset(shared: Path, name: str) -> Dataset:
    path = shared / "sr" / name
    return parse(json.loads(path.read_text(encoding="utf-8"))) if name.endswith("json") else pydicom.dcmread(path)


NAMES = ["dcmqi_sr.dcm", "highdicom_sr_multiple_groups.dcm", "hl7_dicom-sr_Example-MeasurementReport.json"]


@pytest.mark.parametrize("name", NAMES)
def test_it_becomes_valid_fhir(shared: Path, name: str) -> None:
    source = dataset(shared, name)
    report = read(source)
    sr = Instance(
        study_instance_uid=report.study_instance_uid,
        series_instance_uid=str(source.SeriesInstanceUID),
        sop_instance_uid=report.key,
        sop_class_uid=str(source.SOPClassUID),
    )
    subject, study = {"reference": "Patient/p"}, {"reference": "ImagingStudy/s"}
    found = to_fhir(report, subject=subject, imaging_study=study, sr=sr)
    check(found)
    # None of the three says that an artificial intelligence wrote it.
    assert not [one for one in found if "security" in one.get("meta", {})]
    assert bool(of("Device", found)) == (report.algorithm is not None and report.algorithm.device_uid != "")
    assert "Measurement Group" in as_text(source)


def measured(report: Findings, index: int) -> dict[str, float]:
    return {one.concept.meaning: one.value for one in report.findings[index].measurements}


def test_dcmqi(shared: Path) -> None:
    report = read(dataset(shared, "dcmqi_sr.dcm"))
    (finding,) = report.findings
    assert report.person == "User2"
    assert report.algorithm is None
    assert report.procedure == Coding(value="44139-4", scheme="LN", meaning="PET whole body")
    assert (finding.tracking_id, finding.finding.meaning) == ("primary tumor", "Neoplasm, Primary")
    # SNOMED-RT codes of 2015 come as the SNOMED CT codes that replaced them: T-C5300 is 55940004.
    assert finding.site == Coding(value="55940004", scheme="SCT", meaning="pharyngeal tonsil (adenoid)")
    assert measured(report, 0)["Volume"] == 33.5824
    uptake = {one.derivation.meaning: one.value for one in finding.measurements if one.derivation is not None}
    assert (uptake["Mean"], uptake["Minimum"], uptake["Maximum"]) == (6.01529, 2.91136, 10.3814)
    assert len(report.sources) == 191
    assert all(source.series_instance_uid for source in report.sources)


def test_the_time_zone_of_a_report_that_names_none_is_the_tenants(shared: Path) -> None:
    china = timezone(timedelta(hours=8))
    report = read(dataset(shared, "dcmqi_sr.dcm"), zone=china)
    assert report.timestamp.isoformat() == "2015-08-19T11:21:53+08:00"


def test_highdicom(shared: Path) -> None:
    report = read(dataset(shared, "highdicom_sr_multiple_groups.dcm"))
    assert [finding.tracking_id for finding in report.findings] == [
        "Image0001",
        "LungNodule0001",
        "Aorta0001",
        "Vertebra0001",
    ]
    assert report.person == "Doe^John"
    assert report.algorithm is not None
    assert report.algorithm.device_uid.endswith("834162")
    nodule, vertebra = report.findings[1], report.findings[3]
    assert nodule.finding == codes.NODULE
    assert measured(report, 1) == {"Diameter": 10.0}
    assert nodule.region is not None
    assert nodule.region.graphic_type == "CIRCLE"
    assert nodule.center_mm is None
    assert vertebra.center_mm == (123.5, 234.1, -23.7)


def test_a_centre_follows_from_the_images_headers(shared: Path) -> None:
    source = dataset(shared, "highdicom_sr_multiple_groups.dcm")
    region = read(source).findings[1].region
    assert region is not None
    image = Dataset()
    image.SOPInstanceUID = region.image.sop_instance_uid
    image.Rows = image.Columns = 128
    image.PixelSpacing = [0.5, 2]
    image.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    image.ImagePositionPatient = [10, 20, 30]
    # The circle's centre is (45, 55); the first pixel's centre is (0.5, 0.5).
    assert read(source, images=[image]).findings[1].center_mm == (10 + 44.5 * 2, 20 + 54.5 * 0.5, 30)


def test_hl7_example(shared: Path) -> None:
    report = read(dataset(shared, "hl7_dicom-sr_Example-MeasurementReport.json"))
    (finding,) = report.findings
    assert report.verified
    assert report.person == "RADIOLOGIST^EXAMPLE"
    assert finding.tracking_id == "Nodule 1"
    assert finding.finding == Coding(value="427359005", scheme="SCT", meaning="Solitary nodule of lung")
    assert measured(report, 0) == {"Volume": 31112.2, "Diameter": 49.94462, "Body surface area": 9026.567}
    assert [quality.concept.meaning for quality in finding.qualities] == [
        "Finding category",
        "Subtlety score",
        "Malignancy",
    ]
    assert report.sources == ()


def test_a_segmentation_that_tracks_nothing_of_ours_changes_nothing(shared: Path) -> None:
    report = read(dataset(shared, "dcmqi_sr.dcm"))
    assert read_seg(dataset(shared, "dcmqi_seg.dcm"), report) == report


def test_a_value_map_is_no_report(shared: Path) -> None:
    with pytest.raises(UnreadableReport):
        read(dataset(shared, "dcmqi_rwvm.dcm"))
