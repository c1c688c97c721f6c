"""Subscriptions as the dispatcher and the notifier see them, and their numbered events."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection as Driver
from psycopg.rows import class_row
from sqlalchemy import text

from server.errors import NotFound
from server.store.database import UnitOfWork

#: One on which each statement is a transaction of its own.
Connection = Driver[Any]

# A subscription whose end has passed is off, whatever its resource still says.
_FIELDS = (
    "id, version, case when until <= now() then 'off' else status end as status, topic, filters, handshaken, "
    "events, delivered, failures, last_error, channel, heartbeat, told"
)
_EVENT = "number, topic, type, id, version, interaction, recorded"
_TAKE_OVER = text(
    """
    insert into subscription as old (tenant, id, version, status, topic, filters, until, channel, heartbeat)
    values (:tenant, :id, :version, :status, :topic, :filters, :until, :channel, :heartbeat)
    on conflict (tenant, id) do update set
      version = excluded.version, status = excluded.status, topic = excluded.topic, filters = excluded.filters,
      until = excluded.until, channel = excluded.channel, heartbeat = excluded.heartbeat,
      handshaken = old.handshaken and excluded.status in ('active', 'error'),
      failures = case when excluded.status = 'requested' then 0 else old.failures end,
      next_try = case when excluded.status = 'requested' then clock_timestamp() else old.next_try end
    where old.version < excluded.version
    """
)
_REMOVE = text("update subscription set status = 'off', version = :version where tenant = :tenant and id = :id")
_LISTENING = text(
    # Before its handshake, too: who catches up on receiving that may have looked before we know that it was taken.
    f"select {_FIELDS} from subscription where tenant = :tenant and status in ('requested', 'active', 'error') "
    "and (until is null or until > now()) order by id"
)
_ONE = text(f"select {_FIELDS} from subscription where tenant = :tenant and id = :id")
_ALL = text(f"select {_FIELDS} from subscription where tenant = :tenant order by id")
_OF_CHANNEL = text(
    f"select tenant, {_FIELDS} from subscription where channel = :channel and status <> 'off' "
    "and (until is null or until > now()) order by tenant, id"
)
_DUE = text(
    """
    select tenant, id, failures from subscription
    where status in ('requested', 'active', 'error') and (until is null or until > now())
      and next_try <= clock_timestamp()
      and (not handshaken or channel <> 'websocket' and (
        delivered < events or status = 'active' and told < clock_timestamp() - make_interval(secs => heartbeat)))
    order by told nulls first
    """
)
_ENDED = text("select tenant, id from subscription where until <= now() and status <> 'off' order by tenant, id")
_NUMBER = text(
    """
    update subscription s set events = s.events + more.count
    from unnest(cast(:ids as text[]), cast(:counts as bigint[])) as more (id, count)
    where s.tenant = :tenant and s.id = more.id returning s.id, s.events
    """
)
_APPEND = text(
    """
    insert into event (tenant, subscription, number, topic, type, id, version, interaction, recorded)
    select :tenant, * from unnest(cast(:subscriptions as text[]), cast(:numbers as bigint[]), cast(:topics as text[]),
      cast(:types as text[]), cast(:ids as text[]), cast(:versions as int[]), cast(:interactions as text[]),
      cast(:moments as timestamptz[]))
    """
)
# On the driver, each a transaction of its own: one of both for each notification.
_ACKNOWLEDGED = f"""
    update subscription
    set delivered = greatest(delivered, %s), failures = 0, last_error = '', told = clock_timestamp()
    where tenant = %s and id = %s returning {_FIELDS}
"""
_FOLLOWING = f"""
    select {_EVENT} from event where tenant = %s and subscription = %s and number > %s order by number limit %s
