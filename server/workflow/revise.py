"""A new version of a report by a person, whichever way it came: applied to the resources that it is a version of.

One way for all: an SR that names its predecessor (Predecessor Documents Sequence), stored by STOW-RS, C-STORE or the
page, becomes the next version of the same DiagnosticReport. What was decided follows from comparing both.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dicom_sr.fhir_elements import Instance
from dicom_sr.findings import Findings
from dicom_sr.revise import revised, says_the_same
from dicom_sr.segmented import segments
from server.errors import Gone, NotFound, PreconditionFailed
from server.repository import Transaction
from server.store import analyses, reviews
from server.store.analyses import Analysis
from server.store.database import Database, UnitOfWork
from server.telemetry import metrics
from server.workflow.publish import findings_of

Resource = dict[str, Any]

ACCEPTED, EDITED, REJECTED, ADDED = "accepted", "edited", "rejected", "added"
_SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"


@dataclass(frozen=True, kw_only=True, slots=True)
class Base:
    """What a new version builds on."""

    #: The version that it names as its predecessor.
    before: Analysis
    #: All versions so far, the first one first.
    versions: tuple[Findings, ...]
    #: Of the first version.
    first: Analysis
    #: Where the voxels of the newest version are; None where it has none.
    seg: Instance | None

    @property
    def report(self) -> str:
        """Id of the DiagnosticReport that all versions are of."""
        return self.before.report

    def resegments(self, findings: Findings) -> bool:
        """Whether a new version needs a SEG of its own: what its segments show is not what the SEG so far does."""
        now = segments(findings)
        return bool(now) and (self.seg is None or now != segments(self.versions[-1]))

    def segmentation(self, findings: Findings) -> Instance | None:
        """The SEG so far, for a version that needs none of its own; None where nothing has voxels any more."""
        return self.seg if segments(findings) else None


def predecessor(uow: UnitOfWork, tenant: int, instances: Sequence[str]) -> Analysis | None:
    """The analysis that a document's predecessors say, of the first that is known here."""
    found = (analyses.by_instance(uow, tenant, instance) for instance in instances)
    return next((one for one in found if one is not None), None)


def base(uow: UnitOfWork, tenant: int, before: Analysis) -> Base | None:
    """The versions up to ``before``; None where nothing was made of it that could have a next one."""
    chain = [before]
    while (key := chain[-1].predecessor) and (earlier := analyses.find(uow, tenant, key)) is not None:
        if earlier.report != before.report:
            break
        chain.append(earlier)
    versions = [found for one in reversed(chain) if (found := findings_of(one)) is not None]
    if not before.report or len(versions) != len(chain):
        return None
    uid = next((one.seg_instance for one in chain if one.seg_instance), "")
    seg = Instance(
        study_instance_uid=before.study, series_instance_uid="", sop_instance_uid=uid, sop_class_uid=_SEGMENTATION
    )
    kept = seg if uid and segments(versions[-1]) else None
    return Base(before=before, versions=tuple(versions), first=chain[-1], seg=kept)


def require_head(uow: UnitOfWork, tenant: int, on: Base, findings: Findings) -> None:
    """PreconditionFailed unless ``on`` is the newest version, and ``findings`` may take its place.

    Whoever asks holds the lock of the report (``lock``) until the version is written.
    """
    newest = analyses.head(uow, tenant, on.report)
    if newest is not None and newest.key != on.before.key:
        raise PreconditionFailed("Somebody else wrote a newer version of this report; go on from that one.")
    if on.versions[-1].verified and not findings.verified:
        raise PreconditionFailed("A version that nobody verified does not take the place of a verified one.")


def lock(uow: UnitOfWork, tenant: int, report: str) -> None:
    """Lets one person at a time write a version of a report, until the transaction ends."""
    uow.lock("review", tenant, report)


def write(
    transaction: Transaction, findings: Findings, on: Base, study: Resource, sr: Instance, seg: Instance | None
) -> str:
    """The FHIR resources of a new version, and what was decided; gives the report's id.

    ``seg`` is the SEG of what has voxels in it: one of its own, or that of the version before.
    """
    tenant = transaction.access.tenant
    resources = revised(
        findings,
        on.versions,
        lambda kind, id: _current(transaction, kind, id),
        subject=study["subject"],
        imaging_study={"reference": f"ImagingStudy/{study['id']}"},
        sr=sr,
        seg=seg,
        effective=str(study.get("started", "")),
    )
    for resource in resources:
        transaction.update(resource)
    analyses.published(
        transaction.uow, tenant, findings.key, sr_instance=sr.sop_instance_uid,
        seg_instance=seg.sop_instance_uid if seg is not None else "", report=on.report,
    )  # fmt: skip
    first = on.first
    judged = decisions(on.versions[0], findings) if on.versions[0].algorithm and findings.verified else {}
    reviews.record(transaction.uow, tenant, on.report, first.adapter, first.adapter_version, judged)
    return on.report


def decisions(first: Findings, last: Findings) -> Mapping[str, str]:
    """What people decided on each lesion (by Tracking UID), from what the program said and what stands now."""
    standing = {finding.tracking_uid: finding for finding in last.findings}
    decided = {
        finding.tracking_uid: REJECTED
        if finding.tracking_uid not in standing
        else ACCEPTED
        if says_the_same(standing[finding.tracking_uid], finding)
        else EDITED
        for finding in first.findings
    }
    return {**dict.fromkeys(standing, ADDED), **decided}


def measure(database: Database) -> None:
    """Brings the figures on what people decided up to date."""
    with database.reading() as uow:
        judged = reviews.shares(uow)
    for one in judged:
        names = {"adapter": one.adapter, "version": one.adapter_version}
        for decision in (ACCEPTED, EDITED, REJECTED, ADDED):
            metrics.reviewed_findings.labels(**names, decision=decision).set(getattr(one, decision))
        if one.accepted_share is not None:
            metrics.accepted_share.labels(**names).set(one.accepted_share)


def _current(transaction: Transaction, kind: str, id: str) -> Resource | None:
    try:
        return transaction.read(kind, id)
    except (NotFound, Gone):
        return None
