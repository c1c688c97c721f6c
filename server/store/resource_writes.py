"""Versions of resources into the database: all of a transaction's in one statement, with what is derived from them.

One round trip for the resources, the versions they supersede, index rows, outbox and audit. Keys are drawn first and
the rows refer to them by the place of their version, so that no join is needed whatever the planner thinks of arrays.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from server.store.database import UnitOfWork
from server.store.packed import ARRAYS, BigIntegers, Booleans, Bytes, Integers, Texts, Times
from server.store.tables.resources import INDEX_TABLES

#: One index row but for the tenant and the resource's key: index table, parameter, item, values.
Row = tuple[str, int, int, tuple[Any, ...]]


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
    rows: tuple[Row, ...] = ()


_SUPERSEDED = """
superseded as (
    insert into resource_history (tenant, type, id, version, last_updated, deleted, body, key, written, superseded_by,
        superseded)
    select r.tenant, r.type, r.id, r.version, r.last_updated, r.deleted, r.body,
        case when r.deleted then null else r.key end, r.written, pg_current_xact_id(), clock_timestamp()
    from wanted w join resource r on r.tenant = %(tenant)s and r.type = w.type and r.id = w.id
    where w.version > 1
),"""
#: By the end of the index: for an ``exists`` the planner would look through the table in the hope of an early hit.
_IS_DUE = """coalesce((
    select superseded from resource_history where tenant = %(tenant)s and key is not null order by superseded limit 1
) < clock_timestamp() - make_interval(mins => %(minutes)s), false)"""
_WRITE = """
with wanted as materialized (
    select *, nextval('resource_key_seq') as key from unnest(
        %(types)s::text[], %(ids)s::text[], %(versions)s::bigint[], %(times)s::timestamptz[], %(deleted)s::boolean[],
        %(bodies)s::bytea[], %(actions)s::text[]
    ) with ordinality as t (type, id, version, last_updated, deleted, body, action, place)
),{superseded}
written as (
    insert into resource (tenant, type, id, key, version, last_updated, deleted, body)
    select %(tenant)s, type, id, key, version, last_updated, deleted, body from wanted
    on conflict (tenant, type, id) do update set version = excluded.version, last_updated = excluded.last_updated,
        deleted = excluded.deleted, body = excluded.body, key = excluded.key, written = excluded.written
    where resource.version = excluded.version - 1
    returning key
),
changed as (
    insert into change (tenant, type, id, version) select %(tenant)s, type, id, version from wanted
),
audited as (
    insert into audit (tenant, who, action, type, id, version)
    select %(tenant)s, %(who)s, action, type, id, version from wanted
),
keys as materialized (select array_agg(key order by place) as keys from wanted){indexed}
select (select count(*) from written), {is_due}"""


def versions_written(
    uow: UnitOfWork, tenant: int, who: str, versions: Sequence[Version], *, minutes: int
) -> tuple[int, bool]:
    """Writes the versions; how many, and whether others were superseded so long ago that they can be forgotten.

    Where it is fewer than there are, one was overtaken and the transaction must not commit.
    """
    parameters = {
        "tenant": tenant,
        "who": who,
        "minutes": minutes,
        "types": Texts(each.type for each in versions),
        "ids": Texts(each.id for each in versions),
        "versions": BigIntegers(each.version for each in versions),
        "times": Times(each.last_updated for each in versions),
        "deleted": Booleans(each.deleted for each in versions),
        "bodies": Bytes(each.body for each in versions),
        "actions": Texts(each.action for each in versions),
    }
    kinds, columns = _columns((place, each.rows) for place, each in enumerate(versions, 1))
    statement = _write(kinds, any(each.version > 1 for each in versions))
    row = uow.driver.execute(statement, {**parameters, **columns}).fetchone()
    return (0, False) if row is None else (row[0], row[1])


def entered(uow: UnitOfWork, tenant: int, rows: Iterable[tuple[int, Iterable[Row]]]) -> None:
    """Enters index rows of resources by their keys."""
    keys: list[int] = []
    listed: list[tuple[int, Iterable[Row]]] = []
    for place, (key, entries) in enumerate(rows, 1):
        keys.append(key)
        listed.append((place, entries))
    kinds, columns = _columns(listed)
    if kinds:
        uow.driver.execute(_enter(kinds), {"tenant": tenant, "keys": BigIntegers(keys), **columns})


def _columns(rows: Iterable[tuple[int, Iterable[Row]]]) -> tuple[tuple[str, ...], Mapping[str, Any]]:
    """The index tables that get rows, and these as a parameter for each column; rows by the place of their key."""
    tables: dict[str, list[tuple[Any, ...]]] = {}
    for place, entries in rows:
        for kind, parameter, item, values in entries:
            found = tables.get(kind)
            if found is None:
                found = tables[kind] = []
            found.append((parameter, place, item, *values))
    columns: dict[str, Any] = {}
    for kind, listed in tables.items():
        for number, (array, values) in enumerate(zip(_arrays(kind), zip(*listed, strict=True), strict=True)):
            columns[f"{kind}{number}"] = array(values)
    return tuple(sorted(tables)), columns


#: SQLAlchemy's name of a column type -> PostgreSQL's.
_POSTGRES: Mapping[str, str] = {
    "INTEGER": "integer",
    "BIGINT": "bigint",
    "NUMERIC": "numeric",
    'TEXT COLLATE "C"': "text",
}
#: Columns of every index table, the place of a key in the key's stead.
_FIXED = ("parameter", "place", "item")


@cache
def _own_columns(kind: str) -> tuple[tuple[str, str], ...]:
    """Names and types of an index table's values."""
    columns = INDEX_TABLES[kind].columns
    return tuple(
        (c.name, _POSTGRES[str(c.type)]) for c in columns if c.name not in ("tenant", "parameter", "key", "item")
    )


@cache
def _arrays(kind: str) -> tuple[Any, ...]:
    return (Integers, Integers, Integers, *(ARRAYS[sort] for _, sort in _own_columns(kind)))


def _insert(kind: str) -> str:
    """Fills one index table from arrays."""
    own = _own_columns(kind)
    names = "".join(f', "{name}"' for name, _ in own)
    sorts = ["integer"] * len(_FIXED) + [sort for _, sort in own]
    arrays = ", ".join(f"%({kind}{number})s::{sort}[]" for number, sort in enumerate(sorts))
    return (
        f"insert into {INDEX_TABLES[kind].name} (tenant, parameter, key, item{names}) "
        f"select %(tenant)s, parameter, keys.keys[place], item{names} "
        f"from keys, unnest({arrays}) as u ({', '.join(_FIXED)}{names})"
    )


@cache
def _write(kinds: tuple[str, ...], supersedes: bool) -> str:
    indexed = "".join(f",\ni_{kind} as ({_insert(kind)})" for kind in kinds)
    superseded = _SUPERSEDED if supersedes else ""
    is_due = _IS_DUE if supersedes else "false"
    return _WRITE.format(superseded=superseded, indexed=indexed, is_due=is_due)


@cache
def _enter(kinds: tuple[str, ...]) -> str:
    parts = ",\n".join(f"i_{kind} as ({_insert(kind)})" for kind in kinds)
    return f"with keys as materialized (select %(keys)s::bigint[] as keys),\n{parts}\nselect 1"
