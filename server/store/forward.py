"""Named queries of the queue to peers: what is on its way, who is at it, what became of it.

A delivery is claimed by marking it with a slot of its peer; a slot belongs to whoever holds its advisory lock, so the
marks of a process that died are free again with its connection.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from server.store.database import UnitOfWork

Rank = Literal[0, 1, 2]
#: Deliveries that the queue shows at once.
LISTED = 500


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A line of the visible queue; no patient data."""

    number: int
    peer: str
    rule: str
    study: str
    #: sending, or as kept: waiting, committing, done, dropped.
    state: str
    rank: int
    instances: int
    sent: int
    committed: int
    attempts: int
    last_error: str
    queued: datetime
    next_try: datetime
    done: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class PeerState:
    """Whether a peer could be reached, and what waits for it."""

    peer: str
    #: Tries since it was last reached.
    failures: int
    next_try: datetime | None
    last_error: str
    reached: datetime | None
    waiting: int


def queue(
    uow: UnitOfWork, tenant: int, *, peer: str, study: str, rule: str, instances: Iterable[str], rank: int = 1,
    delay: float = 0,
) -> int:  # fmt: skip
    """Queues those instances that no rule sent to the peer before; gives how many. ``delay`` is in seconds."""
    new = uow.driver.execute(
        "insert into sending (tenant, peer, instance, study, rule) select %s, %s, u, %s, %s "
        "from unnest(%s::text[]) as u order by u on conflict do nothing",
        (tenant, peer, study, rule, list(instances)),
    ).rowcount
    if new:
        uow.driver.execute(
            "insert into delivery as d (tenant, peer, study, rule, rank, next_try) "
            "values (%s, %s, %s, %s, %s, clock_timestamp() + make_interval(secs => %s)) "
            "on conflict (tenant, peer, study, rule) do update set "
            "state = 'waiting', rank = excluded.rank, transaction = '', done = null, "
            "attempts = case when d.state in ('done', 'dropped') then 0 else d.attempts end, "
            "last_error = case when d.state in ('done', 'dropped') then '' else d.last_error end, "
            "queued = case when d.state in ('done', 'dropped') then clock_timestamp() else d.queued end, "
            "next_try = case when d.state in ('done', 'dropped') then excluded.next_try else d.next_try end",
            (tenant, peer, study, rule, rank, delay),
        )
    return int(new)


def take_slot(uow: UnitOfWork, peer: str, slot: int) -> bool:
    """Takes a slot of the peer until the transaction ends, unless another process has it."""
    row = uow.driver.execute(
        "select pg_try_advisory_xact_lock(hashtextextended(%s, 0))", (f"slot\x1f{peer}\x1f{slot}",)
    ).fetchone()
    return bool(row and row[0])


def due(uow: UnitOfWork, closed: Sequence[str]) -> frozenset[str]:
    """The peers for which something is due now; ``closed`` are the rules outside their hours."""
    rows = uow.driver.execute(
        "select distinct d.peer from delivery d left join peer_state p on p.tenant = d.tenant and p.peer = d.peer "
        "where d.state in ('waiting', 'committing') and d.next_try <= clock_timestamp() and d.rule <> all(%s) "
        "and coalesce(p.next_try <= clock_timestamp(), true)",
        (list(closed),),
    )
    return frozenset(row[0] for row in rows)


_CLAIM = """
    update delivery c set slot = %(slot)s from (
      select d.tenant, d.peer, d.study, d.rule from delivery d
      left join peer_state p on p.tenant = d.tenant and p.peer = d.peer
      where d.peer = %(peer)s and d.state in ('waiting', 'committing') and d.next_try <= clock_timestamp()
        and (d.slot is null or d.slot = %(slot)s) and d.rule <> all(%(closed)s)
        and coalesce(p.next_try <= clock_timestamp(), true)
      order by d.rank, d.queued, d.number limit 1 for update of d skip locked
    ) n where c.tenant = n.tenant and c.peer = n.peer and c.study = n.study and c.rule = n.rule
    returning c.tenant, c.peer, c.study, c.rule, c.rank, c.state, c.attempts
"""


def claim(uow: UnitOfWork, peer: str, slot: int, closed: Sequence[str]) -> Delivery | None:
    """Marks the delivery that comes first with the slot; what a dead holder of the slot had marked is free."""
    uow.driver.execute("update delivery set slot = null where peer = %s and slot = %s", (peer, slot))
    row = uow.driver.execute(_CLAIM, {"peer": peer, "slot": slot, "closed": list(closed)}).fetchone()
    if row is None:
        return None
    return Delivery(tenant=row[0], peer=row[1], study=row[2], rule=row[3], rank=row[4], state=row[5], attempts=row[6])


def unsent(uow: UnitOfWork, delivery: Delivery) -> list[str]:
    """The instances of a delivery that the peer has not confirmed; those that it never refused come first."""
    rows = uow.driver.execute(
        "select instance from sending where tenant = %s and peer = %s and study = %s and rule = %s "
        "and sent is null and dropped is null order by attempts, instance",
        _key(delivery),
    )
    return [row[0] for row in rows]


def uncommitted(uow: UnitOfWork, delivery: Delivery) -> list[str]:
    """The instances that the peer has but did not commit itself to."""
    rows = uow.driver.execute(
        "select instance from sending where tenant = %s and peer = %s and study = %s and rule = %s "
        "and sent is not null and committed is null and dropped is null order by instance",
        _key(delivery),
    )
    return [row[0] for row in rows]