"""
_HANDSHAKEN = text(
    """
    update subscription
    set handshaken = true, status = 'active', failures = 0, last_error = '', told = clock_timestamp()
    where tenant = :tenant and id = :id and version = :version
    """
)
_FAILED = text(
    """
    update subscription set failures = failures + 1, last_error = :error,
      next_try = clock_timestamp() + make_interval(secs => least(:first * power(2, least(failures, 20)), :longest))
    where tenant = :tenant and id = :id returning failures
    """
)
_COMPLAIN = text("update subscription set last_error = :error where tenant = :tenant and id = :id")
_BETWEEN = text(
    f"""
    select {_EVENT} from event
    where tenant = :tenant and subscription = :subscription and number between :first and :last
    order by number limit :limit
    """
)
_OLDEST = text("select min(number) from event where tenant = :tenant and subscription = :subscription")
# Who was told, can't be told any more, has to come and ask, or never answered, may have missed what was kept long
# enough.
_FORGET = text(
    """
    delete from event e using subscription s
    where e.tenant = s.tenant and e.subscription = s.id
      and (e.number <= s.delivered or s.status = 'off' or s.until <= now() or s.channel = 'websocket'
        or not s.handshaken and s.delivered = 0)
      and e.recorded < now() - make_interval(days => :days)
    """
)


@dataclass(frozen=True, kw_only=True, slots=True)
class SubscriptionState:
    """One subscription's standing."""

    id: str
    version: int
    #: requested, active, error or off (R4 SubscriptionStatus).
    status: str
    topic: str
    #: Newline-separated search queries; all must match.
    filters: str
    handshaken: bool
    #: Number of the newest event.
    events: int
    #: Number of the newest acknowledged event.
    delivered: int
    #: Consecutive failures.
    failures: int
    last_error: str
    #: rest-hook, websocket, message or email.
    channel: str
    #: Seconds without a notification after which there is a heartbeat.
    heartbeat: int | None
    #: When the subscriber was last told something.
    told: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One numbered event."""

    number: int
    topic: str
    type: str
    id: str
    version: int
    #: create, update or delete.
    interaction: str
    recorded: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Unnumbered:
    """One event of one subscription, before it has its number."""

    subscription: str
    topic: str
    type: str
    id: str
    version: int
    interaction: str
    recorded: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Due:
    """One subscription with something to be told now."""

    tenant: int
    id: str
    #: Consecutive failures.
    failures: int


def take_over(
    uow: UnitOfWork, tenant: int, *, id: str, version: int, status: str, topic: str, filters: Sequence[str],
    until: datetime | None = None, channel: str = "rest-hook", heartbeat: int | None = None,
) -> None:  # fmt: skip
    """Follows one version of a Subscription resource; an older version than the known one changes nothing."""
    values = {"tenant": tenant, "id": id, "version": version, "status": status, "topic": topic, "until": until}
    more = {"filters": "\n".join(filters), "channel": channel, "heartbeat": heartbeat}
    uow.execute(_TAKE_OVER, {**values, **more})


def remove(uow: UnitOfWork, tenant: int, id: str, version: int) -> None:
    """The Subscription was deleted: no more events; those it had can still be queried."""
    uow.execute(_REMOVE, {"tenant": tenant, "id": id, "version": version})


def listening(uow: UnitOfWork, tenant: int) -> tuple[SubscriptionState, ...]:
    """Subscriptions that get numbers for new events: those that were not switched off."""
    return tuple(SubscriptionState(**row._mapping) for row in uow.execute(_LISTENING, {"tenant": tenant}))


def state(uow: UnitOfWork, tenant: int, id: str) -> SubscriptionState | None:
    """One subscription, or None when the dispatcher has not seen it yet."""
    row = uow.execute(_ONE, {"tenant": tenant, "id": id}).one_or_none()
    return None if row is None else SubscriptionState(**row._mapping)


def states(uow: UnitOfWork, tenant: int) -> tuple[SubscriptionState, ...]:
    """Every subscription."""
    return tuple(SubscriptionState(**row._mapping) for row in uow.execute(_ALL, {"tenant": tenant}))


def number(uow: UnitOfWork, tenant: int, found: Sequence[Unnumbered]) -> None:
    """Gives each event its subscription's next number, in the order given.

    The row locks make numbers gap-free, since a rollback gives them back.
    """
    if not found:
        return
    counts = Counter(event.subscription for event in found)
    ids = sorted(counts)
    rows = uow.execute(_NUMBER, {"tenant": tenant, "ids": ids, "counts": [counts[id] for id in ids]})
    following = {row.id: row.events - counts[row.id] + 1 for row in rows}
    numbers = []
    for event in found:
        numbers.append(following[event.subscription])
        following[event.subscription] += 1
    columns = {
        "subscriptions": [event.subscription for event in found],
        "numbers": numbers,
        "topics": [event.topic for event in found],
        "types": [event.type for event in found],
        "ids": [event.id for event in found],
        "versions": [event.version for event in found],
        "interactions": [event.interaction for event in found],
        "moments": [event.recorded for event in found],
    }
    uow.execute(_APPEND, {"tenant": tenant, **columns})


def of_channel(uow: UnitOfWork, channel: str) -> tuple[tuple[int, SubscriptionState], ...]:
    """The subscriptions of one channel that are not off, each with its tenant."""
    rows = uow.execute(_OF_CHANNEL, {"channel": channel}).mappings()
    return tuple((row["tenant"], SubscriptionState(**{k: v for k, v in row.items() if k != "tenant"})) for row in rows)


def only_one(uow: UnitOfWork) -> bool:
    """Takes the right to notify until the transaction ends, unless another process has it."""
    row = uow.driver.execute("select pg_try_advisory_xact_lock(hashtextextended('notify', 0))").fetchone()
    return bool(row and row[0])


def due(uow: UnitOfWork) -> tuple[Due, ...]:
    """The subscriptions of all tenants that are to be told something now; who was told longest ago comes first."""
    return tuple(Due(**row._mapping) for row in uow.execute(_DUE))


def ended(uow: UnitOfWork) -> tuple[tuple[int, str], ...]:
    """Tenant and id of the subscriptions whose end has come, while their resource does not say so yet."""
    return tuple((row.tenant, row.id) for row in uow.execute(_ENDED))


def acknowledged(connection: Connection, tenant: int, id: str, number: int) -> SubscriptionState:
    """The subscriber took all events up to ``number``; gives how it stands now."""
    with connection.cursor(row_factory=class_row(SubscriptionState)) as cursor:
        found = cursor.execute(_ACKNOWLEDGED.encode(), (number, tenant, id)).fetchone()
    if found is None:
        raise NotFound(f"There is no Subscription/{id}.")
    return found


def following(connection: Connection, tenant: int, id: str, number: int, limit: int) -> tuple[Event, ...]:
    """The subscription's events after ``number``, at most ``limit``."""
    with connection.cursor(row_factory=class_row(Event)) as cursor:
        return tuple(cursor.execute(_FOLLOWING.encode(), (tenant, id, number, limit)))


