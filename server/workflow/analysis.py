"""An adapter's run for a Task, exactly once for what it reads: select, infer, commit, write.

The analysis key names input, model and manifest. Findings are committed under it before anything is written from
them; whoever comes later (another Task, the same one after a crash) goes on from there and never infers again.
"""

import hashlib
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydicom import Dataset

from ai_adapters import run as adapter_run
from ai_adapters.manifest import BrokenManifest
from ai_adapters.onnx_session import BrokenModel
from ai_adapters.registry import Bundle, Registry, UnknownBundle
from ai_adapters.selection import ADAPTER_VERSION, analysis_key, select
from ai_adapters.volume import UnusableSeries, Volume, decoders, load
from dicom_sr.findings import Findings
from dicom_sr.identity import sr_uid
from dicom_sr.serialise import serialise
from server.errors import HutongError, NotAcceptable, NotFound, Unavailable, Unprocessable
from server.fhir import instants
from server.imaging.retrieve import Retrieve
from server.repository import Repository
from server.security.access import system
from server.store import analyses
from server.store.analyses import Analysis
from server.store.database import Database
from server.telemetry import kill_points, metrics
from server.workflow import task as tasks
from server.workflow.comparison import Comparer, compare_later, compared_key, neighbour
from server.workflow.images import StudyImages
from server.workflow.publish import Publisher, Written, findings_of, instance_of
from server.workflow.tracking import Tracker

Resource = dict[str, Any]

_log = logging.getLogger(__name__)


class Rejected(HutongError):
    """The Task can't be done, and trying again won't change that; the text is its statusReason."""

    code = "processing"


@dataclass(frozen=True, kw_only=True)
class Input:
    """What one Task asks for."""

    tenant: int
    task: str
    #: The ImagingStudy.
    study: Resource
    study_uid: str
    bundle: Bundle
    images: StudyImages
    #: The series that the manifest selected, without pixels.
    selected: list[Dataset]
    key: str