def sent(uow: UnitOfWork, delivery: Delivery, instances: Sequence[str]) -> None:
    """The peer confirmed these."""
    uow.driver.execute(
        "update sending set sent = clock_timestamp(), attempts = attempts + 1, last_error = '' "
        "where tenant = %s and peer = %s and instance = any(%s)",
        (delivery.tenant, delivery.peer, list(instances)),
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
        "attempts = case when %(error)s = '' then 0 else d.attempts + 1 end, "
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
    free(uow, found, error=f"{len(failed)} not committed: {reason}" if failed else "", pause=1.0 if failed else 0)
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


_LINES = """
    select d.number, d.peer, d.rule, d.study, case when d.slot is not null and d.state = 'waiting' then 'sending'
      else d.state end, d.rank, count(s.instance), count(s.sent), count(s.committed), d.attempts,
      coalesce(nullif(d.last_error, ''), max(s.last_error), ''), d.queued, d.next_try, d.done
    from delivery d left join sending s on s.tenant = d.tenant and s.peer = d.peer and s.study = d.study
      and s.rule = d.rule
    where d.tenant = %(tenant)s and (%(peer)s = '' or d.peer = %(peer)s)
      and (%(all)s or d.state in ('waiting', 'committing'))
    group by d.tenant, d.peer, d.study, d.rule
    order by d.state = 'done', d.peer, d.rank, d.queued, d.number limit %(limit)s
"""


def lines(uow: UnitOfWork, tenant: int, *, peer: str = "", everything: bool = False) -> list[Line]:
    """The queue in the order in which it is worked on; ``everything`` shows what is done and dropped, too."""
    values = {"tenant": tenant, "peer": peer, "all": everything, "limit": LISTED}
    names = [
        *("number", "peer", "rule", "study", "state", "rank", "instances", "sent", "committed", "attempts"),
        *("last_error", "queued", "next_try", "done"),
    ]
    return [Line(**dict(zip(names, row, strict=True))) for row in uow.driver.execute(_LINES, values)]


def peers(uow: UnitOfWork, tenant: int) -> list[PeerState]:
    """Every peer that something was or is to be sent to."""
    rows = uow.driver.execute(
        "select coalesce(p.peer, d.peer), coalesce(p.failures, 0), p.next_try, coalesce(p.last_error, ''), p.reached, "
        "coalesce(d.n, 0) from (select * from peer_state where tenant = %(tenant)s) p "
        "full join (select peer, count(*) n from delivery where tenant = %(tenant)s "
        "and state in ('waiting', 'committing') group by peer) d on d.peer = p.peer order by 1",
        {"tenant": tenant},
    )
    return [
        PeerState(peer=row[0], failures=row[1], next_try=row[2], last_error=row[3], reached=row[4], waiting=row[5])
        for row in rows
    ]


def retry(uow: UnitOfWork, tenant: int, *, number: int | None = None, peer: str = "") -> int:
    """Makes deliveries due now (what was dropped, too, where it is named); gives how many."""
    found = uow.driver.execute(
        "update delivery set next_try = clock_timestamp(), state = case when state = 'dropped' then 'waiting' "
        "else state end where tenant = %s and (number = %s or (%s::bigint is null and (%s = '' or peer = %s) "
        "and state in ('waiting', 'committing'))) and state <> 'done' returning peer, study, rule",
        (tenant, number, number, peer, peer),
    ).fetchall()
    for to, study, rule in found if number is not None else []:
        uow.driver.execute(
            "update sending set dropped = null where tenant = %s and peer = %s and study = %s and rule = %s",
            (tenant, to, study, rule),
        )
    uow.driver.execute(
        "update peer_state set next_try = clock_timestamp() where tenant = %s and peer = any(%s)",
        (tenant, [row[0] for row in found]),
    )
    return len(found)


def drop(uow: UnitOfWork, tenant: int, *, number: int | None = None, peer: str = "") -> int:
    """Calls deliveries off: one by its number, or all that wait for a peer; gives how many."""
    found = uow.driver.execute(
        "update delivery set state = 'dropped', transaction = '' where tenant = %s and (number = %s or peer = %s) "
        "and state in ('waiting', 'committing') returning peer, study, rule",
        (tenant, number, peer),
    ).fetchall()
    for to, study, rule in found:
        uow.driver.execute(
            "update sending set dropped = clock_timestamp() where tenant = %s and peer = %s and study = %s "
            "and rule = %s and sent is null",
            (tenant, to, study, rule),
        )
    return len(found)


def take_changed(uow: UnitOfWork, most: int = 200) -> list[tuple[int, str]]:
    """Studies with instances for which the rules for single instances were not asked; marked in this transaction."""
    return uow.driver.execute(
        "update study_activity a set forwarded = a.revision from (select tenant, study from study_activity "
        "where forwarded < revision order by last_seen limit %s for update skip locked) n "
        "where a.tenant = n.tenant and a.study = n.study returning a.tenant, a.study",
        (most,),
    ).fetchall()


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """An instance that a rule may send."""

    instance: str
    sop_class: str
    sender: str
    #: DICOM JSON.
    metadata: bytes


def candidates(uow: UnitOfWork, tenant: int, study: str, peer: str) -> list[Candidate]:
    """The instances of a study that were never queued for the peer."""
    rows: Any = uow.driver.execute(
        "select i.instance, i.sop_class, i.sender, i.metadata from instance i where i.tenant = %(tenant)s "
        "and i.study = %(study)s and not exists (select from sending s where s.tenant = i.tenant "
        "and s.peer = %(peer)s and s.instance = i.instance) order by i.instance",
        {"tenant": tenant, "study": study, "peer": peer},
    )
    return [Candidate(instance=row[0], sop_class=row[1], sender=row[2], metadata=row[3]) for row in rows]
