"""What a person sees of the work: studies as they arrive, the state of each analysis, findings and what followed.

Reads only. FHIR comes through the repository's door with the caller's own Access; nothing here knows a pathway: what
stands in the Observations, CarePlans and ServiceRequests that refer to a result is shown as it is.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from dicom_sr import codes
from dicom_sr.findings import Finding, Findings, Region
from dicom_sr.identity import resource_id
from dicom_sr.serialise import deserialise
from server.fhir import json_format
from server.repository import Repository
from server.security.access import Access
from server.store import results, reviews
from server.store.database import Database
from server.store.results import AnalysisRow, Arrival
from server.workflow.result_view import (
    AnalysisView,
    FindingView,
    Graphic,
    KeySlice,
    Label,
    Reference,
    StudyDetail,
    StudyView,
)
from terminology.codings import Coding

__all__ = ["LISTED", "Label", "Results"]

Resource = dict[str, Any]

#: Studies in the list; older ones are found by QIDO-RS and FHIR.
LISTED = 30
#: Findings kept in memory, so that a page that looks every second costs little.
_REMEMBERED = 100
#: Modalities of what is written about images (PS3.3 C.7.3.1.1.1).
_DOCUMENTS = ("SR", "SEG", "DOC", "PR", "KO")


class Results:
    """The use case behind the results page."""

    def __init__(
        self, database: Database, repository: Repository, *, labels: Mapping[str, Label], study_quiet: float
    ) -> None:
        """``labels``: by the name of the adapter; ``study_quiet`` as in the settings, seconds."""
        self._database = database
        self._repository = repository
        self._labels = labels
        self._study_quiet = study_quiet
        self._memory: dict[tuple[int, str], Findings] = {}

    def studies(self, access: Access, limit: int = LISTED) -> tuple[StudyView, ...]:
        """The studies that grew last, newest first."""
        access.require("read")
        with self._database.reading() as uow:
            arrivals = results.arrivals(uow, access.tenant, limit)
        return self._views(access, arrivals)

    def study(self, access: Access, study: str) -> StudyDetail | None:
        """Everything about one study; None if it is not here."""
        access.require("read")
        with self._database.reading() as uow:
            arrivals = results.arrivals(uow, access.tenant, 1, study)
            rows = results.analyses_of(uow, access.tenant, [study]).get(study, [])
            judged = reviews.shares(uow, access.tenant)
            documents = results.documents_of(uow, access.tenant, study, _DOCUMENTS)
        if not arrivals:
            return None
        view = self._views(access, arrivals)[0]
        standing = _standing(rows)
        kept = self._kept(access.tenant, standing)
        patient = f"Patient/{view.arrival.patient}"
        first = _first_keys(rows)
        findings = self.views(access, [(first[key], found) for key, found in kept.items()], patient)
        consequences = self._consequences(access, view, patient)
        return StudyDetail(
            study=view,
            findings=findings,
            consequences=consequences,
            documents=documents,
            shares=tuple(one for one in judged if (one.adapter, one.adapter_version) in _models(rows)),
            references=_references(view, findings, (*consequences, *self._provenance(access, view)), patient),
        )

    def _kept(self, tenant: int, rows: Iterable[AnalysisRow]) -> dict[str, Findings]:
        """Key -> Findings; they never change once committed, so each is read from the database once."""
        wanted = [row.key for row in rows if row.found is not None]
        missing = [key for key in wanted if (tenant, key) not in self._memory]
        if missing:
            with self._database.reading() as uow:
                bodies = results.findings_of(uow, tenant, missing)
            self._memory.update({(tenant, key): deserialise(body) for key, body in bodies.items()})
        kept = {key: found for key in wanted if (found := self._memory.get((tenant, key))) is not None}
        for oldest in list(self._memory)[:-_REMEMBERED]:
            self._memory.pop(oldest, None)
        return kept

    def _views(self, access: Access, arrivals: Sequence[Arrival]) -> tuple[StudyView, ...]:
        uids = [arrival.study for arrival in arrivals]
        if not uids:
            return ()
        with self._database.reading() as uow:
            rows = results.analyses_of(uow, access.tenant, uids)
        every = [row for several in rows.values() for row in several]
        kept = self._kept(access.tenant, every)
        reports = self._reports(access, every)
        studies = self._imaging_studies(access, uids)
        tasks = self._tasks(access, list(studies.values()))
        now = datetime.now(UTC)
        views = []
        for arrival in arrivals:
            reference = studies.get(arrival.study, "")
            of_study = rows.get(arrival.study, [])
            quiet = self._study_quiet - (now - arrival.last_seen).total_seconds()
            views.append(
                StudyView(
                    arrival=arrival,
                    quiet_left=0.0 if arrival.complete else max(0.0, quiet),
                    imaging_study=reference,
                    analyses=(
                        *(self._analysis(task, of_study, kept, reports) for task in tasks.get(reference, [])),
                        *(_received(row, kept, reports) for row in _standing(of_study) if not row.task and row.found),
                    ),
                )
            )
        return tuple(views)

    def _search(self, access: Access, resource_type: str, *parameters: tuple[str, str]) -> list[Resource]:
        found = self._repository.search(access, resource_type, [*parameters, ("_count", "200")])
        return [json_format.parse(stored.body) for stored in found.matches]

    def _imaging_studies(self, access: Access, uids: Sequence[str]) -> dict[str, str]:
        """StudyInstanceUID -> reference of its ImagingStudy."""
        wanted = ",".join(f"urn:dicom:uid|urn:oid:{uid}" for uid in uids)
        return {
            identifier["value"].removeprefix("urn:oid:"): f"ImagingStudy/{study['id']}"
            for study in self._search(access, "ImagingStudy", ("identifier", wanted))
            for identifier in study.get("identifier", [])
            if identifier.get("system") == "urn:dicom:uid"
        }

    def _tasks(self, access: Access, studies: Sequence[str]) -> dict[str, list[Resource]]:
        """ImagingStudy -> the Tasks on it, newest first."""
        found: dict[str, list[Resource]] = {}
        if studies:
            tasks = self._search(access, "Task", ("focus", ",".join(studies)))
            for task in sorted(tasks, key=_asked, reverse=True):
                found.setdefault(task.get("focus", {}).get("reference", ""), []).append(task)
        return found

    def _reports(self, access: Access, rows: Sequence[AnalysisRow]) -> dict[str, Resource]:
        """Id -> DiagnosticReport of every analysis that has one."""
        ids = [row.report.rpartition("/")[2] for row in rows if row.report]
        return (
            {one["id"]: one for one in self._search(access, "DiagnosticReport", ("_id", ",".join(ids)))} if ids else {}
        )

    def _analysis(
        self,
        task: Resource,
        rows: Sequence[AnalysisRow],
        kept: Mapping[str, Findings],
        reports: Mapping[str, Resource],
    ) -> AnalysisView:
        row = next((one for one in rows if one.task.rpartition("/")[2] == task["id"]), None)
        adapter = row.adapter if row else _input(task, "adapter")
        label = self._labels.get(adapter, Label(title=adapter, intended_use=""))
        report = reports.get(row.report.rpartition("/")[2]) if row else None
        holds = row is None or row in _standing(rows)
        return AnalysisView(
            task=f"Task/{task['id']}",
            adapter=adapter,
            title=label.title,
            reviewer="",
            version=row.adapter_version if row else "",
            intended_use=label.intended_use,
            state=str(task.get("status", "")) if holds else "superseded",
            reason=str(task.get("statusReason", {}).get("text", "")),
            started=row.claimed if row else None,
            seconds=row.seconds if row else None,
            provider=row.provider if row else "",
            count=len(kept[row.key].findings) if row and row.key in kept else None,
            report=f"DiagnosticReport/{report['id']}" if report else "",
            conclusion=str(report.get("conclusion", "")) if report else "",
            results=tuple(one["reference"] for one in report.get("result", [])) if report else (),
        )

    def views(self, access: Access, found: Sequence[tuple[str, Findings]], patient: str) -> tuple[FindingView, ...]:
        """Findings in the order of the reports, each of which comes with the key of its first version."""
        shown = [
            finding.region.image.sop_instance_uid for _, one in found for finding in one.findings if finding.region
        ]
        with self._database.reading() as uow:
            images = results.images(uow, access.tenant, shown)
        views = []
        for key, one in found:
            order = {source.sop_instance_uid: number for number, source in enumerate(one.sources, 1)}
            for finding in one.findings:
                image = images.get(finding.region.image.sop_instance_uid) if finding.region else None
                views.append(
                    FindingView(
                        finding=finding,
                        key_slice=_key_slice(finding, image, order) if image else None,
                        author=(one.person or "") if finding.by_person else _author(one),
                        observation=f"Observation/{resource_id('Observation', key, 'group', finding.tracking_uid)}",
                        body_structure=f"BodyStructure/{resource_id('BodyStructure', patient, finding.tracking_uid)}",
                    )
                )
        return tuple(views)

    def _consequences(self, access: Access, study: StudyView, patient: str) -> tuple[Resource, ...]:
        """What was concluded from the results, by whatever answers their topic: found by reference, not by name."""
        standing = [one for one in study.analyses if one.state != "superseded"]
        known = {result for one in standing for result in one.results}
        if not known:
            return ()
        derived = self._search(access, "Observation", ("derived-from", ",".join(sorted(known))))
        ours = [one for one in derived if not _from_report(one)]
        known |= {f"Observation/{one['id']}" for one in ours} | {one.report for one in standing if one.report}
        found = list(ours)
        for kind in ("ServiceRequest", "CarePlan", "Flag"):
            about = [one for one in self._search(access, kind, ("subject", patient)) if known & set(_targets(one))]
            known |= {f"{kind}/{one['id']}" for one in about}
            found += about
        return tuple(found)

    def _provenance(self, access: Access, study: StudyView) -> list[Resource]:
        """Who made the reports, and all that was made with them."""
        reports = [one.report for one in study.analyses if one.report]
        return self._search(access, "Provenance", ("target", ",".join(reports))) if reports else []


def _standing(rows: Iterable[AnalysisRow]) -> list[AnalysisRow]:
    """The analyses that no newer one supersedes."""
    rows = list(rows)
    superseded = {row.predecessor for row in rows if row.predecessor and row.found is not None}
    return [row for row in rows if row.key not in superseded]


def _first_keys(rows: Iterable[AnalysisRow]) -> dict[str, str]:
    """Key of an analysis -> key of the first version of the same report, which the resources' ids follow from."""
    by_key = {row.key: row for row in rows}
    first = {}
    for row in by_key.values():
        one = row
        while (earlier := by_key.get(one.predecessor)) is not None and earlier.report == one.report:
            one = earlier
        first[row.key] = one.key
    return first


