"""The report keeps to TID 1500, and to what viewers need of it."""

from dataclasses import replace

import pytest
from pydicom import Dataset

from dicom_sr import codes
from dicom_sr.errors import UnwritableFindings
from dicom_sr.findings import Finding, Findings, Measurement, Region
from dicom_sr.measurement_report import RECTANGLE_PREFIX
from dicom_sr.read import read
from dicom_sr.write_sr import write_sr
from tests.dicom_sr.examples import ct, findings, nodule, references, two_nodules


def named(item: Dataset, meaning: str) -> list[Dataset]:
    return [child for child in item.ContentSequence if child.ConceptNameCodeSequence[0].CodeMeaning == meaning]


def groups(dataset: Dataset) -> list[Dataset]:
    return named(named(dataset, "Imaging Measurements")[0], "Measurement Group")


def numbers(group: Dataset) -> list[Dataset]:
    return [item for item in group.ContentSequence if item.ValueType == "NUM"]


def one(**changes: object) -> Findings:
    return findings(replace(nodule(1, (3, 20, 40), 4), **changes))  # type: ignore[arg-type]


def test_root_and_flags() -> None:
    dataset = write_sr(two_nodules(), ct())
    assert dataset.ConceptNameCodeSequence[0].CodeValue == "126000"
    assert dataset.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    assert (dataset.CompletionFlag, dataset.VerificationFlag) == ("COMPLETE", "UNVERIFIED")
    assert dataset.PreliminaryFlag == "PRELIMINARY"


def test_every_time_is_the_analysis_time() -> None:
    dataset = write_sr(two_nodules(), ct())
    assert {dataset.ContentDate, dataset.SeriesDate, dataset.InstanceCreationDate} == {"20260102"}
    assert {dataset.ContentTime, dataset.SeriesTime, dataset.InstanceCreationTime} == {"093015.250000"}


def test_times_follow_the_time_zone_of_the_study() -> None:
    sources = ct()
    sources[0].TimezoneOffsetFromUTC = "+0800"
    dataset = write_sr(two_nodules(), sources)
    assert (dataset.ContentTime, dataset.TimezoneOffsetFromUTC) == ("173015.250000", "+0800")
    assert read(dataset).timestamp == two_nodules().timestamp


def test_the_algorithm_is_contributing_equipment() -> None:
    item = write_sr(two_nodules(), ct()).ContributingEquipmentSequence[0]
    purpose = item.PurposeOfReferenceCodeSequence[0]
    assert (purpose.CodeValue, purpose.CodingSchemeDesignator) == ("1630", "99IHE")
    assert (item.Manufacturer, item.ManufacturerModelName) == ("Hutong", "nodule_detection")
    assert (item.SoftwareVersions, item.DeviceUID) == ("1.0.0", "2.25.4001")


@pytest.mark.parametrize(
    "finding",
    [
        nodule(1, (3, 20, 40), 4),
        replace(nodule(1, (3, 20, 40), 4), region=None),
        replace(nodule(1, (3, 20, 40), 4), region=None, measurements=()),
        replace(
            nodule(1, (3, 20, 40), 4),
            measurements=tuple(
                replace(m, method=codes.SEGMENTED_VOXELS) for m in nodule(1, (3, 20, 40), 4).measurements
            ),
        ),
        replace(nodule(1, (3, 20, 40), 4), measurements=nodule(1, (3, 20, 40), 4).measurements[1:2]),
    ],
    ids=["usual", "centre only", "certainty only", "every number has a method", "its first has a graphic"],
)
def test_the_first_number_carries_a_rectangle_and_nothing_else(finding: Finding) -> None:
    first = numbers(groups(write_sr(findings(finding), ct()))[0])[0]
    (graphic,) = first.ContentSequence
    assert (graphic.ValueType, graphic.RelationshipType) == ("SCOORD", "INFERRED FROM")
    assert (graphic.GraphicType, len(graphic.GraphicData)) == ("POLYLINE", 10)
    (image,) = graphic.ContentSequence
    assert (image.ValueType, image.RelationshipType) == ("IMAGE", "SELECTED FROM")
    assert image.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == references()[3].sop_instance_uid
    left, top, right, bottom = *graphic.GraphicData[0:2], *graphic.GraphicData[4:6]
    assert left < 40.5 < right
    assert top < 20.5 < bottom


def test_no_group_is_without_a_graphic() -> None:
    """Where no number is free to carry it, the graphic stands in the group itself."""
    finding = replace(nodule(1, (3, 20, 40), 4), measurements=(), confidence=None)
    dataset = write_sr(findings(finding), ct())
    graphics = [item for item in groups(dataset)[0].ContentSequence if item.ValueType == "SCOORD"]
    assert [len(graphic.GraphicData) for graphic in graphics] == [10, 14]
    assert read(dataset).findings[0].region == finding.region


