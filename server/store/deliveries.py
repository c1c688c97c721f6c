"""Named queries of those who work on the queue to peers: what is due, who is at it, how it goes on.

A delivery is claimed by marking it with a slot, one of its peer's threads. One process at a time has the right to do
so, by an advisory lock; it ends with the process, and whoever has it next takes the marks away.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from server.store.database import UnitOfWork


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """A delivery that a slot is to work on."""

    tenant: int
    peer: str
    study: str
    rule: str
    rank: int
    #: waiting: to be sent; committing: a storage commitment did not come.
    state: str
    attempts: int


def only_one(uow: UnitOfWork) -> bool:
    """Takes the right to work on the queue until the transaction ends, unless another process has it."""
    row = uow.driver.execute("select pg_try_advisory_xact_lock(hashtextextended('deliver', 0))").fetchone()
    return bool(row and row[0])


def free_all(uow: UnitOfWork) -> None:
    """Takes away every mark: whoever had the right before is gone."""
    uow.driver.execute("update delivery set slot = null where slot is not null")


_DUE = """
    d.state in ('waiting', 'committing') and d.slot is null and d.next_try <= clock_timestamp()
    and d.rule <> all(%(closed)s)
"""


def due(uow: UnitOfWork, peers: Sequence[str], closed: Sequence[str]) -> frozenset[str]:
    """Those of the peers for which something is due now; ``closed`` are the rules outside their hours."""
    rows = uow.driver.execute(
        # One look into an index for each peer, however much waits.
        "select u.peer from unnest(%(peers)s::text[]) as u (peer) cross join lateral "
        f"(select 1 from delivery d where d.peer = u.peer and {_DUE} order by d.next_try limit 1) found".encode(),
        {"peers": within_reach(uow, peers), "closed": list(closed)},
    )
    return frozenset(row[0] for row in rows)


def within_reach(uow: UnitOfWork, peers: Sequence[str]) -> list[str]:
    """Those of the peers that are not to be left alone now."""
    rows = uow.driver.execute(
        "select u.peer from unnest(%s::text[]) as u (peer) where not exists "
        "(select from peer_state p where p.peer = u.peer and p.next_try > clock_timestamp())",
        (list(peers),),
    )
    return [row[0] for row in rows]


_CLAIM = f"""
    update delivery c set slot = %(slot)s from (
      select d.tenant, d.peer, d.study, d.rule from delivery d where d.peer = %(peer)s and {_DUE}
      order by d.rank, d.queued, d.number limit 1 for update skip locked
    ) n where c.tenant = n.tenant and c.peer = n.peer and c.study = n.study and c.rule = n.rule
    returning c.tenant, c.peer, c.study, c.rule, c.rank, c.state, c.attempts
"""


def claim(uow: UnitOfWork, peer: str, slot: int, closed: Sequence[str]) -> Delivery | None:
    """Marks the delivery that comes first with the slot."""
    if not within_reach(uow, [peer]):
        return None
    row = uow.driver.execute(_CLAIM.encode(), {"peer": peer, "slot": slot, "closed": list(closed)}).fetchone()
    if row is None:
        return None
    return Delivery(tenant=row[0], peer=row[1], study=row[2], rule=row[3], rank=row[4], state=row[5], attempts=row[6])


def unsent(uow: UnitOfWork, delivery: Delivery, most: int) -> dict[str, int]:
    """The instances of a delivery that the peer has not confirmed, and how often each was tried; the least first."""
    rows = uow.driver.execute(
        "select instance, attempts from sending where tenant = %s and peer = %s and study = %s and rule = %s "
        "and sent is null and dropped is null order by attempts, instance limit %s",
        (*_key(delivery), most),
    )
    return dict(rows.fetchall())


def least_tried(uow: UnitOfWork, delivery: Delivery) -> int | None:
    """How often that instance was tried that was tried least of those not sent; None where all are sent."""
    row = uow.driver.execute(
        "select min(attempts) from sending where tenant = %s and peer = %s and study = %s and rule = %s "
        "and sent is null and dropped is null",
        _key(delivery),
    ).fetchone()
    return row[0] if row else None


def uncommitted(uow: UnitOfWork, delivery: Delivery) -> list[str]:
    """The instances that the peer has but did not commit itself to."""
    rows = uow.driver.execute(
        "select instance from sending where tenant = %s and peer = %s and study = %s and rule = %s "
        "and sent is not null and committed is null and dropped is null order by instance",
        _key(delivery),
    )
    return [row[0] for row in rows]


def sent(uow: UnitOfWork, delivery: Delivery, remarks: Mapping[str, str]) -> None:
    """The peer confirmed these, each with a remark or none."""
    uow.driver.execute(
        "update sending s set sent = clock_timestamp(), attempts = s.attempts + 1, last_error = u.remark "
        "from unnest(%s::text[], %s::text[]) as u (instance, remark) "
        "where s.tenant = %s and s.peer = %s and s.instance = u.instance",
        (list(remarks), list(remarks.values()), delivery.tenant, delivery.peer),
    )


def refused(uow: UnitOfWork, delivery: Delivery, reasons: Mapping[str, str]) -> None:
    """The peer did not take these, each for its reason."""
    uow.driver.execute(
        "update sending s set attempts = s.attempts + 1, last_error = u.reason "
        "from unnest(%s::text[], %s::text[]) as u (instance, reason) "
        "where s.tenant = %s and s.peer = %s and s.instance = u.instance",
        (list(reasons), list(reasons.values()), delivery.tenant, delivery.peer),
    )


def gone(uow: UnitOfWork, delivery: Delivery, instances: Sequence[str]) -> None:
    """These are not stored here any more: nothing is left to send."""
    uow.driver.execute(
        "update sending set dropped = clock_timestamp(), last_error = 'deleted here before it was sent' "
        "where tenant = %s and peer = %s and instance = any(%s)",
        (delivery.tenant, delivery.peer, list(instances)),
    )


def free(uow: UnitOfWork, delivery: Delivery, *, transaction: str = "", pause: float = 0, error: str = "") -> None:
    """Takes the slot's mark away and says how it goes on.

    Something unsent: waiting, for ``pause`` seconds after an ``error``. All sent: committing under ``transaction``
    (asked for again after ``pause``), else done.
    """
    # First held, so that what is queued at this moment is seen below.
    uow.driver.execute(
        "select 1 from delivery where tenant = %s and peer = %s and study = %s and rule = %s for update",
        _key(delivery),
    )
    uow.driver.execute(
        "update delivery d set slot = null, transaction = %(transaction)s, last_error = %(error)s, "
        "attempts = case when %(error)s <> '' then d.attempts + 1 when %(transaction)s <> '' then d.attempts "
        "else 0 end, "
        "next_try = clock_timestamp() + make_interval(secs => %(pause)s), "
        "state = case when d.state = 'dropped' then 'dropped' when open.unsent then 'waiting' "
        "when %(transaction)s <> '' or (%(error)s <> '' and d.state = 'committing') then 'committing' else 'done' end, "
        "done = case when open.unsent or %(transaction)s <> '' or %(error)s <> '' then null "
        "else clock_timestamp() end "
        "from (select exists (select from sending s where s.tenant = %(tenant)s and s.peer = %(peer)s "
        "and s.study = %(study)s and s.rule = %(rule)s and s.sent is null and s.dropped is null) as unsent) open "
        "where d.tenant = %(tenant)s and d.peer = %(peer)s and d.study = %(study)s and d.rule = %(rule)s",
        {
            "tenant": delivery.tenant, "peer": delivery.peer, "study": delivery.study, "rule": delivery.rule,
            "transaction": transaction, "pause": pause, "error": error,
        },
    )  # fmt: skip


def release(uow: UnitOfWork, delivery: Delivery) -> None:
    """Takes the slot's mark away; the delivery is due as it was."""
    uow.driver.execute(
        "update delivery set slot = null, next_try = least(next_try, clock_timestamp()) "
        "where tenant = %s and peer = %s and study = %s and rule = %s",
        _key(delivery),
    )


