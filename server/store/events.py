"""Subscriptions as the dispatcher and the notifier see them, and their numbered events."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text

from server.store.database import UnitOfWork

# A subscription whose end has passed is off, whatever its resource still says.
_FIELDS = (
    "id, version, case when until <= now() then 'off' else status end as status, topic, filters, handshaken, "
    "events, delivered, scheduled, failures, last_error"
)
_TAKE_OVER = text(
    """
    insert into subscription as old (tenant, id, version, status, topic, filters, until)
    values (:tenant, :id, :version, :status, :topic, :filters, :until)
    on conflict (tenant, id) do update set
      version = excluded.version, status = excluded.status, topic = excluded.topic, filters = excluded.filters,
      until = excluded.until,
      handshaken = old.handshaken and excluded.status in ('active', 'error'),
      failures = case when excluded.status = 'requested' then 0 else old.failures end
    where old.version < excluded.version
    """
)
_REMOVE = text("update subscription set status = 'off', version = :version where tenant = :tenant and id = :id")
_LISTENING = text(
    f"select {_FIELDS} from subscription where tenant = :tenant and handshaken and status in ('active', 'error') "
    "and (until is null or until > now())"
)
_ONE = text(f"select {_FIELDS} from subscription where tenant = :tenant and id = :id")
_ALL = text(f"select {_FIELDS} from subscription where tenant = :tenant order by id")
_NUMBER = text("update subscription set events = events + 1 where tenant = :tenant and id = :id returning events")
_APPEND = text(
    """
    insert into event (tenant, subscription, number, topic, type, id, version, interaction, recorded)
    values (:tenant, :subscription, :number, :topic, :type, :id, :version, :interaction, :recorded)
    """
)
_SCHEDULE = text(
    "update subscription set scheduled = true where tenant = :tenant and id = :id and not scheduled returning id"
)
_HURRY = text("update procrastinate_jobs set scheduled_at = null where lock = :lock and status = 'todo'")
_REST = text(
    """
    update subscription set scheduled = false
    where tenant = :tenant and id = :id and (status = 'off' or (handshaken and delivered = events))
    returning id
    """
)
_ACKNOWLEDGED = text(
    """
    update subscription set delivered = greatest(delivered, :number), failures = 0, last_error = ''
    where tenant = :tenant and id = :id
    """
)
_HANDSHAKEN = text(
    """
    update subscription set handshaken = true, status = 'active', failures = 0, last_error = ''
    where tenant = :tenant and id = :id and version = :version
    """
)
_FAILED = text(
    """
    update subscription set failures = failures + 1, last_error = :error where tenant = :tenant and id = :id
    returning failures
    """
)
_BETWEEN = text(
    """
    select number, topic, type, id, version, interaction, recorded from event
    where tenant = :tenant and subscription = :subscription and number between :first and :last
    order by number limit :limit
    """
)
_OLDEST = text("select min(number) from event where tenant = :tenant and subscription = :subscription")
_FORGET = text(
    """
    delete from event e using subscription s
    where e.tenant = s.tenant and e.subscription = s.id and e.number <= s.delivered
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
    scheduled: bool
    #: Consecutive failures.
    failures: int
    last_error: str


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


def take_over(
    uow: UnitOfWork, tenant: int, *, id: str, version: int, status: str, topic: str, filters: Sequence[str],
    until: datetime | None = None,
) -> None:  # fmt: skip
    """Follows one version of a Subscription resource; an older version than the known one changes nothing."""
    values = {"tenant": tenant, "id": id, "version": version, "status": status, "topic": topic, "until": until}
    uow.execute(_TAKE_OVER, {**values, "filters": "\n".join(filters)})


def remove(uow: UnitOfWork, tenant: int, id: str, version: int) -> None:
    """The Subscription was deleted: no more events; those it had can still be queried."""
    uow.execute(_REMOVE, {"tenant": tenant, "id": id, "version": version})


def listening(uow: UnitOfWork, tenant: int) -> tuple[SubscriptionState, ...]:
    """Subscriptions that get numbers for new events: those that answered their handshake and were not switched off."""
    return tuple(SubscriptionState(**row._mapping) for row in uow.execute(_LISTENING, {"tenant": tenant}))


