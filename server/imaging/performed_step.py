"""Modality Performed Procedure Steps (PS3.4 annex F): what modalities did, kept and told to FHIR in one transaction.

A step is a Procedure; the Task that it performs goes with its status, and an order is completed when its last open
step is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

import orjson

from server.errors import BadInstance, DuplicateInstance, Gone, NotFound
from server.imaging import attributes as read
from server.imaging import patient, procedure
from server.imaging.dataset import Attributes
from server.imaging.index import patient_id
from server.imaging.worklist import STEPS, STUDY, Worklist
from server.repository import Repository, Transaction
from server.security.access import Access
from server.store import audit
from server.store import performed_steps as store
from server.store.performed_steps import PerformedStep

Resource = dict[str, Any]

STATUS = "00400252"
IN_PROGRESS, COMPLETED, DISCONTINUED = "IN PROGRESS", "COMPLETED", "DISCONTINUED"
SCHEDULED = "00400270"
#: Attributes of type 1 in N-CREATE, and in the final state (PS3.4 table F.7.2-1).
_NEEDED = ("00400270", "00400253", "00400241", "00400244", "00400245", "00400252", "00080060")
_NEEDED_AT_END = ("00400250", "00400251")
#: What N-SET may not change (PS3.4 table F.7.2-1): the patient, the order, where and when it began, the modality.
_FIXED = frozenset(
    {"00100010", "00100020", "00100021", "00100030", "00100040", "00400270", "00400253", "00400241", "00400242"}
) | frozenset({"00400243", "00400244", "00400245", "00200010", "00080060"})
#: Failure statuses of PS3.7 annex C.5.
_INVALID_VALUE, _MISSING, _MISSING_VALUE = 0x0106, 0x0120, 0x0121
#: Error ID of a step that may no longer be updated (PS3.4 F.7.2.2.4).
ENDED = 0xA710
_TASK = {IN_PROGRESS: "in-progress", COMPLETED: "completed", DISCONTINUED: "failed"}
_OPEN = frozenset({"draft", "requested", "received", "accepted", "ready", "in-progress", "on-hold"})


@dataclass(frozen=True, kw_only=True)
class PerformedSteps:
    """Takes in what modalities tell."""

    repository: Repository
    worklist: Worklist
    #: Zone of dates and times that carry no offset.
    zone: tzinfo

    def create(self, access: Access, uid: str, attributes: Attributes, modality: str) -> None:
        """A step has begun (N-CREATE).

        Raises BadInstance with the status and place of what is missing or wrong, DuplicateInstance, Forbidden.
        """
        access.require("write")
        _need(attributes, _NEEDED)
        scheduled = read.items(attributes, SCHEDULED)
        if not scheduled or not read.text(scheduled[0], STUDY):
            raise BadInstance("The step names no study.", expression=SCHEDULED, reason=_MISSING_VALUE)
        if read.text(attributes, STATUS) != IN_PROGRESS:
            raise BadInstance("A new step is IN PROGRESS.", expression=STATUS, reason=_INVALID_VALUE)
        step = PerformedStep(
            instance=uid,
            status=IN_PROGRESS,
            study=read.text(scheduled[0], STUDY),
            modality=modality,
            attributes=orjson.dumps(attributes),
            orders=self._orders(access, attributes),
        )
        with self.repository.transaction(access) as tx:
            if not store.add(tx.uow, access.tenant, step):
                raise DuplicateInstance("A step with this SOP Instance UID was created before.")
            audit.note(tx.uow, access.tenant, access.who, "create", "PerformedProcedureStep", uid)
            self._tell(tx, step, attributes)

    def set(self, access: Access, uid: str, changes: Attributes) -> None:
        """A step goes on or ends (N-SET).

        Raises NotFound, BadInstance as ``create`` and with ENDED where it has ended before, Forbidden.
        """
        access.require("write")
        with self.repository.transaction(access) as tx:
            step = store.get(tx.uow, access.tenant, uid, lock=True)
            if step is None:
                raise NotFound("No such performed procedure step was created.")
            if step.status != IN_PROGRESS:
                raise BadInstance("The step has ended; it may no longer be updated.", expression=STATUS, reason=ENDED)
            attributes = _changed(orjson.loads(step.attributes), changes)
            status = read.text(attributes, STATUS)
            if status not in _TASK:
                raise BadInstance(f"The status is one of {', '.join(_TASK)}.", expression=STATUS, reason=_INVALID_VALUE)
            if status != IN_PROGRESS:
                _need(attributes, _NEEDED_AT_END)
            store.change(tx.uow, access.tenant, uid, status, orjson.dumps(attributes))
            audit.note(tx.uow, access.tenant, access.who, "update", "PerformedProcedureStep", uid)
            if status == COMPLETED:
                store.close_study(tx.uow, access.tenant, step.study, _made(attributes))
            self._tell(tx, step, attributes)

    def get(self, access: Access, uid: str) -> Attributes:
        """A step's attributes (N-GET); raises NotFound, Forbidden."""
        access.require("read")
        with self.repository.database.unit_of_work() as uow:
            step = store.get(uow, access.tenant, uid)
            if step is None:
                raise NotFound("No such performed procedure step was created.")
            audit.note_read(uow, access.tenant, access.who, "read", "PerformedProcedureStep", uid)
        attributes: Attributes = orjson.loads(step.attributes)
        return attributes

    def _orders(self, access: Access, attributes: Attributes) -> tuple[str, ...]:
        """The orders and tasks that the scheduled step attributes name; none for an unscheduled step."""
        found: dict[str, None] = {}
        for item in read.items(attributes, SCHEDULED):
            for order in self._candidates(access, item):
                found |= dict.fromkeys(
                    f"{role}/{order[role]['id']}" for role in ("ServiceRequest", "Task") if role in order
                )
        return tuple(found)

    def _candidates(self, access: Access, item: Attributes) -> list[Mapping[str, Resource]]:
        """Steps of the worklist whose study is the item's, and whose own identifiers are, as far as it has them."""
        accession, requested, scheduled = (read.text(item, tag) for tag in ("00080050", "00401001", "00400009"))
        if not (accession or requested or scheduled):
            return []
        asked: Attributes = {
            STUDY: {"vr": "UI"},
            "00080050": {"vr": "SH"},
            "00401001": {"vr": "SH"},
            STEPS: {"vr": "SQ", "Value": [{"00400009": {"vr": "SH"}}]},
        }
        narrowing = [("identifier", accession)] if accession and not set("|,$\\") & set(accession) else []
        found = []
        for order in self.worklist.orders(access, narrowing):
            entry = self.worklist.entry(order, asked)
            step = next(iter(read.items(entry, STEPS)), {})
            pairs = [
                (read.text(item, STUDY), read.text(entry, STUDY)),
                (accession, read.text(entry, "00080050")),
                (requested, read.text(entry, "00401001")),
                (scheduled, read.text(step, "00400009")),
            ]
            if all(mine in ("", theirs) for mine, theirs in pairs):
                found.append(order)
        return found

    def _tell(self, tx: Transaction, step: PerformedStep, attributes: Attributes) -> None:
        """The step's Procedure, and the state of what it performs."""
        tenant, status = tx.access.tenant, read.text(attributes, STATUS)
        requests = [order for order in step.orders if order.startswith("ServiceRequest/")]
        resource = procedure.build(
            procedure.procedure_id(tenant, step.instance),
            step.instance,
            attributes,
            subject=self._subject(tx, requests, attributes, step.study),
            orders=requests,
            zone=self.zone,
        )
        tx.update(resource)
        for order in step.orders:
            if order.startswith("Task/"):
                _advance(tx, order, _TASK[status])
        if status == COMPLETED:
            for order in requests:
                _complete(tx, order)

    def _subject(self, tx: Transaction, requests: list[str], attributes: Attributes, study: str) -> str:
        """Reference to the order's patient; else to the one that the step names, who is made where he is new."""
        for order in requests:
            subject = tx.read("ServiceRequest", order.removeprefix("ServiceRequest/")).get("subject", {})
            if "reference" in subject:
                return str(subject["reference"])
        id = patient_id(tx.access.tenant, attributes, study)
        try:
            tx.read("Patient", id)
        except (NotFound, Gone):
            tx.update(patient.build(id, attributes))
        return f"Patient/{id}"


