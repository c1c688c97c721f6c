"""A Findings as a Comprehensive 3D SR: PS3.3 A.35.13, content by TID 1500."""

from collections.abc import Sequence

from pydicom import Dataset
from pydicom.uid import Comprehensive3DSRStorage

from dicom_sr.content_item import code_item
from dicom_sr.errors import UnwritableFindings
from dicom_sr.findings import Findings, ImageReference
from dicom_sr.headers import (
    declare_coding_schemes,
    dicom_datetime,
    equipment,
    evidence,
    new_instance,
    patient_and_study,
    series,
    source_of,
    stamp,
)
from dicom_sr.identity import sr_uid, uid
from dicom_sr.measurement_report import content


def write_sr(
    findings: Findings,
    sources: Sequence[Dataset],
    *,
    uid_root: str = "2.25",
    sop_instance_uid: str | None = None,
    series_instance_uid: str | None = None,
    series_number: int = 9001,
    predecessor: Dataset | None = None,
    organization: str = "",
) -> Dataset:
    """The report of one analysis, always the same for the same Findings.

    ``sources`` are the images read (headers suffice; the first gives patient and study), ``predecessor`` the SR that
    this one supersedes, ``organization`` the one that a verifying person answers for. Coordinates are kept to single
    precision (FL), numbers and times exactly. Raises UnwritableFindings with the place.
    """
    images = source_of(findings, sources)
    dataset = new_instance(Comprehensive3DSRStorage, sop_instance_uid or sr_uid(uid_root, findings.key))
    first = sources[0]
    patient_and_study(dataset, first)
    stamp(dataset, first, findings.timestamp)
    equipment(dataset, findings, predecessor)
    author = "Verified" if findings.verified else "AI"
    series(dataset, "SR", series_instance_uid or uid(uid_root, "sr-series", findings.key), series_number, author)
    _document(dataset, findings, predecessor)
    _verification(dataset, findings, organization)
    dataset.update(content(findings, images))
    if findings.algorithm is None or findings.verified:
        # An algorithm's contribution has its own time with offset; a person's report has it here (C.17.3).
        dataset.ObservationDateTime = dicom_datetime(findings.timestamp)
    declare_coding_schemes(dataset)
    return dataset


def _document(dataset: Dataset, findings: Findings, predecessor: Dataset | None) -> None:
    """SR Document Series and General: PS3.3 C.17.1, C.17.2."""
    dataset.ReferencedPerformedProcedureStepSequence = []
    dataset.PerformedProcedureCodeSequence = [code_item(findings.procedure)] if findings.procedure else []
    dataset.CompletionFlag = "COMPLETE"
    dataset.PreliminaryFlag = "PRELIMINARY" if findings.algorithm and not findings.verified else "FINAL"
    seen = [*findings.sources, *_drawn_on(findings)]
    if seen:
        dataset.CurrentRequestedProcedureEvidenceSequence = [evidence(findings.study_instance_uid, seen)]
    if predecessor is not None:
        reference = ImageReference(
            sop_class_uid=predecessor.SOPClassUID,
            sop_instance_uid=predecessor.SOPInstanceUID,
            series_instance_uid=predecessor.SeriesInstanceUID,
        )
        item = evidence(predecessor.StudyInstanceUID, [reference])
        dataset.PredecessorDocumentsSequence = [item]


def _verification(dataset: Dataset, findings: Findings, organization: str) -> None:
    """Who answers for it: PS3.3 C.17.2, Verification Flag and Verifying Observer Sequence."""
    dataset.VerificationFlag = "VERIFIED" if findings.verified else "UNVERIFIED"
    if not findings.verified:
        return
    if findings.person is None:
        raise UnwritableFindings("verified by nobody: a verified report names the person", place="person")
    observer = Dataset()
    observer.VerifyingOrganization = organization[:64] or "not stated"
    observer.VerificationDateTime = dicom_datetime(findings.timestamp)
    observer.VerifyingObserverName = findings.person
    observer.VerifyingObserverIdentificationCodeSequence = []
    dataset.VerifyingObserverSequence = [observer]


def _drawn_on(findings: Findings) -> list[ImageReference]:
    regions = [finding.region for finding in findings.findings]
    regions += [measurement.region for finding in findings.findings for measurement in finding.measurements]
    return [region.image for region in regions if region is not None]
