"""A person's version of a report and its segmentation fit each other, whichever way the version came."""

import shutil
import subprocess
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
from pydicom import Dataset
from pydicom.uid import SegmentationStorage

from dicom_sr import codes
from dicom_sr.content_item import sop_reference
from dicom_sr.findings import ImageReference
from dicom_sr.read import read
from dicom_sr.read_seg import read_seg
from dicom_sr.segmented import BALL
from dicom_sr.write_seg import write_seg
from dicom_sr.write_sr import write_sr
from server.fhir import instants
from server.workflow.images import StudyImages
from server.workflow.review import Change, Decisions, Place, Reviewer
from tests.workflow.conftest import ACCESS, House
from tests.workflow.test_review import DR_WANG, _larger, _second_opinion, current, documents, report, reviewer

__all__ = ["report", "reviewer"]


def segmentations(house: House) -> list[Dataset]:
    """In the order of their making."""
    places = [one for one in house.retrieve.locate(ACCESS) if one.sop_class == SegmentationStorage]
    found = [pydicom.dcmread(BytesIO(house.retrieve.file(ACCESS, place))) for place in places]
    return sorted(found, key=lambda one: (one.ContentDate, one.ContentTime))


def tracked(seg: Dataset) -> set[str]:
    return {str(item.TrackingUID) for item in seg.SegmentSequence}


def groups(house: House, report: str) -> list[dict[str, Any]]:
    results = current(house, report)["result"]
    return [house.repository.read(ACCESS, "Observation", one["reference"][12:]) for one in results]


def pictured(house: House, report: str) -> list[str | None]:
    """The SEG that each group of a report comes from."""
    found = []
    for group in groups(house, report):
        named = [one["identifier"]["value"] for one in group["derivedFrom"] if one.get("display") == "DICOM SEG"]
        found.append(named[0].removeprefix("urn:oid:") if named else None)
    return found


def test_what_is_accepted_as_it_stands_keeps_its_segmentation(house: House, reviewer: Reviewer, report: str) -> None:
    (first,) = segmentations(house)
    draft = reviewer.draft(DR_WANG, report)
    reviewer.decide(DR_WANG, report, DR_WANG.who, Decisions(if_match=draft.version))
    assert len(segmentations(house)) == 1
    assert set(pictured(house, report)) == {str(first.SOPInstanceUID)}