def state(uow: UnitOfWork, tenant: int, id: str) -> SubscriptionState | None:
    """One subscription, or None when the dispatcher has not seen it yet."""
    row = uow.execute(_ONE, {"tenant": tenant, "id": id}).one_or_none()
    return None if row is None else SubscriptionState(**row._mapping)


def states(uow: UnitOfWork, tenant: int) -> tuple[SubscriptionState, ...]:
    """Every subscription."""
    return tuple(SubscriptionState(**row._mapping) for row in uow.execute(_ALL, {"tenant": tenant}))


def append(
    uow: UnitOfWork, tenant: int, subscription: str, *, topic: str, type: str, id: str, version: int,
    interaction: str, recorded: datetime,
) -> int:  # fmt: skip
    """Gives the next number; the row lock makes numbers gap-free, since a rollback gives the number back."""
    number = int(uow.execute(_NUMBER, {"tenant": tenant, "id": subscription}).scalar_one())
    values = {"type": type, "id": id, "version": version, "interaction": interaction, "recorded": recorded}
    uow.execute(_APPEND, {"tenant": tenant, "subscription": subscription, "number": number, "topic": topic, **values})
    return number


def schedule(uow: UnitOfWork, tenant: int, id: str, *, now: bool = False) -> None:
    """Sees to it that exactly one notify job exists for the subscription; ``now`` ends the pause after a failure."""
    if uow.execute(_SCHEDULE, {"tenant": tenant, "id": id}).one_or_none() is not None:
        defer_notify(uow, tenant, id)
    elif now:
        uow.execute(_HURRY, {"lock": _lock(tenant, id)})


def defer_notify(uow: UnitOfWork, tenant: int, id: str, *, seconds: float = 0) -> None:
    """Defers the subscription's notify job, after a pause of ``seconds`` if it is above zero."""
    schedule_in = {"seconds": seconds} if seconds else None
    uow.defer("notify", queue="notify", lock=_lock(tenant, id), schedule_in=schedule_in, tenant=tenant, subscription=id)


def _lock(tenant: int, id: str) -> str:
    return f"notify/{tenant}/{id}"


def rest(uow: UnitOfWork, tenant: int, id: str) -> bool:
    """Ends the subscription's notify job; False when there is something left to deliver."""
    return uow.execute(_REST, {"tenant": tenant, "id": id}).one_or_none() is not None


def acknowledged(uow: UnitOfWork, tenant: int, id: str, number: int) -> None:
    """The subscriber took all events up to ``number``."""
    uow.execute(_ACKNOWLEDGED, {"tenant": tenant, "id": id, "number": number})


def handshaken(uow: UnitOfWork, tenant: int, id: str, version: int) -> None:
    """The subscriber answered the handshake for this version of the Subscription."""
    uow.execute(_HANDSHAKEN, {"tenant": tenant, "id": id, "version": version})


def failed(uow: UnitOfWork, tenant: int, id: str, error: str) -> int:
    """Notes a failed attempt; returns how many there were in a row."""
    return int(uow.execute(_FAILED, {"tenant": tenant, "id": id, "error": error}).scalar_one())


def between(uow: UnitOfWork, tenant: int, id: str, *, first: int, last: int, limit: int) -> tuple[Event, ...]:
    """The subscription's events with numbers from ``first`` to ``last``, at most ``limit``."""
    parameters = {"tenant": tenant, "subscription": id, "first": first, "last": last, "limit": limit}
    return tuple(Event(**row._mapping) for row in uow.execute(_BETWEEN, parameters))


def oldest(uow: UnitOfWork, tenant: int, id: str) -> int | None:
    """Number of the oldest event still kept."""
    number = uow.execute(_OLDEST, {"tenant": tenant, "subscription": id}).scalar_one()
    return None if number is None else int(number)


def forget(uow: UnitOfWork, days: int) -> int:
    """Deletes delivered events older than ``days``; returns how many."""
    return int(uow.execute(_FORGET, {"days": days}).rowcount)
