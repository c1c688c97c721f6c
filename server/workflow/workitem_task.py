"""Tasks that ask for an analysis, and the workitems that show them, kept alike in both directions.

A Task's write changes its workitem in the same transaction (``shown``), and a performer's change of the workitem
changes the Task (``follow``). Each does nothing where the other is so already, so there is no end to fear.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from dicom_sr.identity import uid as derived_uid
from server.errors import Unprocessable
from server.fhir import instants, json_format
from server.imaging import attributes as read
from server.imaging import workitem_reports as reports
from server.imaging import workitem_rules as rules
from server.imaging import workitems
from server.imaging.dataset import Attributes
from server.imaging.workitem import (
    CANCELED,
    CANCELLATION_REASON,
    COMPLETED,
    DISCONTINUATION,
    FINAL,
    IN_PROGRESS,
    OUTPUT,
    PERFORMED,
    PROGRESS,
    SCHEDULED,
    date_time,
    element,
)
from server.imaging.workitem_subscriptions import tell
from server.repository import Transaction
from server.store import analyses, resources, studies, study_summary
from server.store import workitems as store
from server.store.studies import Located
from server.store.workitems import StoredWorkitem
from server.workflow import task as tasks
from server.workflow import workitem_content as content
from server.workflow.images import STRUCTURED_REPORT
from server.workflow.workitem_content import Place

Resource = dict[str, Any]

#: Task.status -> the workitem's state; draft has none yet.
_STATES = {
    **dict.fromkeys(("requested", "received", "accepted", "ready"), SCHEDULED),
    **dict.fromkeys(("in-progress", "on-hold"), IN_PROGRESS),
    "completed": COMPLETED,
    **dict.fromkeys(("rejected", "cancelled", "failed", "entered-in-error"), CANCELED),
}
#: A Task in another state stays as it is.
_OPEN = frozenset({"draft", "requested", "received", "accepted", "ready", "in-progress", "on-hold"})
_SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"


@dataclass(frozen=True, kw_only=True)
class WorkitemTasks:
    """Both directions."""

    #: Adapters that others perform.
    external: frozenset[str]
    place: Place
    uid_root: str = "2.25"

    def is_here(self, adapter: str) -> bool:
        """Whether this server itself performs what asks for the adapter."""
        return adapter not in self.external

    def hold(self, transaction: Transaction, task: str) -> None:
        """Keeps everybody else from changing a Task until the transaction ends."""
        resources.current(transaction.uow, transaction.access.tenant, "Task", task, lock=True)

    def workitem_uid(self, tenant: int, task: str) -> str:
        """UID of the workitem that shows a Task."""
        return derived_uid(self.uid_root, "workitem", str(tenant), task)

    def shown(self, transaction: Transaction, resource: Resource, _before: Resource | None) -> None:
        """A resource was written: where it is a Task for an adapter, its workitem follows."""
        if resource["resourceType"] != "Task":
            return
        try:
            adapter, study = tasks.adapter(resource), tasks.study_id(resource)
        except Unprocessable:
            return
        wanted = _STATES.get(str(resource.get("status")))
        if wanted is None or not adapter:
            return
        tenant = transaction.access.tenant
        uid = self.workitem_uid(tenant, resource["id"])
        item = store.get(transaction.uow, tenant, uid, lock=True)
        if item is None and wanted not in FINAL:
            item = self._enter(transaction, resource, uid, adapter, study)
        if item is not None and not item.deleted and item.state not in FINAL and item.state != wanted:
            self._advance(transaction, item, resource, wanted)

    def _enter(
        self, transaction: Transaction, task: Resource, uid: str, adapter: str, study: str
    ) -> StoredWorkitem | None:
        """The new workitem; none for a study whose images are not here."""
        tenant = transaction.access.tenant
        transaction.flush()
        stored = resources.current(transaction.uow, tenant, "ImagingStudy", study)
        if stored is None or stored.deleted:
            return None
        try:
            study_uid = tasks.study_uid(json_format.parse(stored.body))
        except Unprocessable:
            return None
        summary = study_summary.summary(transaction.uow, tenant, study_uid)
        if summary is None:
            return None
        asked = content.scheduled(task, adapter, summary, self.place, transaction.moment)
        attributes, _ = rules.created(asked, uid, self.place.title, transaction.moment)
        item = StoredWorkitem(
            workitem=uid, state=SCHEDULED, task=task["id"], adapter=adapter, attributes=orjson.dumps(attributes)
        )
        workitems.enter(transaction, item, attributes)
        return item

    def _advance(self, transaction: Transaction, item: StoredWorkitem, task: Resource, wanted: str) -> None:
        """Moves a workitem behind its Task, through IN PROGRESS where the state machine leads through it."""
        tenant, now = transaction.access.tenant, transaction.moment
        attributes: Attributes = orjson.loads(item.attributes)
        ours = self._lock(tenant, item)
        reason = str(task.get("statusReason", {}).get("text", ""))
        if wanted == SCHEDULED:
            return
        if item.transaction_uid not in ("", ours):
            # It is a performer's outside: who can be asked, but from whom nothing can be taken.
            if wanted == CANCELED:
                request = {CANCELLATION_REASON: element("LT", reason)} if reason else {}
                told = [reports.cancel_requested(self.place.title, request)]
                tell(transaction.uow, tenant, item.workitem, told)
            return
        if item.state == SCHEDULED and wanted != CANCELED:
            item = workitems.move(transaction, item, attributes, IN_PROGRESS, ours)
            attributes = orjson.loads(item.attributes)
        if wanted == COMPLETED:
            made = _made(transaction, task)
            attributes |= content.performed(task, item.adapter, made, self.place, now)
        if wanted == CANCELED:
            said = {CANCELLATION_REASON: element("LT", reason)} if reason else {}
            attributes = workitems.canceled(attributes, said, date_time(now))
        if wanted in FINAL:
            workitems.move(transaction, item, attributes, wanted, ours)

    def _lock(self, tenant: int, item: StoredWorkitem) -> str:
        """The Transaction UID by which this server claims a workitem; it is never given to anybody."""
        return derived_uid(self.uid_root, "workitem-transaction", str(tenant), item.workitem)

    def follow(self, transaction: Transaction, item: StoredWorkitem, attributes: Attributes, who: str) -> None:
        """A workitem's state has changed: its Task does too."""
        transaction.flush()
        stored = resources.current(transaction.uow, transaction.access.tenant, "Task", item.task, lock=True)
        if stored is None or stored.deleted:
            return
        task = json_format.parse(stored.body)
        if task["status"] not in _OPEN:
            return
        now = transaction.moment
        if item.state == IN_PROGRESS:
            transaction.update({**tasks.begun(task, now), "owner": {"display": who}})
        elif item.state == COMPLETED:
            output = _outputs(transaction, attributes)
            done = tasks.completed(task, now, owner="", series=_series(attributes), output=output)
            transaction.update(done)
        elif item.state == CANCELED:
            claimed = task["status"] in ("in-progress", "on-hold")
            transaction.update(tasks.ended(task, "failed" if claimed else "cancelled", _reason(attributes), now))


