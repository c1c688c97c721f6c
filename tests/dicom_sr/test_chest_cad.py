"""Chest CAD reports (TID 4100) as another vendor's product writes them: item by item with pydicom."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pydicom
import pytest
from pydicom import Dataset
from pydicom.sr.codedict import codes

from dicom_sr.errors import UnreadableReport
from dicom_sr.fhir_elements import Instance
from dicom_sr.findings import Findings
from dicom_sr.read import read
from dicom_sr.to_fhir import to_fhir
from tests.dicom_sr.test_to_fhir import check, of

CHEST_CAD = "1.2.840.10008.5.1.4.1.1.88.65"
CT = "1.2.840.10008.5.1.4.1.1.2"
STUDY, SERIES = "1.2.3", "1.2.3.1"
Code = tuple[str, str, str]
#: Codes by pydicom's tables of the standard.
NODULE, OPACITY = ("27925004", "SCT", "Nodule"), ("128477000", "SCT", "Abnormal opacity")
REQUIRED = ("111150", "DCM", "Presentation Required: Rendering device is expected to present")
HIDDEN = ("111152", "DCM", "Not for Presentation: Rendering device expected not to present")


def dcm(name: str) -> Code:
    found = getattr(codes.DCM, name)
    return found.value, found.scheme_designator, found.meaning


def coded(code: Code) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code
    return item


def item(relationship: str, kind: str, concept: Code | None = None, *below: Dataset, **values: Any) -> Dataset:
    made = Dataset()
    made.RelationshipType = relationship
    if kind:
        made.ValueType = kind
    if concept is not None:
        made.ConceptNameCodeSequence = [coded(concept)]
    for keyword, value in values.items():
        setattr(made, keyword, value)
    if below:
        made.ContentSequence = list(below)
    return made


def code(relationship: str, concept: Code, value: Code, *below: Dataset) -> Dataset:
    return item(relationship, "CODE", concept, *below, ConceptCodeSequence=[coded(value)])


def number(concept: Code, value: str, unit: Code) -> Dataset:
    measured = Dataset()
    measured.NumericValue, measured.MeasurementUnitsCodeSequence = value, [coded(unit)]
    return item("HAS PROPERTIES", "NUM", concept, MeasuredValueSequence=[measured])


def image(uid: str) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = CT, uid
    return item("CONTAINS", "IMAGE", ReferencedSOPSequence=[reference])


def graphic(concept: Code, kind: str, data: Sequence[float], entry: int) -> Dataset:
    """On the image of the library's ``entry``, by reference."""
    on = item("SELECTED FROM", "", ReferencedContentItemIdentifier=[1, 1, entry])
    return item("HAS PROPERTIES", "SCOORD", concept, on, GraphicType=kind, GraphicData=list(data))


def nodule(entry: int, *more: Dataset, intent: Code = REQUIRED, outline: bool = True) -> Dataset:
    shapes = [graphic(dcm("Center"), "POINT", [10.0, 20.0], entry)]
    if outline:
        shapes.append(graphic(dcm("Outline"), "POLYLINE", [8, 18, 12, 18, 12, 22, 8, 22, 8, 18], entry))
    return code(
        "INFERRED FROM", dcm("SingleImageFinding"), NODULE, code("HAS CONCEPT MOD", dcm("RenderingIntent"), intent),
        *shapes, *more,
    )  # fmt: skip


