"""Named queries over what is fetched from peers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from server.store.database import UnitOfWork
from server.store.deliveries import within_reach

#: Fetched studies that are shown at once.
LISTED = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class Fetch:
    """A study that a slot is to fetch."""

    tenant: int
    peer: str
    study: str
    attempts: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A line of the list."""

    number: int
    peer: str
    study: str
    requested_by: str
    for_study: str
    prior: bool
    state: str
    attempts: int
    last_error: str
    instances: int
    requested: datetime
    next_try: datetime
    done: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """Whose study it is, as far as priors are told by it, and when it was made."""

    patient_id: str
    issuer: str
    birth_date: str
    sex: str
    study_date: str


def subject(uow: UnitOfWork, tenant: int, study: str) -> Subject | None:
    """Of a stored study; None where it is not stored."""
    row = uow.driver.execute(
        "select p.patient_id, p.issuer, p.birth_date, p.sex, s.study_date from study s "
        "join patient p on p.tenant = s.tenant and p.patient = s.patient where s.tenant = %s and s.study = %s",
        (tenant, study),
    ).fetchone()
    if row is None:
        return None
    return Subject(patient_id=row[0], issuer=row[1], birth_date=row[2], sex=row[3], study_date=row[4])


def stored(uow: UnitOfWork, tenant: int, studies: Iterable[str]) -> dict[str, int]:
    """Those of the studies that are stored, and how many instances of each."""
    rows = uow.driver.execute(
        "select study, instance_count from study where tenant = %s and study = any(%s)", (tenant, list(studies))
    )
    return dict(rows.fetchall())


def series_headers(uow: UnitOfWork, tenant: int, study: str) -> list[bytes]:
    """DICOM JSON of one instance of each series."""
    rows = uow.driver.execute(
        "select distinct on (series) metadata from instance where tenant = %s and study = %s order by series, instance",
        (tenant, study),
    )
    return [row[0] for row in rows]


def request(
    uow: UnitOfWork, tenant: int, *, peer: str, study: str, by: str, senders: Iterable[str], prior: bool,
    for_study: str = "",
) -> None:  # fmt: skip
    """Asks for a study; one that was fetched, or could not be, is fetched anew. What was no prior never becomes one."""
    uow.driver.execute(
        "insert into fetching as f (tenant, peer, study, requested_by, for_study, prior, senders) "
        "values (%s, %s, %s, %s, %s, %s, %s) on conflict (tenant, peer, study) do update set "
        "state = 'waiting', requested_by = excluded.requested_by, for_study = excluded.for_study, "
        "prior = f.prior and excluded.prior, senders = excluded.senders, attempts = 0, last_error = '', done = null, "
        "requested = clock_timestamp(), next_try = clock_timestamp()",
        (tenant, peer, study, by, for_study, prior, sorted(senders)),
    )


def asked(uow: UnitOfWork, tenant: int, peer: str, studies: Iterable[str]) -> frozenset[str]:
    """Those of the studies that were asked for before."""
    rows = uow.driver.execute(
        "select study from fetching where tenant = %s and peer = %s and study = any(%s)", (tenant, peer, list(studies))
    )
    return frozenset(row[0] for row in rows)


def only_one(uow: UnitOfWork) -> bool:
    """Takes the right to fetch until the transaction ends, unless another process has it."""
    row = uow.driver.execute("select pg_try_advisory_xact_lock(hashtextextended('fetch', 0))").fetchone()
    return bool(row and row[0])


def free_all(uow: UnitOfWork) -> None:
    """Takes away every mark: whoever had the right before is gone."""
    uow.driver.execute("update fetching set slot = null where slot is not null")


_DUE = "f.state = 'waiting' and f.slot is null and f.next_try <= clock_timestamp()"


def due(uow: UnitOfWork, peers: Sequence[str]) -> frozenset[str]:
    """Those of the peers from which something is due now."""
    rows = uow.driver.execute(
        "select u.peer from unnest(%s::text[]) as u (peer) cross join lateral "
        f"(select 1 from fetching f where f.peer = u.peer and {_DUE} order by f.attempts, f.requested limit 1) found"
        "".encode(),
        (within_reach(uow, peers),),
    )
    return frozenset(row[0] for row in rows)


def claim(uow: UnitOfWork, peer: str, slot: int) -> Fetch | None:
    """Marks the study that comes first with the slot: the least tried, in the order of requests."""
    if not within_reach(uow, [peer]):
        return None
    row = uow.driver.execute(
        f"update fetching c set slot = %s from (select f.tenant, f.peer, f.study from fetching f where f.peer = %s "
        f"and {_DUE} order by f.attempts, f.requested limit 1 for update skip locked) n "
        "where c.tenant = n.tenant and c.peer = n.peer and c.study = n.study "
        "returning c.tenant, c.peer, c.study, c.attempts".encode(),
        (slot, peer),
    ).fetchone()
    return None if row is None else Fetch(tenant=row[0], peer=row[1], study=row[2], attempts=row[3])


def settle(uow: UnitOfWork, fetch: Fetch, state: str, *, error: str = "", pause: float = 0, instances: int = 0) -> None:
    """Takes the mark away: done, failed, or waiting for ``pause`` seconds."""
    uow.driver.execute(
        "update fetching set slot = null, state = %s, last_error = %s, instances = greatest(instances, %s), "
        "attempts = attempts + case when %s = '' then 0 else 1 end, "
        "next_try = clock_timestamp() + make_interval(secs => %s), "
        "done = case when %s = 'waiting' then null else clock_timestamp() end "
        "where tenant = %s and peer = %s and study = %s",
        (state, error, instances, error, pause, state, fetch.tenant, fetch.peer, fetch.study),
    )


def senders_of(uow: UnitOfWork, tenant: int, study: str) -> dict[str, str]:
    """Sender -> peer, of what was fetched of a study."""
    rows = uow.driver.execute(
        "select unnest(senders), peer from fetching where tenant = %s and study = %s", (tenant, study)
    )
    return dict(rows.fetchall())


def is_prior(uow: UnitOfWork, tenant: int, study: str) -> bool:
    """Whether the study is here only because it was fetched as a prior; our own results in it don't count."""
    row = uow.driver.execute(
        "select exists (select from fetching f where f.tenant = %(tenant)s and f.study = %(study)s and f.prior) "
        "and not exists (select from fetching f where f.tenant = %(tenant)s and f.study = %(study)s and not f.prior) "
        "and not exists (select from instance i where i.tenant = %(tenant)s and i.study = %(study)s "
        "and i.sender <> 'system' and i.sender <> all(array(select unnest(f.senders) from fetching f "
        "where f.tenant = %(tenant)s and f.study = %(study)s)))",
        {"tenant": tenant, "study": study},
    ).fetchone()
    return bool(row and row[0])


def lines(uow: UnitOfWork, tenant: int, studies: Sequence[str] = ()) -> list[Line]:
    """What was asked for, the newest first; only ``studies`` where some are named."""
    names = [
        *("number", "peer", "study", "requested_by", "for_study", "prior", "state", "attempts", "last_error"),
        *("instances", "requested", "next_try", "done"),
    ]
    rows = uow.driver.execute(
        f"select {', '.join(names)} from fetching where tenant = %s and (%s or study = any(%s)) "
        "order by requested desc, number desc limit %s".encode(),
        (tenant, not studies, list(studies), LISTED),
    )
    return [Line(**dict(zip(names, row, strict=True))) for row in rows]
