"""A person's decisions on a report: accepted, rejected, edited, added; written as its next version.

The version is an SR that names its predecessor and the person (PS3.3 C.17.2), stored by the door for instances; the
FHIR resources follow from it by the code that reads such an SR from anybody else.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from pydicom import Dataset

from dicom_sr.edit import Edit, Spot, added, edited
from dicom_sr.errors import ReportError
from dicom_sr.findings import Finding, Findings, ImageReference
from dicom_sr.geometry import nearest, plane
from dicom_sr.identity import uid
from dicom_sr.person_name import in_words
from dicom_sr.revise import inherited
from dicom_sr.segmented import segmented
from dicom_sr.serialise import serialise
from server.errors import BadRequest, NotFound, PreconditionFailed, Unprocessable
from server.fhir import instants
from server.imaging.retrieve import Retrieve
from server.repository import Repository
from server.security.access import Access
from server.store import analyses
from server.store.database import Database
from server.workflow import revise
from server.workflow.comparison import compare_later
from server.workflow.images import StudyImages
from server.workflow.publish import Publisher, instance_of
from server.workflow.revise import Base
from terminology.codings import Coding

Resource = dict[str, Any]

#: Findings that one form may add.
MOST_ADDED = 50
_LONGEST_NAME = 64
#: A body is not larger, and no length or volume (mm, mm3) of one is.
_LARGEST = 1e8


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a person pointed: SCOORD (column, row) on an image."""

    instance: str
    column: float
    row: float


@dataclass(frozen=True, kw_only=True)
class Change:
    """What a person wants a finding to be; what is not named stays."""

    finding: Coding | None = None
    site: Coding | None = None
    laterality: Coding | None = None
    qualities: Mapping[Coding, Coding] = field(default_factory=dict)
    numbers: Mapping[Coding, float] = field(default_factory=dict)
    place: Place | None = None