def report(summary: Code, *features: Dataset, images: Sequence[str] = ("1.2.3.1.1", "1.2.3.1.2")) -> Dataset:
    detection = code(
        "CONTAINS", dcm("DetectionPerformed"), NODULE,
        item("HAS CONCEPT MOD", "TEXT", dcm("AlgorithmName"), TextValue="Lung Eye"),
        item("HAS CONCEPT MOD", "TEXT", dcm("AlgorithmVersion"), TextValue="4.2"),
    )  # fmt: skip
    dataset = item(
        "", "CONTAINER", dcm("ChestCADReport"),
        item("CONTAINS", "CONTAINER", dcm("ImageLibrary"), *(image(uid) for uid in images)),
        code("CONTAINS", dcm("CADProcessingAndFindingsSummary"), summary, *features),
        code(
            "CONTAINS", dcm("SummaryOfDetections"), dcm("Succeeded"),
            item("INFERRED FROM", "CONTAINER", dcm("SuccessfulDetections"), detection),
        ),
        SOPClassUID=CHEST_CAD, SOPInstanceUID="1.2.3.8.1", StudyInstanceUID=STUDY, SeriesInstanceUID="1.2.3.8",
        ContentDate="20260102", ContentTime="101500", TimezoneOffsetFromUTC="+0800",
    )  # fmt: skip
    del dataset.RelationshipType
    referred = Dataset()
    referred.SeriesInstanceUID, referred.ReferencedSOPSequence = SERIES, []
    for uid in images:
        one = Dataset()
        one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID = CT, uid
        referred.ReferencedSOPSequence.append(one)
    study = Dataset()
    study.StudyInstanceUID, study.ReferencedSeriesSequence = STUDY, [referred]
    dataset.CurrentRequestedProcedureEvidenceSequence = [study]
    return dataset


def header(uid: str) -> Dataset:
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID, made.StudyInstanceUID, made.SeriesInstanceUID = CT, uid, STUDY, SERIES
    made.FrameOfReferenceUID = "1.2.3.7"
    made.ImagePositionPatient, made.ImageOrientationPatient = [-100, -100, 50], [1, 0, 0, 0, 1, 0]
    made.PixelSpacing = [0.5, 0.5]
    made.Rows = made.Columns = 512
    return made


FOUND, NOTHING = dcm("AllAlgorithmsSucceededWithFindings"), dcm("AllAlgorithmsSucceededWithoutFindings")
MM, PERCENT = ("mm", "UCUM", "millimeter"), ("%", "UCUM", "percent")


def fhir(findings: Findings) -> tuple[dict[str, Any], ...]:
    sr = Instance(
        study_instance_uid=STUDY, series_instance_uid="1.2.3.8", sop_instance_uid=findings.key, sop_class_uid=CHEST_CAD
    )
    made = to_fhir(findings, subject={"reference": "Patient/p"}, imaging_study={"reference": "ImagingStudy/s"}, sr=sr)
    check(made)
    return made


def test_a_nodule_in_one_image() -> None:
    certainty = number(dcm("CertaintyOfFinding"), "87", PERCENT)
    diameter = number(("81827009", "SCT", "Diameter"), "7.5", MM)
    site = code("HAS PROPERTIES", dcm("LocationInChest"), ("45653009", "SCT", "Upper lobe of lung"))
    tracked = item("HAS OBS CONTEXT", "UIDREF", dcm("TrackingUniqueIdentifier"), UID="1.2.3.99")
    findings = read(report(FOUND, nodule(2, certainty, diameter, site, tracked)), images=[header("1.2.3.1.2")])
    (one,) = findings.findings
    assert (one.finding.value, one.tracking_uid, one.confidence) == ("27925004", "1.2.3.99", 0.87)
    assert one.site is not None and one.site.meaning == "Upper lobe of lung"
    assert one.region is not None
    assert (one.region.image.sop_instance_uid, one.region.image.series_instance_uid) == ("1.2.3.1.2", SERIES)
    assert one.region.graphic_type == "POLYLINE"
    # The middle of the outline, (10, 20) in pixels from the corner of the first.
    assert one.center_mm == pytest.approx((-100 + 9.5 * 0.5, -100 + 19.5 * 0.5, 50))
    assert [(m.concept.meaning, m.value) for m in one.measurements] == [("Diameter", 7.5)]
    assert findings.algorithm is not None
    assert (findings.algorithm.name, findings.algorithm.version) == ("Lung Eye", "4.2")
    assert findings.timestamp.isoformat() == "2026-01-02T10:15:00+08:00"
    assert [source.sop_instance_uid for source in findings.sources] == ["1.2.3.1.1", "1.2.3.1.2"]
    made = fhir(findings)
    (lesion,) = of("BodyStructure", made)
    assert lesion["morphology"]["coding"][0]["code"] == "27925004"
    values = [one["valueQuantity"]["value"] for one in of("Observation", made) if "valueQuantity" in one]
    assert Decimal("7.5") in values
    # The location is told once, as the site.
    assert "Location in Chest" not in str(made)


