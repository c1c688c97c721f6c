"""The outbox: one row for each version written, read in commit-safe order by one dispatcher per tenant.

``store.resources`` writes the rows with the versions. Nothing is notified: PostgreSQL lets transactions that NOTIFY
commit only one after the other, which every writer would pay for; looking ten times a second costs next to nothing.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text

from server.store.database import UnitOfWork

#: Tenants with changes that the dispatcher has not seen and that no running transaction can overtake.
_TENANTS = text(
    # The order and the limit make it a look at one end of the index, however long the outbox is.
    """
    select t.tenant from tenant t left join dispatch_position p on p.tenant = t.tenant
    cross join lateral (
      select from change c where c.tenant = t.tenant and (c.xid, c.seq) > (coalesce(p.xid, 0), coalesce(p.seq, 0))
        and c.xid < (pg_snapshot_xmin(pg_current_snapshot())::text)::bigint
      order by c.xid, c.seq limit 1
    ) waiting order by t.tenant
    """
)
_TRY_LOCK = text("select pg_try_advisory_xact_lock(hashtextextended('dispatch/' || :tenant, 0))")
_POSITION = text("select xid, seq from dispatch_position where tenant = :tenant")
#: Rows of transactions that are all over: none can appear later below the oldest running transaction.
_PENDING = text(
    """
    select seq, xid, type, id, version, recorded from change
    where tenant = :tenant and (xid, seq) > (:xid, :seq)
      and xid < (pg_snapshot_xmin(pg_current_snapshot())::text)::bigint
    order by xid, seq limit :limit
    """
)
_ADVANCE = text(
    """
    insert into dispatch_position (tenant, xid, seq) values (:tenant, :xid, :seq)
    on conflict (tenant) do update set xid = excluded.xid, seq = excluded.seq
    """
)
_FORGET = text(
    """
    delete from change c using dispatch_position p
    where c.tenant = p.tenant and (c.xid, c.seq) <= (p.xid, p.seq) and c.recorded < now() - make_interval(days => :days)
    """
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Position:
    """A place in the outbox; all before it has been dispatched."""

    xid: int = 0
    seq: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One version of one resource, as it was written."""

    seq: int
    xid: int
    type: str
    id: str
    #: The new version; the one before is ``version - 1``.
    version: int
    recorded: datetime

    @property
    def position(self) -> Position:
        """Where the outbox stands once this change is dispatched."""
        return Position(xid=self.xid, seq=self.seq)


def tenants(uow: UnitOfWork) -> tuple[int, ...]:
    """The tenants that have something to dispatch."""
    return tuple(uow.execute(_TENANTS).scalars())


def try_lock(uow: UnitOfWork, tenant: int) -> bool:
    """Makes this transaction the tenant's only dispatcher; False when another one is at it."""
    return bool(uow.execute(_TRY_LOCK, {"tenant": str(tenant)}).scalar_one())


def position(uow: UnitOfWork, tenant: int) -> Position:
    """How far the tenant's changes have been dispatched."""
    row = uow.execute(_POSITION, {"tenant": tenant}).one_or_none()
    return Position() if row is None else Position(xid=row.xid, seq=row.seq)


def pending(uow: UnitOfWork, tenant: int, after: Position, limit: int) -> tuple[Change, ...]:
    """The next changes, in an order that no later commit can disturb."""
    parameters = {"tenant": tenant, "xid": after.xid, "seq": after.seq, "limit": limit}
    return tuple(Change(**row._mapping) for row in uow.execute(_PENDING, parameters))


def advance(uow: UnitOfWork, tenant: int, to: Position) -> None:
    """Commits, with everything else in this transaction, that all up to ``to`` is dispatched."""
    uow.execute(_ADVANCE, {"tenant": tenant, "xid": to.xid, "seq": to.seq})


def forget(uow: UnitOfWork, days: int) -> int:
    """Deletes dispatched changes older than ``days``; returns how many."""
    return int(uow.execute(_FORGET, {"days": days}).rowcount)
