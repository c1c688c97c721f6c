"""Named queries on FHIR resources: hot ones run on the driver. Rows leave as frozen values."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.sql import SQL

from server.errors import Conflict
from server.store.database import UnitOfWork
from server.store.resource_writes import Version, entered, versions_written
from server.store.tables.resources import INDEX_TABLES

__all__ = ["Stored", "Version", "by_reference", "counts", "current", "enter", "forget", "version", "write"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """One version of a resource as it stands in the database."""

    type: str
    id: str
    version: int
    last_updated: datetime
    deleted: bool
    #: FHIR JSON with meta.versionId and meta.lastUpdated; empty for a tombstone.
    body: bytes
    #: What index rows refer to; 0 for superseded versions.
    key: int = 0


_COLUMNS = "type, id, version, last_updated, deleted, body"
_CURRENT = f"select {_COLUMNS}, key from resource where tenant = %s and type = %s and id = %s"
_HISTORY = f"""
    select {_COLUMNS} from (
        select {_COLUMNS}, tenant from resource union all select {_COLUMNS}, tenant from resource_history
    ) versions
    where tenant = %(tenant)s and type = %(type)s and id = %(id)s"""
#: Minutes that pages of a search may be turned: as long superseded versions keep their index rows.
PAGES_LAST = 15
#: How many superseded versions lose their index rows in one write; more than a write makes, so that none pile up.
_FORGOTTEN = 20
_DUE = """
    select key from resource_history where tenant = %(tenant)s and key is not null
    and superseded < clock_timestamp() - make_interval(mins => %(minutes)s)
    order by superseded limit %(most)s for update skip locked"""
_FORGET = SQL(
    "with "
    + ", ".join(
        f"d_{kind} as (delete from {table.name} where tenant = %(tenant)s and key = any(%(keys)s::bigint[]))"
        for kind, table in INDEX_TABLES.items()
    )
    + " update resource_history set key = null where tenant = %(tenant)s and key = any(%(keys)s::bigint[])"
)


def current(uow: UnitOfWork, tenant: int, resource_type: str, id: str, *, lock: bool = False) -> Stored | None:
    """The current version, tombstones too; ``lock`` holds it until the transaction ends."""
    statement = _CURRENT + (" for update" if lock else "")
    row = uow.driver.execute(statement, (tenant, resource_type, id)).fetchone()
    return None if row is None else _stored(row)


def version(uow: UnitOfWork, tenant: int, resource_type: str, id: str, number: int) -> Stored | None:
    """One version, current or superseded."""
    statement = _HISTORY + " and version = %(version)s"
    place = {"tenant": tenant, "type": resource_type, "id": id, "version": number}
    row = uow.driver.execute(statement, place).fetchone()
    return None if row is None else _stored(row)


def by_reference(uow: UnitOfWork, tenant: int, targets: Iterable[tuple[str, str]]) -> tuple[Stored, ...]:
    """The current resources of (type, id) pairs, without those deleted or absent."""
    pairs = list(targets)
    statement = f"""
        select {", ".join("r." + name for name in _COLUMNS.split(", "))}, r.key
        from unnest(%s::text[], %s::text[]) as wanted (type, id)
        join resource r on r.tenant = %s and r.type = wanted.type and r.id = wanted.id and not r.deleted"""
    values = ([pair[0] for pair in pairs], [pair[1] for pair in pairs], tenant)
    return tuple(_stored(row) for row in uow.driver.execute(statement, values))


def referring(
    uow: UnitOfWork, tenant: int, parameter: int, target: str, *, after: int, most: int
) -> tuple[Stored, ...]:
    """Current resources behind a key whose reference parameter of that number points to ``Type/id``."""
    statement = f"""
        select {_COLUMNS}, key from resource where tenant = %(tenant)s and not deleted and key > %(after)s and key in (
            select key from index_reference
            where tenant = %(tenant)s and parameter = %(parameter)s and target = %(target)s)
        order by key limit %(most)s"""
    values = {"tenant": tenant, "parameter": parameter, "target": target, "after": after, "most": most}
    return tuple(_stored(row) for row in uow.driver.execute(statement, values))


def counts(uow: UnitOfWork, tenant: int) -> dict[str, int]:
    """How many current resources there are of each type."""
    statement = "select type, count(*) from resource where tenant = %s and not deleted group by type order by type"
    return {row[0]: row[1] for row in uow.driver.execute(statement, (tenant,))}


def write(uow: UnitOfWork, tenant: int, who: str, versions: Sequence[Version]) -> None:
    """Writes new versions with index rows, outbox and audit; Conflict if one was overtaken.

    At most one version of each resource: callers write twice for two.
    """
    written, is_due = versions_written(uow, tenant, who, versions, minutes=PAGES_LAST)
    if written < len(versions):
        raise Conflict("Somebody else changed this resource at the same moment; read it again and repeat.")
    if is_due:
        old = sum(each.version > 1 for each in versions)
        forget(uow, tenant, most=2 * old + _FORGOTTEN)


def forget(uow: UnitOfWork, tenant: int, *, most: int, minutes: int = PAGES_LAST) -> int:
    """Index rows of versions that were superseded long ago go; how many versions it were."""
    due = [row[0] for row in uow.driver.execute(_DUE, {"tenant": tenant, "minutes": minutes, "most": most})]
    if due:
        uow.driver.execute(_FORGET, {"tenant": tenant, "keys": due})
    return len(due)


def enter(
    uow: UnitOfWork, tenant: int, rows: Iterable[tuple[int, Iterable[tuple[str, int, int, tuple[Any, ...]]]]]
) -> None:
    """Index rows by the key of their resource: (index table, parameter, item, values)."""
    entered(uow, tenant, rows)


def _stored(row: Sequence[Any]) -> Stored:
    return Stored(
        type=row[0],
        id=row[1],
        version=row[2],
        last_updated=row[3],
        deleted=row[4],
        body=bytes(row[5]),
        key=row[6] if len(row) > 6 else 0,
    )