@dataclass(frozen=True, kw_only=True)
class Decisions:
    """Everything that a person decided at once; findings that are not named are accepted as they stand."""

    #: versionId of the DiagnosticReport that the person saw.
    if_match: str
    #: Tracking UID -> why, which may be empty.
    rejected: Mapping[str, str] = field(default_factory=dict)
    #: By Tracking UID.
    changed: Mapping[str, Change] = field(default_factory=dict)
    added: tuple[Change, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A report as a person goes over it."""

    report: str
    #: versionId of the DiagnosticReport.
    version: str
    status: str
    study: str
    findings: Findings
    #: The images, in the volume's order: (series, instance, rows, columns).
    images: tuple[tuple[str, str, int, int], ...]


@dataclass(frozen=True, kw_only=True)
class Reviewer:
    """Everything that deciding needs."""

    database: Database
    repository: Repository
    retrieve: Retrieve
    publisher: Publisher
    uid_root: str

    def draft(self, access: Access, report: str) -> Draft:
        """The newest version of a report, to be decided on; NotFound where none can be."""
        resource = self.repository.read(access, "DiagnosticReport", report)
        on = self._base(access, report)
        findings = on.versions[-1]
        images = self._images(access, on)
        return Draft(
            report=report,
            version=resource["meta"]["versionId"],
            status=resource["status"],
            study=on.before.study,
            findings=findings,
            images=tuple(
                (str(one.SeriesInstanceUID), str(one.SOPInstanceUID), int(one.Rows), int(one.Columns))
                for one in images.values()
            ),
        )

    def decide(self, access: Access, report: str, person: str, decisions: Decisions) -> None:
        """Writes the next version; PreconditionFailed where it is not the one that the person saw any more."""
        access.require("write")
        name = _name(person)
        with self.database.unit_of_work() as alone:
            # The transaction only holds the lock: whoever comes second is told before anything of theirs is stored.
            revise.lock(alone, access.tenant, report)
            current = self.repository.read(access, "DiagnosticReport", report)
            if current["meta"]["versionId"] != decisions.if_match:
                raise PreconditionFailed(
                    "Somebody else changed this report since it was shown; look at what is new and decide again.",
                    expression="if_match",
                )
            on = self._base(access, report)
            headers = self._images(access, on)
            findings = self._next(on, headers, name, decisions, instants.now())
            self._store(access, on, findings, headers, current)
        revise.measure(self.database)

    def _base(self, access: Access, report: str) -> Base:
        with self.database.reading() as uow:
            newest = analyses.head(uow, access.tenant, report)
            on = revise.base(uow, access.tenant, newest) if newest is not None else None
        if on is None:
            raise NotFound(f"There is no structured report behind DiagnosticReport/{report}; nothing to decide on.")
        return on

    def _images(self, access: Access, on: Base) -> dict[str, Dataset]:
        """Headers of the images reported on, in the volume's order."""
        images = StudyImages.of(self.retrieve, access, on.before.study)
        wanted = [source.sop_instance_uid for source in _sources(on.versions[-1])]
        headers = {str(one.SOPInstanceUID): one for one in images.of_series(wanted)}
        return {instance: headers[instance] for instance in wanted if instance in headers}

    def _next(
        self, on: Base, headers: Mapping[str, Dataset], person: str, decisions: Decisions, moment: datetime
    ) -> Findings:
        before = on.versions[-1]
        _known(before, decisions)
        found: list[Finding] = []
        comments = list(before.comments)
        for finding in before.findings:
            uid_ = finding.tracking_uid
            if uid_ in decisions.rejected:
                reason = decisions.rejected[uid_].strip()
                comments.append(": ".join(filter(None, [f"Rejected by {in_words(person)}", _called(finding), reason])))
            elif uid_ in decisions.changed:
                edit = _edit(before, decisions.changed[uid_], headers)
                found.append(edited(finding, edit, _spot(before, finding, headers)))
            else:
                found.append(finding)
        new = replace(
            before, findings=tuple(found), comments=tuple(comments), timestamp=moment, person=person, verified=True
        )
        key = hashlib.sha256(serialise(new) + repr(decisions.added).encode()).hexdigest()
        for index, change in enumerate(decisions.added):
            edit = _edit(before, change, headers)
            if edit.spot is None or edit.finding is None:
                raise Unprocessable("A finding that is added needs a kind and a place on an image.", expression="added")
            tracking = uid(self.uid_root, "lesion", key, str(index))
            found.append(added(edit, tracking_id=_free(found, index), tracking_uid=tracking))
        return segmented(inherited(replace(new, key=key, findings=tuple(found)), before), list(headers.values()))

    def _store(
        self, access: Access, on: Base, findings: Findings, headers: Mapping[str, Dataset], current: Resource
    ) -> None:
        study = self._study(access, current)
        try:
            images = StudyImages.of(self.retrieve, access, on.before.study)
            written = self.publisher.store_version(
                access, findings, images, list(headers.values()), on.before, resegment=on.resegments(findings)
            )
        except ReportError as error:
            raise Unprocessable(f"No sound report can be made of this: {error}") from error
        instances = [instance_of(one) for one in written]
        sr, seg = instances[0], instances[1] if len(instances) > 1 else on.segmentation(findings)
        with self.repository.transaction(access) as transaction:
            analyses.claim(
                transaction.uow, access.tenant, findings.key, study=on.before.study, adapter=on.first.adapter,
                adapter_version=on.first.adapter_version, predecessor=on.before.key,
            )  # fmt: skip
            body = serialise(findings)
            analyses.found(transaction.uow, access.tenant, findings.key, body, sr_instance=sr.sop_instance_uid)
            revise.require_head(transaction.uow, access.tenant, on, findings)
            revise.write(transaction, findings, on, study, sr, seg)
            sent = [one.sop_instance_uid for one in instances]
            self.publisher.send_on(transaction, on.before.study, sent)
            compare_later(transaction.uow, access.tenant, on.before.study)

    def _study(self, access: Access, report: Resource) -> Resource:
        for reference in report.get("imagingStudy", ()):
            return self.repository.read(access, "ImagingStudy", str(reference["reference"]).rpartition("/")[2])
        raise NotFound("The report names no ImagingStudy.")


def _name(person: str) -> str:
    """A DICOM person name (PS3.5 6.2.1) from what a person is called here."""
    name = " ".join(person.replace("\\", " ").split())
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise BadRequest("A report is verified by name: 1 to 64 characters.", expression="person")
    return name


def _sources(findings: Findings) -> list[ImageReference]:
    """The images read, or where a report names none, those that it draws on."""
    drawn = [finding.region.image for finding in findings.findings if finding.region is not None]
    return list(findings.sources) or drawn


def _known(findings: Findings, decisions: Decisions) -> None:
    uids = {finding.tracking_uid for finding in findings.findings}
    if unknown := (decisions.rejected.keys() | decisions.changed.keys()) - uids:
        raise BadRequest(f"This version of the report has no finding {min(unknown)}.", expression="tracking_uid")
    if len(decisions.added) > MOST_ADDED:
        raise BadRequest(f"At most {MOST_ADDED} findings are added at once.", expression="added")


def _edit(findings: Findings, change: Change, headers: Mapping[str, Dataset]) -> Edit:
    if any(not 0 < value < _LARGEST for value in change.numbers.values()):
        raise Unprocessable("A measurement is a number above 0.", expression="numbers")
    return Edit(
        finding=change.finding,
        site=change.site,
        laterality=change.laterality,
        qualities=change.qualities,
        numbers=change.numbers,
        spot=_pointed(findings, change.place, headers) if change.place else None,
    )


def _pointed(findings: Findings, place: Place, headers: Mapping[str, Dataset]) -> Spot:
    image = next((one for one in _sources(findings) if one.sop_instance_uid == place.instance), None)
    at = plane(headers[place.instance], image.frame_number) if image and place.instance in headers else None
    if image is None or at is None or not findings.frame_of_reference_uid:
        raise Unprocessable("That image is not one that the report was made from.", expression="place")
    if not (0 <= place.column <= at.columns and 0 <= place.row <= at.rows):
        raise Unprocessable("That place is not on the image.", expression="place")
    return Spot(image=image, plane=at, column=place.column, row=place.row)


def _spot(findings: Findings, finding: Finding, headers: Mapping[str, Dataset]) -> Spot | None:
    """Where a finding lies now."""
    if finding.center_mm is None:
        return None
    sources = [one for one in _sources(findings) if one.sop_instance_uid in headers]
    planes = [plane(headers[one.sop_instance_uid], one.frame_number) for one in sources]
    index = nearest(finding.center_mm, planes)
    at = planes[index] if index is not None else None
    if index is None or at is None:
        return None
    column, row = at.to_pixel(finding.center_mm)
    return Spot(image=sources[index], plane=at, column=round(column, 2), row=round(row, 2))


def _called(finding: Finding) -> str:
    return f"{finding.tracking_id} ({finding.tracking_uid})"


def _free(found: list[Finding], index: int) -> str:
    taken = {finding.tracking_id for finding in found}
    number = index + 1
    while f"Added {number}" in taken:
        number += 1
    return f"Added {number}"
