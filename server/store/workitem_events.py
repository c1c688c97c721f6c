"""Named queries for subscriptions to workitems, and for the event reports that subscribers get."""

from collections.abc import Sequence
from dataclasses import dataclass

from server.store.database import UnitOfWork


@dataclass(frozen=True, kw_only=True, slots=True)
class Subscription:
    """Who subscribed, how."""

    subscriber: str
    deletion_lock: bool
    #: Search parameters as JSON; empty for all.
    filter: bytes = b""


@dataclass(frozen=True, kw_only=True, slots=True)
class EventReport:
    """One event report of one subscriber."""

    number: int
    #: DICOM JSON.
    report: bytes


def order(uow: UnitOfWork, tenant: int, *, alone: bool = False) -> None:
    """Keeps creations and global subscriptions apart until the transaction ends, or one misses the other."""
    shared = b"" if alone else b"_shared"
    uow.driver.execute(
        b"select pg_advisory_xact_lock%b(hashtextextended(%%s, 0))" % shared, (f"workitems\x1f{tenant}",)
    )


def subscribe(uow: UnitOfWork, tenant: int, workitem: str, subscription: Subscription) -> bool:
    """Enters or replaces a subscription; whether there was none before."""
    uow.driver.execute(
        "insert into workitem_subscriber (tenant, subscriber) values (%s, %s) on conflict do nothing",
        (tenant, subscription.subscriber),
    )
    row = uow.driver.execute(
        "insert into workitem_subscription (tenant, workitem, subscriber, deletion_lock, filter) "
        "values (%s, %s, %s, %s, %s) on conflict (tenant, workitem, subscriber) do update set "
        "deletion_lock = excluded.deletion_lock, filter = excluded.filter returning xmax = 0",
        (tenant, workitem, subscription.subscriber, subscription.deletion_lock, subscription.filter),
    ).fetchone()
    return row is not None and bool(row[0])


def join(uow: UnitOfWork, tenant: int, workitem: str, subscription: Subscription) -> None:
    """Enters a subscription unless there is one: what was said of one workitem goes before what was said of all."""
    uow.driver.execute(
        "insert into workitem_subscription (tenant, workitem, subscriber, deletion_lock) values (%s, %s, %s, %s) "
        "on conflict do nothing",
        (tenant, workitem, subscription.subscriber, subscription.deletion_lock),
    )


def unsubscribe(uow: UnitOfWork, tenant: int, workitem: str, subscriber: str) -> bool:
    """Removes one subscription; False where there was none."""
    gone = uow.driver.execute(
        "delete from workitem_subscription where tenant = %s and workitem = %s and subscriber = %s",
        (tenant, workitem, subscriber),
    )
    return gone.rowcount == 1


def unsubscribe_all(uow: UnitOfWork, tenant: int, subscriber: str) -> bool:
    """Removes every subscription of a subscriber; False where there was none."""
    gone = uow.driver.execute(
        "delete from workitem_subscription where tenant = %s and subscriber = %s", (tenant, subscriber)
    )
    return gone.rowcount > 0


def subscriptions(uow: UnitOfWork, tenant: int, workitem: str) -> list[Subscription]:
    """Those for one workitem, or for one of the well-known UIDs, in the order in which they are locked."""
    rows = uow.driver.execute(
        "select subscriber, deletion_lock, filter from workitem_subscription where tenant = %s and workitem = %s "
        "order by subscriber",
        (tenant, workitem),
    )
    return [Subscription(subscriber=row[0], deletion_lock=row[1], filter=row[2]) for row in rows]


def number(uow: UnitOfWork, tenant: int, subscriber: str) -> int:
    """The next number of a subscriber; held until the transaction ends, so that numbers commit in their order."""
    row = uow.driver.execute(
        "update workitem_subscriber set numbered = numbered + 1 where tenant = %s and subscriber = %s "
        "returning numbered",
        (tenant, subscriber),
    ).fetchone()
    if row is None:
        raise LookupError(f"The subscriber of tenant {tenant} is not entered.")
    return int(row[0])


def append(
    uow: UnitOfWork, tenant: int, subscriber: str, number: int, *, workitem: str, type: int, report: bytes
) -> None:
    """Keeps an event report for a subscriber."""
    uow.driver.execute(
        "insert into workitem_event (tenant, subscriber, number, workitem, type, report) "
        "values (%s, %s, %s, %s, %s, %s)",
        (tenant, subscriber, number, workitem, type, report),
    )


def subscribers(uow: UnitOfWork) -> list[tuple[int, str, int]]:
    """Tenant, AE title and number of the newest event of every subscriber."""
    rows = uow.driver.execute("select tenant, subscriber, numbered from workitem_subscriber order by 1, 2")
    return [(row[0], row[1], row[2]) for row in rows]


def delivered(uow: UnitOfWork, tenant: int, subscriber: str) -> int | None:
    """Number of the newest event that a subscriber has for sure; None where nobody of that title ever subscribed."""
    row = uow.driver.execute(
        "select delivered from workitem_subscriber where tenant = %s and subscriber = %s", (tenant, subscriber)
    ).fetchone()
    return None if row is None else int(row[0])


def after(uow: UnitOfWork, tenant: int, subscriber: str, number: int, limit: int) -> Sequence[EventReport]:
    """The subscriber's events behind a number, in their order."""
    rows = uow.driver.execute(
        "select number, report from workitem_event where tenant = %s and subscriber = %s and number > %s "
        "order by number limit %s",
        (tenant, subscriber, number, limit),
    )
    return [EventReport(number=row[0], report=row[1]) for row in rows]


def acknowledge(uow: UnitOfWork, tenant: int, subscriber: str, number: int) -> None:
    """The subscriber has everything up to ``number``."""
    uow.driver.execute(
        "update workitem_subscriber set delivered = greatest(delivered, %s) where tenant = %s and subscriber = %s",
        (number, tenant, subscriber),
    )


def forget(uow: UnitOfWork, days: int) -> int:
    """Deletes events older than ``days``; gives how many."""
    gone = uow.driver.execute("delete from workitem_event where created < now() - make_interval(days => %s)", (days,))
    return gone.rowcount