def test_a_centre_alone_is_drawn_as_large_as_the_diameter_on_the_nearest_slice() -> None:
    graphic = numbers(groups(write_sr(one(region=None), ct()))[0])[0].ContentSequence[0]
    assert graphic.ConceptNameCodeSequence[0].CodeMeaning == "Center"
    # 4 mm at 0.75 mm a pixel, around the centre of pixel (40, 20).
    assert graphic.GraphicData[0] == pytest.approx(40.5 - 4 / 0.75 / 2)
    assert graphic.GraphicData[5] == pytest.approx(20.5 + 4 / 0.75 / 2)
    assert read(write_sr(one(region=None), ct())).findings[0].region is None


def test_tracking_is_told_in_every_group_and_in_words_that_viewers_know() -> None:
    for group, finding in zip(groups(write_sr(two_nodules(), ct())), two_nodules().findings, strict=True):
        (identifier,) = named(group, "Tracking Identifier")
        assert identifier.TextValue == RECTANGLE_PREFIX + finding.tracking_id
        (uid,) = named(group, "Tracking Unique Identifier")
        assert (uid.ValueType, uid.UID) == ("UIDREF", finding.tracking_uid)


def test_nothing_found_is_said() -> None:
    dataset = write_sr(findings(), ct())
    assert "ContentSequence" not in named(dataset, "Imaging Measurements")[0]
    (summary,) = named(dataset, "Qualitative Evaluations")[0].ContentSequence
    assert summary.ConceptCodeSequence[0].CodeValue == "111241"


def test_private_schemes_are_declared() -> None:
    dataset = write_sr(two_nodules(), ct())
    declared = [item.CodingSchemeDesignator for item in dataset.CodingSchemeIdentificationSequence]
    assert declared == ["99HUTONG", "99IHE"]


def test_the_predecessor_is_named() -> None:
    older = write_sr(findings(), ct())
    item = write_sr(two_nodules(), ct(), predecessor=older).PredecessorDocumentsSequence[0]
    reference = item.ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert reference.ReferencedSOPInstanceUID == older.SOPInstanceUID
    assert "PredecessorDocumentsSequence" not in older


def test_values_that_a_vr_does_not_allow_are_left_out() -> None:
    sources = ct()
    sources[0].PatientSex = "X"
    sources[0].StudyID = ["1", "2"]
    dataset = write_sr(two_nodules(), sources)
    assert (dataset.PatientSex, dataset.StudyID) == ("", "")


def test_number_keeps_every_digit() -> None:
    volume = numbers(groups(write_sr(two_nodules(), ct()))[0])[3].MeasuredValueSequence[0]
    assert len(str(volume.NumericValue)) <= 16
    assert volume.FloatingPointValue == 1234.5678901234567


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"region": None, "center_mm": None}, "findings[0]"),
        ({"site": None}, "findings[0]"),
    ],
)
def test_findings_without_a_place_are_refused(changes: dict[str, object], place: str) -> None:
    with pytest.raises(UnwritableFindings) as caught:
        write_sr(one(**changes), ct())
    assert caught.value.place == place


@pytest.mark.parametrize(
    ("report", "place"),
    [
        (replace(two_nodules(), algorithm=None), "algorithm"),
        (replace(two_nodules(), study_instance_uid="2.25.7"), "sources[0]"),
        (replace(two_nodules(), frame_of_reference_uid=""), "findings[0].center_mm"),
        (replace(two_nodules(), timestamp=two_nodules().timestamp.replace(tzinfo=None)), "timestamp"),
    ],
    ids=["no author", "another study", "no frame of reference", "no time zone"],
)
def test_unwritable_findings_name_the_place(report: Findings, place: str) -> None:
    with pytest.raises(UnwritableFindings) as caught:
        write_sr(report, ct())
    assert caught.value.place == place
    with pytest.raises(UnwritableFindings, match="no source image"):
        write_sr(two_nodules(), [])


def test_a_circle_keeps_its_shape_and_is_drawn_as_its_box() -> None:
    circle = Region(image=references()[3], graphic_type="CIRCLE", points=((40.0, 20.0), (43.0, 24.0)))
    numbered = (
        Measurement(concept=codes.DIAMETER, value=7.5, unit=codes.MILLIMETER),
        Measurement(concept=codes.LONG_AXIS, value=7.5, unit=codes.MILLIMETER),
    )
    dataset = write_sr(one(region=circle, measurements=numbered), ct())
    box = numbers(groups(dataset)[0])[0].ContentSequence[0].GraphicData
    assert list(box[:2]) == [35.0, 15.0]
    assert list(box[4:6]) == [45.0, 25.0]
    assert read(dataset).findings[0].region == circle