def reported(transaction: Transaction, instance: str, report: str) -> None:
    """A structured report was read: Tasks that were completed with it before name the DiagnosticReport too."""
    tenant = transaction.access.tenant
    for id in store.naming(transaction.uow, tenant, instance):
        task = transaction.read("Task", id, lock=True)
        named = {str(one.get("valueString", "")) for one in task.get("output", ())}
        output = tasks.parameter("report", valueReference={"reference": f"DiagnosticReport/{report}"})
        if instance in named and output not in task["output"]:
            transaction.update({**task, "output": [output, *task["output"]]})


def _made(transaction: Transaction, task: Resource) -> Sequence[Located]:
    """The instances that a Task's outputs name, as far as they are stored here."""
    found: list[Located] = []
    for output in task.get("output", ()):
        codes = {coding.get("code") for coding in output.get("type", {}).get("coding", ())}
        if codes & {"structured-report", "segmentation"} and output.get("valueString"):
            uid = str(output["valueString"])
            found += studies.locate(transaction.uow, transaction.access.tenant, instance=uid)
    return found


def _outputs(transaction: Transaction, attributes: Attributes) -> list[Resource]:
    """What the performer made, as outputs of the Task; the report too where it was read already."""
    found: list[Resource] = []
    for done in read.items(attributes, PERFORMED):
        for item in read.items(done, OUTPUT):
            for one in read.items(item, "00081199"):
                kind, uid = read.text(one, "00081150"), read.text(one, "00081155")
                found += _output(transaction, kind, uid)
    return found


def _output(transaction: Transaction, kind: str, uid: str) -> list[Resource]:
    if kind == _SEGMENTATION:
        return [tasks.parameter("segmentation", valueString=uid)]
    if not kind.startswith(STRUCTURED_REPORT):
        return [tasks.parameter("instance", valueString=uid)]
    report = analyses.report_of(transaction.uow, transaction.access.tenant, uid)
    first = [tasks.parameter("report", valueReference={"reference": f"DiagnosticReport/{report}"})] if report else []
    return [*first, tasks.parameter("structured-report", valueString=uid)]


def _series(attributes: Attributes) -> list[str]:
    """Series Instance UIDs that the performer was given."""
    return [uid for item in read.items(attributes, "00404021") if (uid := read.text(item, "0020000E"))]


def _reason(attributes: Attributes) -> str:
    progress = next(iter(read.items(attributes, PROGRESS)), {})
    codes = read.items(progress, DISCONTINUATION)
    meaning = read.text(codes[0], "00080104") if codes else ""
    said = read.text(progress, CANCELLATION_REASON) or meaning
    return said or f"The performer canceled it at {instants.text(instants.now())}."
