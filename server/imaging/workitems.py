"""The Worklist Service's use cases (PS3.18 chapter 11, PS3.4 annex CC): create, retrieve, update, change state, cancel.

A change, the event reports that tell of it, its audit row and the FHIR Task that it is about commit together. Whoever
changes a workitem of a Task holds the Task first, then the workitem, then the subscribers.
"""

from dataclasses import dataclass
from typing import Protocol
from uuid import uuid4

import orjson

from server.errors import BadRequest, Conflict, Forbidden, Gone, NotFound
from server.imaging import attributes as read
from server.imaging import workitem_reports as reports
from server.imaging import workitem_rules as rules
from server.imaging.dataset import Attributes
from server.imaging.workitem import (
    CANCELED,
    CANCELLATION_REASON,
    CANCELLATION_TIME,
    CONTACT_NAME,
    CONTACT_URI,
    DISCONTINUATION,
    FILTERED,
    FINAL,
    GLOBAL,
    IN_PROGRESS,
    PERFORMERS,
    PROGRESS,
    READINESS,
    SCHEDULED,
    SOP_INSTANCE,
    STATE,
    STATION,
    TRANSACTION_UID,
    code,
    date_time,
    element,
    sequence,
)
from server.imaging.workitem_reports import Report
from server.imaging.workitem_state import CANCEL, TELL, Inconsistent, NoTransaction, step
from server.imaging.workitem_subscriptions import enrol, tell
from server.repository import Repository, Transaction
from server.security.access import Access
from server.store import audit, workitem_events
from server.store import workitems as store
from server.store.workitems import StoredWorkitem

#: CID 9300: nothing more is known (PS3.16).
UNSPECIFIED = code("110513", "DCM", "Discontinued for unspecified reason")


class Orders(Protocol):
    """The FHIR Tasks that some workitems show."""

    def is_here(self, adapter: str) -> bool:
        """Whether this server itself performs what asks for the adapter."""

    def hold(self, transaction: Transaction, task: str) -> None:
        """Keeps everybody else from changing a Task until the transaction ends."""

    def follow(self, transaction: Transaction, item: StoredWorkitem, attributes: Attributes, who: str) -> None:
        """A workitem's state has changed: its Task does too."""