def _need(attributes: Attributes, tags: tuple[str, ...]) -> None:
    for tag in tags:
        if tag not in attributes:
            raise BadInstance(f"The element {tag} is missing.", expression=tag, reason=_MISSING)
        if not attributes[tag].get("Value"):
            raise BadInstance(f"The element {tag} has no value.", expression=tag, reason=_MISSING_VALUE)


def _changed(attributes: Attributes, changes: Attributes) -> Attributes:
    for tag in _FIXED & changes.keys():
        if changes[tag].get("Value", []) != attributes.get(tag, {}).get("Value", []):
            raise BadInstance(f"The element {tag} may not be changed.", expression=tag, reason=_INVALID_VALUE)
    return attributes | changes


def _made(attributes: Attributes) -> list[str]:
    """SOP Instance UIDs that the performed series name (PS3.3 table C.4-15)."""
    found: dict[str, None] = {}
    for series in read.items(attributes, "00400340"):
        for sequence in ("00081140", "00400220"):
            found |= dict.fromkeys(read.text(item, "00081155") for item in read.items(series, sequence))
    return [uid for uid in found if uid]


def _advance(tx: Transaction, reference: str, status: str) -> None:
    task = tx.read("Task", reference.removeprefix("Task/"), lock=True)
    if task["status"] in _OPEN:
        tx.update({**task, "status": status})


def _complete(tx: Transaction, reference: str) -> None:
    """Completes an order unless some step of it is still to be done."""
    order = tx.read("ServiceRequest", reference.removeprefix("ServiceRequest/"), lock=True)
    tasks = tx.search("Task", [("based-on", reference), ("status", ",".join(sorted(_OPEN))), ("_count", "1")])
    if order["status"] == "active" and not tasks.matches:
        tx.update({**order, "status": "completed"})