def _key(delivery: Delivery) -> tuple[int, str, str, str]:
    return delivery.tenant, delivery.peer, delivery.study, delivery.rule


def commitment_result(
    uow: UnitOfWork, tenant: int, transaction: str, committed: Sequence[str], failed: Mapping[str, str]
) -> bool:
    """Takes in a storage commitment's result: what failed is sent again. False where nobody waits for it."""
    row = uow.driver.execute(
        "select tenant, peer, study, rule, rank, state, attempts from delivery "
        "where tenant = %s and transaction = %s for update",
        (tenant, transaction),
    ).fetchone()
    if row is None:
        return False
    found = Delivery(tenant=row[0], peer=row[1], study=row[2], rule=row[3], rank=row[4], state=row[5], attempts=row[6])
    uow.driver.execute(
        "update sending set committed = clock_timestamp() where tenant = %s and peer = %s and instance = any(%s) "
        "and committed is null",
        (tenant, found.peer, list(committed)),
    )
    uow.driver.execute(
        "update sending s set sent = null, last_error = u.reason from unnest(%s::text[], %s::text[]) "
        "as u (instance, reason) where s.tenant = %s and s.peer = %s and s.instance = u.instance",
        (list(failed), list(failed.values()), tenant, found.peer),
    )
    reason = next(iter(failed.values()), "")
    pause = float(min(900, 2 ** min(found.attempts, 20))) if failed else 0.0
    free(uow, found, error=f"{len(failed)} not committed: {reason}" if failed else "", pause=pause)
    return True


def reached(uow: UnitOfWork, tenant: int, peer: str) -> None:
    """The peer answered."""
    uow.driver.execute(
        "insert into peer_state as p (tenant, peer, reached) values (%s, %s, clock_timestamp()) "
        "on conflict (tenant, peer) do update set failures = 0, last_error = '', reached = excluded.reached, "
        "next_try = excluded.next_try",
        (tenant, peer),
    )


def unreachable(uow: UnitOfWork, tenant: int, peer: str, error: str, pause: float) -> int:
    """The peer can't be reached; it is left alone for ``pause`` seconds. Gives how often that was in a row."""
    row = uow.driver.execute(
        "insert into peer_state as p (tenant, peer, failures, last_error, next_try) "
        "values (%s, %s, 1, %s, clock_timestamp() + make_interval(secs => %s)) "
        "on conflict (tenant, peer) do update set failures = p.failures + 1, last_error = excluded.last_error, "
        "next_try = excluded.next_try returning failures",
        (tenant, peer, error, pause),
    ).fetchone()
    return int(row[0]) if row else 1


def failures(uow: UnitOfWork, tenant: int, peer: str) -> int:
    """How often the peer could not be reached since it last was."""
    row = uow.driver.execute(
        "select failures from peer_state where tenant = %s and peer = %s", (tenant, peer)
    ).fetchone()
    return int(row[0]) if row else 0