@dataclass(frozen=True, kw_only=True)
class Workitems:
    """The worklist."""

    repository: Repository
    orders: Orders
    #: Worklist Label of workitems that bring none.
    label: str

    def create(self, access: Access, dataset: Attributes, uid: str = "") -> tuple[str, bool]:
        """Adds a workitem; gives its UID, and whether we added attributes.

        Raises BadRequest naming what is wrong, Conflict where the UID is taken, Forbidden.
        """
        access.require("write")
        uid = uid or read.text(dataset, SOP_INSTANCE) or f"2.25.{uuid4().int}"
        if not rules.is_uid(uid) or uid in (GLOBAL, FILTERED):
            raise BadRequest("The workitem's UID is no UID.", expression="workitem")
        with self.repository.transaction(access) as tx:
            attributes, added = rules.created(dataset, uid, self.label, tx.moment)
            enter(tx, StoredWorkitem(workitem=uid, state=SCHEDULED, attributes=b""), attributes)
        return uid, bool(added)

    def retrieve(self, access: Access, uid: str) -> Attributes:
        """A workitem, never with its Transaction UID; raises NotFound, Gone for a deleted one, Forbidden."""
        access.require("read")
        with self.repository.database.unit_of_work() as uow:
            item = _present(store.get(uow, access.tenant, uid))
            audit.note_read(uow, access.tenant, access.who, "read", "Workitem", uid)
        attributes: Attributes = orjson.loads(item.attributes)
        return attributes

    def update(self, access: Access, uid: str, changes: Attributes, transaction_uid: str = "") -> None:
        """Changes attributes, by the performer while it is in progress.

        Raises BadRequest naming the attribute, Inconsistent, NotFound, Gone, Forbidden.
        """
        access.require("write")
        given = transaction_uid or read.text(changes, TRANSACTION_UID)
        with self.repository.transaction(access) as tx:
            item = self._held(tx, uid)
            _may_update(item, given)
            before: Attributes = orjson.loads(item.attributes)
            after = rules.changed(before, changes, tx.moment)
            if after == before:
                return
            keep(tx, item, after, "update", _about(before, after))

    def change_state(self, access: Access, uid: str, request: Attributes, requester: str = "") -> str:
        """Claims, completes or cancels; gives the text of a warning where it is in the wanted state already.

        Raises BadRequest, Inconsistent by table CC.1.1-2 or for what its final state lacks, NotFound, Gone, Forbidden.
        """
        access.require("write")
        given, wanted = read.text(request, TRANSACTION_UID), read.text(request, STATE)
        if given and not rules.is_uid(given):
            raise BadRequest("The Transaction UID (0008,1195) is no UID.", expression="TransactionUID")
        with self.repository.transaction(access) as tx:
            item = self._held(tx, uid)
            found = step(item.state, wanted, given=given, held=item.transaction_uid)
            if not found.state:
                return found.warning
            if item.adapter and self.orders.is_here(item.adapter):
                raise Forbidden(
                    f"This server itself performs '{item.adapter}'; name it in the setting external_adapters to have "
                    "it performed by others.",
                    expression="ProcedureStepState",
                )
            attributes: Attributes = orjson.loads(item.attributes)
            lock = given if found.state == IN_PROGRESS else item.transaction_uid
            self._move(tx, item, attributes, found.state, lock, requester or access.who)
        return ""

    def request_cancel(self, access: Access, uid: str, request: Attributes, requester: str = "") -> str:
        """Cancels what nobody has claimed, else asks the performer to; gives the text of a warning where it is done.

        Raises Inconsistent where it is completed, or where nobody can be told, NotFound, Gone, Forbidden.
        """
        access.require("write")
        who = requester or access.who
        with self.repository.transaction(access) as tx:
            item = self._held(tx, uid)
            found = step(item.state, CANCEL)
            if found.state == TELL:
                if item.adapter and self.orders.is_here(item.adapter):
                    raise Inconsistent("C313")
                audit.note(tx.uow, access.tenant, access.who, "request-cancel", "Workitem", uid)
                if not tell(tx.uow, access.tenant, uid, [reports.cancel_requested(who, request)]):
                    raise Inconsistent("C312")
            elif found.state:
                attributes = canceled(orjson.loads(item.attributes), request, date_time(tx.moment))
                # PS3.4 CC.2.2.3: by way of IN PROGRESS, which nobody sees.
                self._move(tx, item, attributes, CANCELED, "", who)
        return found.warning

    def forget(self, days: int, tombstone_days: int) -> int:
        """Deletes workitems that ended ``days`` ago and that no subscriber holds; 0 days keep them for ever."""
        if not days:
            return 0
        with self.repository.database.unit_of_work() as uow:
            return store.forget(uow, days, tombstone_days)

    def _held(self, tx: Transaction, uid: str) -> StoredWorkitem:
        """The workitem, nobody else's until the transaction ends, and its Task before it."""
        seen = _present(store.get(tx.uow, tx.access.tenant, uid))
        if seen.task:
            self.orders.hold(tx, seen.task)
        return _present(store.get(tx.uow, tx.access.tenant, uid, lock=True))

    def _move(
        self, tx: Transaction, item: StoredWorkitem, attributes: Attributes, state: str, lock: str, who: str
    ) -> None:
        moved = move(tx, item, attributes, state, lock)
        if item.task:
            self.orders.follow(tx, moved, orjson.loads(moved.attributes), who)