def handshaken(uow: UnitOfWork, tenant: int, id: str, version: int) -> None:
    """The subscriber answered the handshake for this version of the Subscription."""
    uow.execute(_HANDSHAKEN, {"tenant": tenant, "id": id, "version": version})


def failed(uow: UnitOfWork, tenant: int, id: str, error: str, *, first: float, longest: float) -> int:
    """Notes a failed attempt; returns how many there were in a row. The pause is ``first`` seconds, then doubles."""
    values = {"tenant": tenant, "id": id, "error": error, "first": first, "longest": longest}
    return int(uow.execute(_FAILED, values).scalar_one())


def complain(uow: UnitOfWork, tenant: int, id: str, error: str) -> None:
    """Notes what is wrong with a subscription for $status to tell."""
    uow.execute(_COMPLAIN, {"tenant": tenant, "id": id, "error": error})


def between(uow: UnitOfWork, tenant: int, id: str, *, first: int, last: int, limit: int) -> tuple[Event, ...]:
    """The subscription's events with numbers from ``first`` to ``last``, at most ``limit``."""
    parameters = {"tenant": tenant, "subscription": id, "first": first, "last": last, "limit": limit}
    return tuple(Event(**row._mapping) for row in uow.execute(_BETWEEN, parameters))


def oldest(uow: UnitOfWork, tenant: int, id: str) -> int | None:
    """Number of the oldest event still kept."""
    number = uow.execute(_OLDEST, {"tenant": tenant, "subscription": id}).scalar_one()
    return None if number is None else int(number)


def forget(uow: UnitOfWork, days: int) -> int:
    """Deletes events older than ``days`` that nobody waits for; returns how many."""
    return int(uow.execute(_FORGET, {"days": days}).rowcount)