def test_only_the_centre_is_marked() -> None:
    findings = read(report(FOUND, nodule(1, outline=False)), images=[header("1.2.3.1.1")])
    (one,) = findings.findings
    assert one.region is not None and one.region.graphic_type == "POINT"
    assert one.center_mm == pytest.approx((-100 + 9.5 * 0.5, -100 + 19.5 * 0.5, 50))


def test_a_composite_feature_takes_its_place_from_the_part_on_an_image_at_hand() -> None:
    scope = code("HAS CONCEPT MOD", dcm("ScopeOfFeature"), ("111148", "DCM", "Feature was detected on multiple images"))
    composite = code(
        "INFERRED FROM", dcm("CompositeFeature"), OPACITY,
        code("HAS CONCEPT MOD", dcm("RenderingIntent"), REQUIRED), scope,
        number(dcm("CertaintyOfFinding"), "60", PERCENT),
        nodule(1, number(("81827009", "SCT", "Diameter"), "5", MM)),
        nodule(2, number(("81827009", "SCT", "Diameter"), "9", MM)),
    )  # fmt: skip
    findings = read(report(FOUND, composite), images=[header("1.2.3.1.2")])
    (one,) = findings.findings
    assert (one.finding.value, one.confidence) == (OPACITY[0], 0.6)
    assert one.region is not None and one.region.image.sop_instance_uid == "1.2.3.1.2"
    assert [m.value for m in one.measurements] == [9.0]
    assert one.qualities == ()
    fhir(findings)


def test_features_that_are_referred_to() -> None:
    """A composite may refer to a single image finding that stands elsewhere (R-INFERRED FROM)."""
    by_reference = item("INFERRED FROM", "", ReferencedContentItemIdentifier=[1, 2, 2])
    composite = code("INFERRED FROM", dcm("CompositeFeature"), OPACITY, by_reference)
    findings = read(report(FOUND, composite, nodule(1, intent=HIDDEN)), images=[header("1.2.3.1.1")])
    (one,) = findings.findings
    assert one.finding.value == OPACITY[0]
    assert one.region is not None


def test_a_circle_of_references_ends() -> None:
    itself = item("INFERRED FROM", "", ReferencedContentItemIdentifier=[1, 2, 1])
    findings = read(report(FOUND, code("INFERRED FROM", dcm("CompositeFeature"), OPACITY, itself, itself)))
    assert len(findings.findings) == 1
    assert findings.findings[0].region is None


def test_what_is_not_for_presentation_stays_out() -> None:
    findings = read(report(FOUND, nodule(1), nodule(2, intent=HIDDEN)))
    assert len(findings.findings) == 1


def test_nothing_found_is_a_result() -> None:
    findings = read(report(NOTHING))
    assert findings.findings == ()
    assert of("DiagnosticReport", fhir(findings))[0]["conclusion"].startswith("No finding by Lung Eye 4.2")


@pytest.mark.parametrize(
    "summary", ["NoAlgorithmsSucceededWithoutFindings", "NotAllAlgorithmsSucceededWithoutFindings"]
)
def test_a_program_that_failed_has_found_nothing_out(summary: str) -> None:
    with pytest.raises(UnreadableReport, match="succeeded"):
        read(report(dcm(summary)))


def test_references_that_lead_nowhere_are_named() -> None:
    broken = nodule(7)
    with pytest.raises(UnreadableReport, match="ReferencedContentItemIdentifier"):
        read(report(FOUND, broken))
    without = report(FOUND, nodule(1))
    del without.ContentSequence[1]
    with pytest.raises(UnreadableReport, match="summary"):
        read(without)


def test_it_is_the_same_after_a_file(tmp_path: Any) -> None:
    dataset = report(FOUND, nodule(1))
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.save_as(tmp_path / "cad.dcm", enforce_file_format=True)
    assert read(pydicom.dcmread(tmp_path / "cad.dcm")) == read(report(FOUND, nodule(1)))