def test_edited_rejected_and_added_are_segmented_anew(
    house: House, reviewer: Reviewer, report: str, tmp_path: Path
) -> None:
    (first,) = segmentations(house)
    draft = reviewer.draft(DR_WANG, report)
    kept, dropped = draft.findings.findings[:2]
    middle = draft.images[len(draft.images) // 2]
    size = {codes.LONG_AXIS: 9.0, codes.SHORT_AXIS: 9.0}
    place = Place(instance=middle[1], column=60.0, row=70.0)
    decisions = Decisions(
        if_match=draft.version, rejected={dropped.tracking_uid: ""}, changed={kept.tracking_uid: Change(numbers=size)},
        added=(Change(finding=codes.NODULE, numbers=size, place=place),),
    )  # fmt: skip
    reviewer.decide(DR_WANG, report, DR_WANG.who, decisions)
    house.settle()
    second = segmentations(house)[-1]
    assert second.SOPInstanceUID != first.SOPInstanceUID
    newest = next(one for one in map(read, documents(house)) if one.verified)
    assert tracked(second) == {one.tracking_uid for one in newest.findings}
    by_lesion = {str(one.TrackingUID): one for one in second.SegmentSequence}
    assert by_lesion[kept.tracking_uid].SegmentAlgorithmName == BALL
    assert str(second.ContentCreatorName) == "Wang^Fang"
    assert "Verified" in second.SeriesDescription
    # The program contributed at the time at which it did, not when the person signed.
    assert second.ContributingEquipmentSequence == first.ContributingEquipmentSequence
    assert set(pictured(house, report)) == {str(second.SOPInstanceUID)}
    for one in read_seg(second, newest).findings:
        assert one.mask is not None
    path = tmp_path / "second.dcm"
    second.save_as(path, enforce_file_format=True)
    program = shutil.which("dciodvfy")
    assert program, "dicom3tools must be here"
    checked = subprocess.run([program, str(path)], capture_output=True, text=True)
    assert [line for line in (checked.stdout + checked.stderr).splitlines() if line.startswith("Error")] == []
    # Both went to the peer that gets results, and nothing was analysed or read again for them.
    assert len(house.search("Task", code="run-adapter")) == 1
    assert house.settle() == []


def test_when_all_is_rejected_no_segmentation_is_referred_to(house: House, reviewer: Reviewer, report: str) -> None:
    draft = reviewer.draft(DR_WANG, report)
    everything = {one.tracking_uid: "" for one in draft.findings.findings}
    reviewer.decide(DR_WANG, report, DR_WANG.who, Decisions(if_match=draft.version, rejected=everything))
    assert len(segmentations(house)) == 1
    assert pictured(house, report) == [None]
    again = reviewer.draft(DR_WANG, report)
    reviewer.decide(DR_WANG, report, DR_WANG.who, Decisions(if_match=again.version))
    assert pictured(house, report) == [None]


def test_a_workstations_version_gets_one_too(house: House, report: str) -> None:
    (document,), (first,) = documents(house), segmentations(house)
    _second_opinion(house, document, [document], _larger)
    house.settle()
    second = segmentations(house)[-1]
    assert second.SOPInstanceUID != first.SOPInstanceUID
    assert set(pictured(house, report)) == {str(second.SOPInstanceUID)}
    assert sorted(item.SegmentAlgorithmType for item in second.SegmentSequence)[-1] == "SEMIAUTOMATIC"


def test_a_segmentation_that_a_workstation_sends_with_it_is_taken(house: House, report: str) -> None:
    (document,), (first,) = documents(house), segmentations(house)
    was = read_seg(first, read(document))
    sources = StudyImages.of(house.retrieve, ACCESS, was.study_instance_uid)
    headers = sources.of_series(source.sop_instance_uid for source in was.sources)
    one = was.findings[0]
    assert one.mask is not None
    drawn = replace(one, mask=replace(one.mask, origin=(0, 0, 0)), by_person=True)
    found = _larger((drawn, *was.findings[1:]))
    said = replace(
        was, key="f" * 64, findings=found, algorithm=None, person="Zhao^Min", verified=True, timestamp=instants.now()
    )
    seg = write_seg(said, headers, uid_root="1.2.3.99")
    assert seg is not None
    theirs = write_sr(said, headers, uid_root="1.2.3.99", predecessor=document)
    own = ImageReference(
        sop_class_uid=SegmentationStorage, sop_instance_uid=seg.SOPInstanceUID,
        series_instance_uid=seg.SeriesInstanceUID,
    )  # fmt: skip
    series = Dataset()
    series.SeriesInstanceUID, series.ReferencedSOPSequence = seg.SeriesInstanceUID, [sop_reference(own)]
    theirs.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence.append(series)
    assert house.receive([seg, theirs]).refused == []
    house.settle()
    assert len(segmentations(house)) == 2, "none of ours beside theirs"
    assert set(pictured(house, report)) == {str(seg.SOPInstanceUID)}


def test_somebody_elses_report_brings_its_segmentation(house: House, reviewer: Reviewer, report: str) -> None:
    """The same by another maker: report and voxels, tied by Tracking UID alone."""
    (document,), (first,) = documents(house), segmentations(house)
    was = read_seg(first, read(document))
    images = StudyImages.of(house.retrieve, ACCESS, was.study_instance_uid)
    headers = images.of_series(source.sop_instance_uid for source in was.sources)
    assert was.algorithm is not None
    found = tuple(replace(one, tracking_uid=f"{one.tracking_uid}7") for one in was.findings)
    other = replace(
        was, key="e" * 64, findings=found, algorithm=replace(was.algorithm, name="Other CAD", device_uid="2.25.777")
    )
    seg = write_seg(other, headers, uid_root="1.2.3.98")
    assert seg is not None
    house.receive([seg, write_sr(other, headers, uid_root="1.2.3.98")])
    house.settle()
    theirs = next(one for one in house.search("DiagnosticReport") if one["id"] != report)
    assert set(pictured(house, str(theirs["id"]))) == {str(seg.SOPInstanceUID)}
    draft = reviewer.draft(DR_WANG, str(theirs["id"]))
    assert all(one.mask is not None for one in draft.findings.findings)