def _models(rows: Iterable[AnalysisRow]) -> set[tuple[str, str]]:
    return {(row.adapter, row.adapter_version) for row in rows}


def _received(row: AnalysisRow, kept: Mapping[str, Findings], reports: Mapping[str, Resource]) -> AnalysisView:
    """Somebody else's report, for which no adapter was asked."""
    report = reports.get(row.report.rpartition("/")[2])
    found = kept.get(row.key)
    return AnalysisView(
        task="",
        adapter=row.adapter,
        title=_author(found) if found else row.adapter,
        reviewer=found.person or "" if found and found.verified else "",
        version=row.adapter_version,
        intended_use="",
        state="completed" if row.published else "in-progress",
        reason="",
        started=row.claimed,
        seconds=None,
        provider="",
        count=len(found.findings) if found else None,
        report=f"DiagnosticReport/{report['id']}" if report else "",
        conclusion=str(report.get("conclusion", "")) if report else "",
        results=tuple(one["reference"] for one in report.get("result", [])) if report else (),
    )


def _author(findings: Findings) -> str:
    """The program or person who reported."""
    return findings.algorithm.name if findings.algorithm else findings.person or ""


def _asked(task: Resource) -> str:
    return str(task.get("authoredOn") or task.get("meta", {}).get("lastUpdated", ""))


