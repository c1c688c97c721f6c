"""Who is told of workitems, and their event reports (PS3.4 CC.2.3 and CC.2.4, PS3.18 11.10 to 11.13).

A report commits with what it tells of; numbers are given under the subscriber's row lock, so that they commit in order.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from server.errors import BadRequest, NotFound
from server.imaging import workitem_reports as reports
from server.imaging import workitem_search
from server.imaging.dataset import Attributes
from server.imaging.workitem import FILTERED, GLOBAL
from server.imaging.workitem_reports import Report
from server.security.access import Access
from server.store import audit, workitem_events, workitems
from server.store.database import Database, UnitOfWork
from server.store.workitem_events import EventReport, Subscription

#: AE: no control characters, no backslash, not only spaces (PS3.5 6.2).
_TITLE = re.compile(r"[\x21-\x5b\x5d-\x7e](?:[\x20-\x5b\x5d-\x7e]{0,14}[\x21-\x5b\x5d-\x7e])?", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class WorkitemSubscriptions:
    """Subscriptions and the events of each subscriber."""

    database: Database

    def subscribe(
        self, access: Access, workitem: str, title: str, *, deletion_lock: bool, keys: Sequence[tuple[str, str]] = ()
    ) -> None:
        """Subscribes an AE to one workitem, or to all by GLOBAL, or to those that match ``keys`` by FILTERED.

        Raises BadRequest for what is no AE title or key, NotFound for an unknown workitem, Forbidden.
        """
        access.require("write")
        subscription = Subscription(subscriber=_title(title), deletion_lock=deletion_lock)
        with self.database.unit_of_work() as uow:
            audit.note(uow, access.tenant, access.who, "subscribe", "Workitem", workitem)
            if workitem in (GLOBAL, FILTERED):
                kept = orjson.dumps(list(keys)) if workitem == FILTERED else b""
                self._subscribe_all(uow, access.tenant, workitem, subscription, kept)
                return
            item = workitems.get(uow, access.tenant, workitem, lock=True)
            if item is None or item.deleted:
                raise NotFound("There is no such workitem.", expression="workitem")
            workitem_events.subscribe(uow, access.tenant, workitem, subscription)
            _tell(uow, access.tenant, title, workitem, [reports.state_report(orjson.loads(item.attributes))])

    def _subscribe_all(
        self, uow: UnitOfWork, tenant: int, workitem: str, subscription: Subscription, keys: bytes
    ) -> None:
        """Table CC.2.3-2: every workitem that there is and that nothing was said of; with a lock each is told of."""
        workitem_events.order(uow, tenant, alone=True)
        query = workitem_search.parse(orjson.loads(keys) if keys else ())
        kept = Subscription(subscriber=subscription.subscriber, deletion_lock=subscription.deletion_lock, filter=keys)
        workitem_events.subscribe(uow, tenant, workitem, kept)
        for item in workitems.each(uow, tenant):
            attributes = orjson.loads(item.attributes)
            if query.matches(attributes):
                workitem_events.join(uow, tenant, item.workitem, subscription)
                if subscription.deletion_lock:
                    report = reports.state_report(attributes)
                    _tell(uow, tenant, subscription.subscriber, item.workitem, [report])

    def unsubscribe(self, access: Access, workitem: str, title: str) -> None:
        """Ends a subscription, the global one with all others; raises NotFound where there is none, Forbidden."""
        access.require("write")
        with self.database.unit_of_work() as uow:
            audit.note(uow, access.tenant, access.who, "unsubscribe", "Workitem", workitem)
            if workitem in (GLOBAL, FILTERED):
                gone = workitem_events.unsubscribe_all(uow, access.tenant, _title(title))
            else:
                gone = workitem_events.unsubscribe(uow, access.tenant, workitem, _title(title))
            if not gone:
                raise NotFound("There is no such subscription.", expression="AETitle")

    def suspend(self, access: Access, workitem: str, title: str) -> None:
        """Ends a global or filtered subscription for workitems to come; those that there are stay subscribed.

        Raises BadRequest for the UID of one workitem, NotFound where there is no such subscription, Forbidden.
        """
        access.require("write")
        if workitem not in (GLOBAL, FILTERED):
            raise BadRequest(f"Only the subscriptions {GLOBAL} and {FILTERED} can be suspended.", expression="workitem")
        with self.database.unit_of_work() as uow:
            audit.note(uow, access.tenant, access.who, "suspend", "Workitem", workitem)
            if not workitem_events.unsubscribe(uow, access.tenant, workitem, _title(title)):
                raise NotFound("There is no such subscription.", expression="AETitle")

    def position(self, access: Access, title: str) -> int:
        """Number of the newest event that a subscriber has for sure; raises NotFound for who never subscribed."""
        access.require("read")
        with self.database.reading() as uow:
            found = workitem_events.delivered(uow, access.tenant, title)
        if found is None:
            raise NotFound("Nobody of this AE title has subscribed; subscribe first.", expression="AETitle")
        return found

    def after(self, access: Access, title: str, number: int, limit: int) -> Sequence[EventReport]:
        """The subscriber's events behind a number, in order."""
        with self.database.reading() as uow:
            return workitem_events.after(uow, access.tenant, title, number, limit)

    def acknowledge(self, access: Access, title: str, number: int) -> None:
        """The subscriber has everything up to ``number``."""
        with self.database.unit_of_work() as uow:
            workitem_events.acknowledge(uow, access.tenant, title, number)

    def newest(self) -> dict[tuple[int, str], int]:
        """Tenant and AE title -> number of the newest event, for every subscriber."""
        with self.database.reading() as uow:
            return {(tenant, title): number for tenant, title, number in workitem_events.subscribers(uow)}

    def restarted(self) -> None:
        """Tells every subscriber that this server was started anew."""
        with self.database.unit_of_work() as uow:
            for tenant, title, _ in workitem_events.subscribers(uow):
                _tell(uow, tenant, title, GLOBAL, [reports.restarted()])

    def forget(self, days: int) -> int:
        """Deletes events older than ``days``; gives how many."""
        with self.database.unit_of_work() as uow:
            return workitem_events.forget(uow, days)


def tell(uow: UnitOfWork, tenant: int, workitem: str, told: Sequence[Report]) -> int:
    """Reports of one workitem for everybody who is subscribed to it; gives how many those are."""
    found = workitem_events.subscriptions(uow, tenant, workitem)
    for subscription in found if told else ():
        _tell(uow, tenant, subscription.subscriber, workitem, told)
    return len(found)


def _tell(uow: UnitOfWork, tenant: int, title: str, workitem: str, told: Sequence[Report]) -> None:
    for report in told:
        number = workitem_events.number(uow, tenant, title)
        body = orjson.dumps(reports.dataset(report, workitem, number))
        workitem_events.append(uow, tenant, title, number, workitem=workitem, type=report.type, report=body)


def enrol(uow: UnitOfWork, tenant: int, workitem: str, attributes: Attributes) -> None:
    """Subscribes to a new workitem whoever subscribed to all, or to such as this one is."""
    for subscription in workitem_events.subscriptions(uow, tenant, GLOBAL):
        workitem_events.join(uow, tenant, workitem, subscription)
    for subscription in workitem_events.subscriptions(uow, tenant, FILTERED):
        if workitem_search.parse(orjson.loads(subscription.filter)).matches(attributes):
            workitem_events.join(uow, tenant, workitem, subscription)


def _title(title: str) -> str:
    if not _TITLE.fullmatch(title):
        raise BadRequest("An AE title has 1 to 16 characters of ASCII without backslash.", expression="AETitle")
    return title
