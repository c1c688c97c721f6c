"""Somebody else's structured report as FHIR: read, kept as Findings, written by the same code as our own results."""

import logging
from dataclasses import dataclass, replace

from pydicom import Dataset
from pydicom.uid import SegmentationStorage

from dicom_sr.errors import ReportError
from dicom_sr.fhir_elements import Instance
from dicom_sr.findings import Findings, ImageReference
from dicom_sr.geometry import plane
from dicom_sr.read import predecessors, read
from dicom_sr.read_seg import read_seg
from dicom_sr.revise import inherited
from dicom_sr.segmented import segmented
from dicom_sr.serialise import serialise
from server.errors import PreconditionFailed, Unavailable
from server.imaging.retrieve import Retrieve
from server.repository import Repository, Transaction
from server.security.access import system
from server.store import analyses
from server.store.database import Database, UnitOfWork
from server.workflow import revise, workitem_task
from server.workflow.comparison import compare_later
from server.workflow.images import StudyImages
from server.workflow.publish import Publisher, findings_of, instance_of
from server.workflow.revise import Base

#: The job that an unknown report causes; its arguments are ``tenant``, ``study``, ``imaging_study`` and ``instance``.
SR_RECEIVED = "sr-received"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ReportReader:
    """Everything that reading reports needs."""

    database: Database
    repository: Repository
    retrieve: Retrieve
    publisher: Publisher
    uid_root: str

    def run(self, tenant: int, study: str, imaging_study: str, instance: str) -> None:
        """Makes FHIR of one SR, once; a document that holds no measurement report is noted and left alone."""
        images = StudyImages.of(self.retrieve, system(tenant), study)
        place = next((one for one in images.located if one.instance == instance), None)
        if place is None:
            return
        dataset = images.whole(place)
        try:
            findings = read(dataset, images=images.headers(), uid_root=self.uid_root)
            serialise(findings)
        except ReportError as error:
            _log.info("the structured report %s is not read: %s", instance, error)
            self._note_unread(tenant, study, instance)
            return
        with self.database.unit_of_work() as uow:
            if analyses.known_reports(uow, tenant, [instance]):
                analysis = analyses.find(uow, tenant, findings.key)
                if analysis is None or analysis.is_published or analysis.task:
                    return
            on = self._base(uow, tenant, dataset, findings, images)
            findings, _ = own_segments(images, dataset, findings, alone=on is None)
            if on is not None:
                findings = segmented(inherited(findings, on.versions[-1]), images.headers())
            _claim(uow, tenant, study, findings, on)
            analyses.found(uow, tenant, findings.key, serialise(findings), sr_instance=instance)
        if on is None:
            self._publish(tenant, imaging_study, findings.key, dataset, images)
        else:
            self._revise(tenant, imaging_study, findings.key, dataset, images)

    def _base(
        self, uow: UnitOfWork, tenant: int, dataset: Dataset, findings: Findings, images: StudyImages
    ) -> Base | None:
        """What a person's document is the next version of; None for one that stands alone."""
        instances = predecessors(dataset)
        if findings.person is None or not instances:
            return None
        before = revise.predecessor(uow, tenant, instances)
        if before is None or not before.is_published:
            if before is not None or any(place.instance in instances for place in images.located):
                raise Unavailable("The version before is not read yet; try again.")
            return None
        return revise.base(uow, tenant, before)

    def _revise(self, tenant: int, imaging_study: str, key: str, dataset: Dataset, images: StudyImages) -> None:
        """Applies a person's version; one that was overtaken stays a document that nothing follows from."""
        sr = instance_of(dataset)
        with self.repository.transaction(system(tenant)) as transaction:
            analysis = analyses.find(transaction.uow, tenant, key)
            findings = findings_of(analysis)
            if analysis is None or findings is None or analysis.is_published:
                return
            before = analyses.find(transaction.uow, tenant, analysis.predecessor)
            on = revise.base(transaction.uow, tenant, before) if before is not None else None
            if on is None:
                raise Unavailable("The version before is gone; try again.")
            revise.lock(transaction.uow, tenant, on.report)
            try:
                revise.require_head(transaction.uow, tenant, on, findings)
            except PreconditionFailed as error:
                _log.warning("the structured report %s is not applied: %s", sr.sop_instance_uid, error.details)
                analyses.set_aside(transaction.uow, tenant, key)
                return
            study = transaction.read("ImagingStudy", imaging_study)
            seg = self._segmentation(transaction, findings, on, dataset, images)
            report = revise.write(transaction, findings, on, study, sr, seg)
            compare_later(transaction.uow, tenant, findings.study_instance_uid)
            workitem_task.reported(transaction, sr.sop_instance_uid, report)
        revise.measure(self.database)

    def _segmentation(
        self, transaction: Transaction, findings: Findings, on: Base, dataset: Dataset, images: StudyImages
    ) -> Instance | None:
        """Where the voxels of a person's version are: in a SEG that came with it, the one so far, or one made here."""
        _, own = own_segments(images, dataset, findings, alone=False)
        if own is not None or not on.resegments(findings):
            return own or on.segmentation(findings)
        sources = images.of_series(source.sop_instance_uid for source in findings.sources)
        tenant = transaction.access.tenant
        try:
            made = self.publisher.store_segments(tenant, findings, sources, dataset)
        except ReportError as error:
            _log.info("no segmentation fits the structured report %s: %s", dataset.SOPInstanceUID, error)
            return None
        if made is None:
            return None
        self.publisher.send_on(transaction, on.before.study, [str(made.SOPInstanceUID)])
        return instance_of(made)

    def _publish(self, tenant: int, imaging_study: str, key: str, dataset: Dataset, images: StudyImages) -> None:
        with self.repository.transaction(system(tenant)) as transaction:
            analysis = analyses.find(transaction.uow, tenant, key)
            findings = findings_of(analysis)
            if analysis is None or findings is None or analysis.is_published:
                return
            study = transaction.read("ImagingStudy", imaging_study)
            sr = instance_of(dataset)
            name = findings.algorithm.name if findings.algorithm is not None else ""
            _, seg = own_segments(images, dataset, findings, alone=True)
            written = self.publisher.resources(transaction, findings, study, sr, seg, name=name)
            analyses.published(
                transaction.uow, tenant, key, sr_instance=sr.sop_instance_uid,
                seg_instance=seg.sop_instance_uid if seg is not None else "", report=written.report,
            )  # fmt: skip
            compare_later(transaction.uow, tenant, findings.study_instance_uid)
            workitem_task.reported(transaction, sr.sop_instance_uid, written.report)

    def _note_unread(self, tenant: int, study: str, instance: str) -> None:
        with self.database.unit_of_work() as uow:
            analyses.claim(uow, tenant, instance, study=study, adapter="", adapter_version="")
            analyses.published(uow, tenant, instance, sr_instance=instance, seg_instance="", report="")