@dataclass(frozen=True, kw_only=True)
class Analyst:
    """Everything that running adapters needs."""

    database: Database
    repository: Repository
    retrieve: Retrieve
    registry: Registry
    publisher: Publisher
    comparer: Comparer
    uid_root: str
    threads: int | None = None
    #: ONNX Runtime execution providers to try, in order; empty for the adapter's own choice.
    providers: tuple[str, ...] = ()
    #: Adapters that others perform: they find the Task as a workitem.
    external: frozenset[str] = frozenset()

    def run(self, tenant: int, id: str, **_event: Any) -> None:
        """Does the Task ``id``, unless it is done; safe to do again after a crash at any point."""
        try:
            self._do(tenant, id)
        except Rejected as error:
            self._end(tenant, id, "rejected", error.details)

    def failed(self, reason: str, arguments: Mapping[str, Any]) -> None:
        """Ends a Task whose every attempt failed."""
        self._end(int(arguments["tenant"]), str(arguments["id"]), "failed", reason)

    def compare(self, tenant: int, key: str) -> None:
        """Compares a published analysis anew, because findings on its neighbour in time came in after it.

        The new findings supersede it under a key of their own: that of both; nothing is inferred again.
        """
        with self.database.reading() as uow:
            old = analyses.find(uow, tenant, key)
            task = old.task if old is not None else ""
        if old is None or not task:
            return
        try:
            wanted = self._input(tenant, self.repository.read(system(tenant), "Task", task))
        except Rejected:
            return
        with self.database.unit_of_work() as alone:
            alone.lock("analysis", tenant, old.study, old.adapter)
            anew = self._compared(wanted, old)
            if anew is not None:
                self._publish(replace(wanted, key=anew.key), anew)

    def _compared(self, wanted: Input, old: Analysis) -> Analysis | None:
        """The analysis with a comparison as things are now; None where it is compared with that already."""
        findings = findings_of(old)
        with self.database.reading() as uow:
            other = neighbour(uow, wanted.tenant, wanted.study_uid)
            # By a newer analysis, or by what a person made of it.
            superseded = analyses.is_superseded(uow, wanted.tenant, old.key)
        if findings is None or other is None or superseded:
            return None
        key = hashlib.sha256(f"{old.key}\n{other.key}".encode()).hexdigest()
        if other.days < 0 or compared_key(findings) == other.key:
            return None
        with self.database.unit_of_work() as uow:
            analyses.claim(
                uow, wanted.tenant, key, study=wanted.study_uid, adapter=old.adapter,
                adapter_version=f"{wanted.bundle.manifest.version}+{ADAPTER_VERSION}", task=old.task,
                predecessor=old.key,
            )  # fmt: skip
            kept = analyses.find(uow, wanted.tenant, key)
        if kept is None or kept.findings is None:
            self._keep_compared(wanted, old, findings, key)
            with self.database.reading() as uow:
                kept = analyses.find(uow, wanted.tenant, key)
        return kept

    def _keep_compared(self, wanted: Input, old: Analysis, findings: Findings, key: str) -> None:
        began = time.monotonic()
        try:
            comparison = self.comparer.compare(wanted.tenant, wanted.study_uid, self._volume(wanted))
        except UnusableSeries as error:
            raise Unavailable(f"The series can't be read any more: {error.reason}") from error
        if comparison is None:
            raise Unavailable("The study to compare with is gone; try again.")
        told = comparison.told(findings, wanted.bundle.manifest.repeatability)
        fresh = replace(told, key=key, timestamp=instants.now())
        with self.database.unit_of_work() as uow:
            analyses.found(
                uow, wanted.tenant, key, serialise(fresh), sr_instance=sr_uid(self.uid_root, key),
                provider=old.provider, seconds=time.monotonic() - began,
            )  # fmt: skip

    def _volume(self, wanted: Input) -> Volume:
        return load(wanted.selected, wanted.images.pixels, decoders(self.threads))

    def _do(self, tenant: int, id: str) -> None:
        task = self._begin(tenant, id)
        if task is None:
            return
        kill_points.at("claimed")
        wanted = self._input(tenant, task)
        with self.database.unit_of_work() as alone:
            # One at a time for a study and adapter, so that it is clear which one supersedes which. The transaction
            # writes nothing, so that it does not hold up the dispatcher.
            alone.lock("analysis", tenant, wanted.study_uid, wanted.bundle.manifest.name)
            analysis = self._found(wanted)
            self._publish(wanted, analysis)

    def _begin(self, tenant: int, id: str) -> Resource | None:
        """The Task, in progress from now on; None where there is nothing to do."""
        with self.repository.transaction(system(tenant)) as transaction:
            task = transaction.read("Task", id, lock=True)
            if task["status"] not in tasks.OPEN or tasks.is_for(task, self.external):
                return None
            return transaction.update(tasks.begun(task, transaction.moment)).resource

    def _input(self, tenant: int, task: Resource) -> Input:
        access = system(tenant)
        try:
            bundle = self.registry.get(tasks.adapter(task))
            study = self.repository.read(access, "ImagingStudy", tasks.study_id(task))
            images = StudyImages.of(self.retrieve, access, tasks.study_uid(study))
            selected = select(bundle.manifest, images.headers())
        except (UnknownBundle, BrokenManifest, UnusableSeries) as error:
            raise Rejected(f"{error}") from error
        except (NotFound, Unprocessable) as error:
            raise Rejected(error.details) from error
        return Input(
            tenant=tenant, task=task["id"], study=study, study_uid=tasks.study_uid(study), bundle=bundle, images=images,
            selected=selected, key=analysis_key(bundle.manifest, selected),
        )  # fmt: skip

    def _found(self, wanted: Input) -> Analysis:
        """The analysis with its findings: those that were committed, or new ones, committed here."""
        manifest, tenant = wanted.bundle.manifest, wanted.tenant
        with self.database.unit_of_work() as uow:
            before = analyses.latest(uow, tenant, wanted.study_uid, manifest.name, wanted.key)
            analyses.claim(
                uow, tenant, wanted.key, study=wanted.study_uid, adapter=manifest.name,
                adapter_version=f"{manifest.version}+{ADAPTER_VERSION}", task=wanted.task,
                predecessor=_superseded(before),
            )  # fmt: skip
            analysis = analyses.find(uow, tenant, wanted.key)
        if analysis is not None and analysis.findings is None:
            self._infer(wanted, before)
            with self.database.reading() as uow:
                analysis = analyses.find(uow, tenant, wanted.key)
        if analysis is None:
            raise Unavailable("The analysis is gone from the database; try again.")
        return analysis

    def _infer(self, wanted: Input, before: Analysis | None) -> None:
        began = time.monotonic()
        name = wanted.bundle.manifest.name
        earlier = findings_of(before)
        tracker = Tracker(key=wanted.key, prefix=name, uid_root=self.uid_root, before=earlier)
        try:
            volume = self._volume(wanted)
            if earlier is not None and earlier.frame_of_reference_uid != volume.frame_of_reference_uid:
                tracker.before = None
            comparison = self.comparer.compare(wanted.tenant, wanted.study_uid, volume)
            kill_points.at("inferring")
            findings = adapter_run.run(
                wanted.bundle, volume, identify=tracker.identify, timestamp=instants.now(), key=wanted.key,
                threads=self.threads, providers=self.providers, known=comparison.known() if comparison else (),
            )  # fmt: skip
            if comparison is not None:
                findings = comparison.told(findings, wanted.bundle.manifest.repeatability)
        except UnusableSeries as error:
            raise Rejected(error.reason) from error
        except (Unprocessable, NotAcceptable) as error:
            raise Rejected(f"An image can't be decoded: {error.details}") from error
        except BrokenModel as error:
            raise Rejected(f"The adapter's model does not run: {error}") from error
        seconds, provider = time.monotonic() - began, _provider(findings)
        metrics.analysis_seconds.labels(adapter=name).observe(seconds)
        _log.info("analysis %s by %s on %s took %.1f s", wanted.key[:12], name, provider, seconds)
        with self.database.unit_of_work() as uow:
            analyses.found(
                uow, wanted.tenant, wanted.key, serialise(findings), sr_instance=sr_uid(self.uid_root, wanted.key),
                provider=provider, seconds=seconds,
            )  # fmt: skip

    def _publish(self, wanted: Input, analysis: Analysis) -> None:
        """Writes what is not written yet, and completes the Task."""
        findings = findings_of(analysis)
        if findings is None:
            raise Unavailable("The analysis has no findings yet; try again.")
        with self.database.reading() as uow:
            before = analyses.find(uow, wanted.tenant, analysis.predecessor) if analysis.predecessor else None
        if analysis.is_published:
            self._complete_again(wanted, analysis)
            return
        written = self.publisher.store(wanted.tenant, findings, wanted.images, before)
        instances = [instance_of(dataset) for dataset in written]
        sr, seg = instances[0], instances[1] if len(instances) > 1 else None
        name = wanted.bundle.manifest.name
        with self.repository.transaction(system(wanted.tenant)) as transaction:
            result = self.publisher.resources(
                transaction, findings, wanted.study, sr, seg, name=name, before=before, provider=analysis.provider
            )
            analyses.published(
                transaction.uow, wanted.tenant, analysis.key, sr_instance=sr.sop_instance_uid,
                seg_instance=seg.sop_instance_uid if seg is not None else "", report=result.report,
            )  # fmt: skip
            compare_later(transaction.uow, wanted.tenant, wanted.study_uid, analysis)
            self.publisher.send_on(transaction, wanted.study_uid, [one.sop_instance_uid for one in instances])
            task = transaction.read("Task", wanted.task, lock=True)
            if task["status"] != "completed":
                transaction.update(_completed(task, findings, analysis, result, transaction.moment))
        kill_points.at("fhir-committed")
        metrics.analyses.labels(adapter=name, outcome="completed").inc()

    def _complete_again(self, wanted: Input, analysis: Analysis) -> None:
        """Gives a Task whose result is there already the outputs of the Task that made it; writes nothing else."""
        with self.repository.transaction(system(wanted.tenant)) as transaction:
            task = transaction.read("Task", wanted.task, lock=True)
            if task["status"] == "completed":
                return
            first = transaction.read("Task", analysis.task)
            outputs, owner = first.get("output", []), first.get("owner", {}).get("reference", "")
            series = sorted({str(header.SeriesInstanceUID) for header in wanted.selected})
            transaction.update(tasks.completed(task, transaction.moment, owner=owner, series=series, output=outputs))

    def _end(self, tenant: int, id: str, status: str, reason: str) -> None:
        with self.repository.transaction(system(tenant)) as transaction:
            task = transaction.read("Task", id, lock=True)
            if task["status"] in tasks.OPEN:
                transaction.update(tasks.ended(task, status, reason, transaction.moment))
        metrics.analyses.labels(adapter="", outcome=status).inc()


def _superseded(before: Analysis | None) -> str:
    """Key of the analysis that a new one takes the place of: never of what a person verified."""
    found = findings_of(before)
    return "" if before is None or (found is not None and found.verified) else before.key


def _completed(task: Resource, findings: Findings, analysis: Analysis, result: Written, moment: Any) -> Resource:
    output = [
        tasks.parameter("report", valueReference={"reference": f"DiagnosticReport/{result.report}"}),
        tasks.parameter("structured-report", valueString=result.sr.sop_instance_uid),
        tasks.parameter("analysis-key", valueString=analysis.key),
        tasks.parameter("execution-provider", valueString=analysis.provider),
    ]
    if result.seg is not None:
        output.append(tasks.parameter("segmentation", valueString=result.seg.sop_instance_uid))
    series = sorted({source.series_instance_uid for source in findings.sources})
    return tasks.completed(task, moment, owner=result.device, series=series, output=output)


def _provider(findings: Findings) -> str:
    parameters = findings.algorithm.parameters if findings.algorithm is not None else ()
    return next((value for name, value in parameters if name == "execution provider"), "")
