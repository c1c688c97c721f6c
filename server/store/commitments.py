"""Named queries for storage commitments that are asked of us."""

from collections.abc import Iterable
from dataclasses import dataclass

from server.store.database import UnitOfWork


@dataclass(frozen=True, kw_only=True, slots=True)
class Commitment:
    """A transaction."""

    transaction: str
    #: AE title of who asked.
    requester: str
    #: JSON: [[SOP Class UID, SOP Instance UID], ...].
    instances: bytes
    is_reported: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """Where an instance is that somebody wants kept."""

    sop_class: str
    pack: str
    end: int


def add(uow: UnitOfWork, tenant: int, asked: Commitment) -> bool:
    """Enters a transaction; False where its UID is taken."""
    added = uow.driver.execute(
        "insert into commitment (tenant, transaction, requester, instances) values (%s, %s, %s, %s) "
        "on conflict do nothing",
        (tenant, asked.transaction, asked.requester, asked.instances),
    )
    return added.rowcount == 1


def get(uow: UnitOfWork, tenant: int, transaction: str) -> Commitment | None:
    """A transaction."""
    row = uow.driver.execute(
        "select transaction, requester, instances, reported is not null from commitment "
        "where tenant = %s and transaction = %s",
        (tenant, transaction),
    ).fetchone()
    if row is None:
        return None
    return Commitment(transaction=row[0], requester=row[1], instances=row[2], is_reported=row[3])


def again(uow: UnitOfWork, tenant: int, transaction: str) -> None:
    """Notes that the requester asked once more: it is to be told once more."""
    uow.driver.execute(
        "update commitment set reported = null, last_error = '' where tenant = %s and transaction = %s",
        (tenant, transaction),
    )


def reported(uow: UnitOfWork, tenant: int, transaction: str) -> None:
    """Notes that the requester knows."""
    uow.driver.execute(
        "update commitment set reported = clock_timestamp(), attempts = attempts + 1, last_error = '' "
        "where tenant = %s and transaction = %s",
        (tenant, transaction),
    )


def not_reported(uow: UnitOfWork, tenant: int, transaction: str, error: str) -> None:
    """Notes why the requester could not be told."""
    uow.driver.execute(
        "update commitment set attempts = attempts + 1, last_error = %s where tenant = %s and transaction = %s",
        (error, tenant, transaction),
    )


def kept(uow: UnitOfWork, tenant: int, instances: Iterable[str]) -> dict[str, Kept]:
    """Those of the instances that are stored; ``end`` is the first byte behind each in its pack."""
    rows = uow.driver.execute(
        "select instance, sop_class, pack, pack_offset + length from instance where tenant = %s and instance = any(%s)",
        (tenant, list(instances)),
    )
    return {row[0]: Kept(sop_class=row[1], pack=row[2], end=row[3]) for row in rows}


def forget(uow: UnitOfWork, days: int) -> int:
    """Deletes transactions that were reported, or given up, ``days`` ago; how many."""
    return uow.driver.execute(
        "delete from commitment where coalesce(reported, requested) < clock_timestamp() - make_interval(days => %s)",
        (days,),
    ).rowcount
