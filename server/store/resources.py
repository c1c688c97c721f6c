"""Named queries on FHIR resources: hot ones run on the driver. Rows leave as frozen values."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from psycopg.sql import SQL, Composed, Identifier

from server.errors import Conflict
from server.store.database import UnitOfWork
from server.store.tables.resources import INDEX_TABLES

_KEY_COLUMNS = ("tenant", "parameter", "key", "item")


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Version:
    """One version to be written."""

    type: str
    id: str
    version: int
    last_updated: datetime
    deleted: bool
    body: bytes
    #: create, update or delete, for the audit.
    action: str
    #: Index rows: (index table, parameter, item, values).
    rows: tuple[tuple[str, int, int, tuple[Any, ...]], ...] = ()


_COLUMNS = "type, id, version, last_updated, deleted, body"
_CURRENT = f"select {_COLUMNS}, key from resource where tenant = %s and type = %s and id = %s"
_HISTORY = f"""
    select {_COLUMNS} from (
        select {_COLUMNS}, tenant from resource union all select {_COLUMNS}, tenant from resource_history
    ) versions
    where tenant = %(tenant)s and type = %(type)s and id = %(id)s"""
_SUPERSEDE = f"""
    insert into resource_history (tenant, {_COLUMNS}, key, written, superseded_by, superseded)
    select r.tenant, r.type, r.id, r.version, r.last_updated, r.deleted, r.body,
        case when r.deleted then null else r.key end, r.written, pg_current_xact_id(), clock_timestamp()
    from unnest(%s::text[], %s::text[]) as wanted (type, id)
    join resource r on r.tenant = %s and r.type = wanted.type and r.id = wanted.id"""
_WRITE = f"""
    insert into resource (tenant, {_COLUMNS})
    select %(tenant)s, * from unnest(
        %(types)s::text[], %(ids)s::text[], %(versions)s::bigint[], %(times)s::timestamptz[],
        %(deleted)s::boolean[], %(bodies)b::bytea[])
    on conflict (tenant, type, id) do update set version = excluded.version, last_updated = excluded.last_updated,
        deleted = excluded.deleted, body = excluded.body, key = excluded.key, written = excluded.written
    where resource.version = excluded.version - 1
    returning type, id, key"""
_RECORD = """
    with written as (
        select * from unnest(%(types)s::text[], %(ids)s::text[], %(versions)s::bigint[], %(actions)s::text[])
            as t (type, id, version, action)
    ), changed as (
        insert into change (tenant, type, id, version) select %(tenant)s, type, id, version from written
    )
    insert into audit (tenant, who, action, type, id, version)
    select %(tenant)s, %(who)s, action, type, id, version from written"""
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


def write(uow: UnitOfWork, tenant: int, who: str, versions: Sequence[Version]) -> dict[tuple[str, str], int]:
    """Writes new versions with index rows, outbox and audit; returns the keys. Conflict if one was overtaken.

    At most one version of each resource: callers write twice for two.
    """
    old = [each for each in versions if each.version > 1]
    if old:
        uow.driver.execute(_SUPERSEDE, ([v.type for v in old], [v.id for v in old], tenant))
    columns = {
        "tenant": tenant,
        "who": who,
        "types": [v.type for v in versions],
        "ids": [v.id for v in versions],
        "versions": [v.version for v in versions],
        "times": [v.last_updated for v in versions],
        "deleted": [v.deleted for v in versions],
        "bodies": [v.body for v in versions],
        "actions": [v.action for v in versions],
    }
    keys = {(row[0], row[1]): row[2] for row in uow.driver.execute(_WRITE, columns)}
    if len(keys) < len(versions):
        raise Conflict("Somebody else changed this resource at the same moment; read it again and repeat.")
    if old:
        forget(uow, tenant, most=2 * len(old) + _FORGOTTEN)
    enter(uow, tenant, ((keys[v.type, v.id], v.rows) for v in versions))
    uow.driver.execute(_RECORD, columns)
    return keys


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
    tables: dict[str, list[tuple[Any, ...]]] = {}
    for key, entries in rows:
        for kind, parameter, item, values in entries:
            tables.setdefault(kind, []).append((parameter, key, item, *values))
    if not tables:
        return
    kinds = tuple(sorted(tables))
    parameters: dict[str, Any] = {"tenant": tenant}
    for kind in kinds:
        for place, column in enumerate(zip(*tables[kind], strict=True)):
            parameters[f"{kind}{place}"] = list(column)
    uow.driver.execute(_index_statement(kinds), parameters)


@lru_cache(maxsize=1024)
def _index_statement(kinds: tuple[str, ...]) -> Composed:
    """One statement that fills several index tables from arrays, a column each."""
    parts = []
    for kind in kinds:
        table = INDEX_TABLES[kind]
        columns = [column for column in table.columns if column.name != "tenant"]
        arrays = ", ".join(f"%({kind}{n})s::{_POSTGRES[str(c.type)]}[]" for n, c in enumerate(columns))
        names = SQL(", ").join(Identifier(column.name) for column in columns)
        parts.append(
            SQL("{name} as (insert into {table} (tenant, {names}) select %(tenant)s, * from unnest({arrays}))").format(
                name=Identifier(f"i_{kind}"), table=Identifier(table.name), names=names, arrays=SQL(arrays)
            )
        )
    return SQL("with {} select 1").format(SQL(", ").join(parts))


#: SQLAlchemy's name of a column type -> PostgreSQL's.
_POSTGRES: Mapping[str, str] = {
    "INTEGER": "integer",
    "BIGINT": "bigint",
    "NUMERIC": "numeric",
    'TEXT COLLATE "C"': "text",
}


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