def _input(task: Resource, code: str) -> str:
    """The value of a Task's input of this type; empty where there is none."""
    for item in task.get("input", []):
        if any(coding.get("code") == code for coding in item.get("type", {}).get("coding", [])):
            return next((str(value) for key, value in item.items() if key.startswith("value")), "")
    return ""


def _key_slice(finding: Finding, image: results.ImageRow, order: Mapping[str, int]) -> KeySlice | None:
    if finding.region is None:
        return None
    instance = finding.region.image.sop_instance_uid
    drawn: list[tuple[str, Region | None]] = [("outline", finding.region)]
    for measurement in finding.measurements:
        if measurement.concept in _AXES:
            drawn.append((_AXES[measurement.concept], measurement.region))
    return KeySlice(
        series=finding.region.image.series_instance_uid,
        instance=instance,
        rows=image.rows,
        columns=image.columns,
        number=order.get(instance, 0),
        slices=len(order),
        graphics=tuple(
            Graphic(kind=kind, points=region.points)
            for kind, region in drawn
            if region is not None and region.image.sop_instance_uid == instance
        ),
    )


_AXES: dict[Coding, str] = {codes.LONG_AXIS: "long", codes.SHORT_AXIS: "short"}


def _from_report(observation: Resource) -> bool:
    """Whether it is a member or group of a report of ours: those name the SR that they were derived from."""
    return any(source.get("display") == "DICOM SR" for source in observation.get("derivedFrom", []))


def _targets(value: Any) -> Iterable[str]:
    """Every literal reference inside a resource."""
    if isinstance(value, dict):
        if isinstance(value.get("reference"), str):
            yield value["reference"]
        for inner in value.values():
            yield from _targets(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _targets(inner)


def _references(
    study: StudyView, findings: Sequence[FindingView], consequences: Sequence[Resource], patient: str
) -> tuple[Reference, ...]:
    named = [patient, study.imaging_study]
    for one in study.analyses:
        named += [one.task, one.report]
    for view in findings:
        named += [view.observation, view.body_structure]
    for resource in consequences:
        named += [f"{resource['resourceType']}/{resource['id']}", *_targets(resource)]
    pairs = [reference.split("/") for reference in dict.fromkeys(named)]
    return tuple(Reference(type=pair[0], id=pair[1]) for pair in pairs if len(pair) == 2)