def enter(tx: Transaction, item: StoredWorkitem, attributes: Attributes) -> None:
    """Adds a workitem and tells who wants to know; raises Conflict where the UID is taken."""
    tenant, uid = tx.access.tenant, item.workitem
    workitem_events.order(tx.uow, tenant)
    kept = _with(item, item.state, item.transaction_uid, attributes)
    if not store.add(tx.uow, tenant, kept):
        raise Conflict("A workitem of this UID exists or existed; give another UID, or none.", expression="workitem")
    audit.note(tx.uow, tenant, tx.access.who, "create", "Workitem", uid)
    enrol(tx.uow, tenant, uid, attributes)
    tell(tx.uow, tenant, uid, [reports.state_report(attributes), *reports.assigned(attributes)])


def move(tx: Transaction, item: StoredWorkitem, attributes: Attributes, state: str, lock: str) -> StoredWorkitem:
    """Puts a workitem into its next state and tells of it; raises Inconsistent for what a final state lacks."""
    after = rules.ended(attributes, state, tx.moment) if state in FINAL else attributes | {STATE: element("CS", state)}
    moved = _with(item, state, lock, after)
    keep(tx, moved, after, "change-state", [reports.state_report(after)])
    return moved


def keep(tx: Transaction, item: StoredWorkitem, attributes: Attributes, action: str, told: list[Report]) -> None:
    """Writes a workitem that changed."""
    tenant, uid = tx.access.tenant, item.workitem
    body = orjson.dumps(attributes)
    store.change(tx.uow, tenant, uid, state=item.state, transaction_uid=item.transaction_uid, attributes=body)
    audit.note(tx.uow, tenant, tx.access.who, action, "Workitem", uid)
    tell(tx.uow, tenant, uid, told)


def canceled(attributes: Attributes, request: Attributes, now: str) -> Attributes:
    """A workitem with when and why it was canceled, as the request says."""
    progress, *others = read.items(attributes, PROGRESS) or [{}]
    said = {
        tag: request[tag]
        for tag in (CANCELLATION_REASON, DISCONTINUATION, CONTACT_URI, CONTACT_NAME)
        if request.get(tag, {}).get("Value")
    }
    contact = {tag: said.pop(tag) for tag in (CONTACT_URI, CONTACT_NAME) if tag in said}
    if CONTACT_URI in contact:
        said["00741008"] = sequence(contact)
    progress = {DISCONTINUATION: sequence(UNSPECIFIED), CANCELLATION_TIME: element("DT", now)} | progress | said
    return attributes | {PROGRESS: {"vr": "SQ", "Value": [dict(sorted(progress.items())), *others]}}


def _with(item: StoredWorkitem, state: str, lock: str, attributes: Attributes) -> StoredWorkitem:
    return StoredWorkitem(
        workitem=item.workitem, state=state, transaction_uid=lock, task=item.task, adapter=item.adapter,
        attributes=orjson.dumps(attributes),
    )  # fmt: skip


def _may_update(item: StoredWorkitem, given: str) -> None:
    """PS3.4 CC.2.6.2: without a Transaction UID before it is claimed, with the right one after that, never at last."""
    if item.state in FINAL:
        raise Inconsistent("C300")
    if item.state == SCHEDULED:
        if given:
            raise Inconsistent(
                "C310", "The workitem is not claimed; update it without a Transaction UID.", expression="TransactionUID"
            )
        return
    if not given:
        raise NoTransaction
    if given != item.transaction_uid:
        raise Inconsistent("C301", expression="TransactionUID")


def _about(before: Attributes, after: Attributes) -> list[Report]:
    """What subscribers are told of an update (PS3.4 CC.2.4.3)."""
    differs = {tag for tag in after if after[tag] != before.get(tag)}
    told = [reports.state_report(after)] if READINESS in differs else []
    if PROGRESS in differs:
        told.append(reports.progress_report(after))
    return told + reports.assigned(after, stations=STATION in differs, performers=PERFORMERS in differs)


def _present(item: StoredWorkitem | None) -> StoredWorkitem:
    if item is None:
        raise NotFound("There is no such workitem.", expression="workitem")
    if item.deleted:
        raise Gone("The workitem has ended and was deleted.", expression="workitem")
    return item