def own_segments(
    images: StudyImages, document: Dataset, findings: Findings, *, alone: bool
) -> tuple[Findings, Instance | None]:
    """The findings with the voxels of a SEG of theirs, and where it is.

    The document names it as evidence; where it stands ``alone``, a SEG that tracks the same lesions is theirs too.
    """
    named = {
        str(instance.get("ReferencedSOPInstanceUID", ""))
        for study in document.get("CurrentRequestedProcedureEvidenceSequence", ())
        for series in study.get("ReferencedSeriesSequence", ())
        for instance in series.get("ReferencedSOPSequence", ())
    }
    segmentations = [one for one in images.located if one.sop_class == SegmentationStorage]
    there = [one for one in segmentations if alone or one.instance in named]
    whole = replace(findings, sources=_whole_series(images, findings)) if there else findings
    for place in there:
        dataset = images.whole(place)
        try:
            found = read_seg(dataset, whole)
        except ReportError as error:
            _log.info("the segmentation %s is not read: %s", place.instance, error)
            continue
        if any(one.mask is not None for one in found.findings):
            return found, instance_of(dataset)
    return findings, None


def _whole_series(images: StudyImages, findings: Findings) -> tuple[ImageReference, ...]:
    """The images of the series reported on, in the volume's order: a document may name some, in any order."""
    seen = {source.sop_instance_uid for source in findings.sources}
    named = [str(one.SeriesInstanceUID) for one in images.headers() if str(one.SOPInstanceUID) in seen]
    series = max(set(named), key=named.count, default="")
    planes = [(one, plane(one)) for one in images.headers() if str(one.SeriesInstanceUID) == series]
    placed = [(float(at.position @ at.normal), one) for one, at in planes if at is not None]
    if len(placed) < max(len(planes), 1):
        return findings.sources
    return tuple(
        ImageReference(
            sop_class_uid=str(one.SOPClassUID), sop_instance_uid=str(one.SOPInstanceUID),
            series_instance_uid=str(one.SeriesInstanceUID),
        )
        for _, one in sorted(placed, key=lambda pair: pair[0])
    )  # fmt: skip


def _claim(uow: UnitOfWork, tenant: int, study: str, findings: Findings, on: Base | None) -> None:
    if on is not None:
        first = on.first
        analyses.claim(
            uow, tenant, findings.key, study=study, adapter=first.adapter, adapter_version=first.adapter_version,
            predecessor=on.before.key,
        )  # fmt: skip
        return
    algorithm = findings.algorithm
    name, version = (algorithm.name, algorithm.version) if algorithm is not None else ("", "")
    analyses.claim(uow, tenant, findings.key, study=study, adapter=name, adapter_version=version)
