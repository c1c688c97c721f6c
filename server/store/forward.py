"""Named queries of the queue to peers, as rules fill it and people see it: what waits, what became of it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from server.store.database import UnitOfWork

#: Deliveries that the queue shows at once.
LISTED = 500
#: Instances whose headers are held at once.
_PAGE = 500


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


_LINES = """
    select d.number, d.peer, d.rule, d.study, case when d.slot is not null and d.state = 'waiting' then 'sending'
      else d.state end, d.rank, s.instances, s.sent, s.committed, d.attempts,
      coalesce(nullif(d.last_error, ''), s.last_error, ''), d.queued, d.next_try, d.done
    from (select * from delivery where tenant = %(tenant)s and (%(peer)s = '' or peer = %(peer)s)
      and (%(all)s or state in ('waiting', 'committing'))
      order by state not in ('waiting', 'committing'), peer, rank, queued, number limit %(limit)s) d
    cross join lateral (select count(*) as instances, count(sent) as sent, count(committed) as committed,
      max(last_error) as last_error from sending s where s.tenant = d.tenant and s.peer = d.peer
      and s.study = d.study and s.rule = d.rule) s
    order by d.state not in ('waiting', 'committing'), d.peer, d.rank, d.queued, d.number
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


def forget(uow: UnitOfWork) -> int:
    """Deletes what is settled of instances that are not stored any more; gives how many deliveries went."""
    uow.driver.execute(
        "delete from sending s where (s.sent is not null or s.dropped is not null) and not exists "
        "(select from instance i where i.tenant = s.tenant and i.instance = s.instance)"
    )
    gone = uow.driver.execute(
        "delete from delivery d where d.state in ('done', 'dropped') and not exists (select from sending s "
        "where s.tenant = d.tenant and s.peer = d.peer and s.study = d.study and s.rule = d.rule)"
    )
    return int(gone.rowcount)


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """An instance that a rule may send."""

    instance: str
    sop_class: str
    sender: str
    #: DICOM JSON.
    metadata: bytes


def candidates(uow: UnitOfWork, tenant: int, study: str, peer: str) -> Iterator[Candidate]:
    """The instances of a study that were never queued for the peer; read as they are asked for."""
    last = ""
    while True:
        rows: Any = uow.driver.execute(
            "select i.instance, i.sop_class, i.sender, i.metadata from instance i where i.tenant = %(tenant)s "
            "and i.study = %(study)s and i.instance > %(last)s and not exists (select from sending s "
            "where s.tenant = i.tenant and s.peer = %(peer)s and s.instance = i.instance) "
            "order by i.instance limit %(page)s",
            {"tenant": tenant, "study": study, "peer": peer, "last": last, "page": _PAGE},
        ).fetchall()
        for row in rows:
            yield Candidate(instance=row[0], sop_class=row[1], sender=row[2], metadata=row[3])
        if len(rows) < _PAGE:
            return
        last = rows[-1][0]
