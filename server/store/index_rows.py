"""Named queries over all index rows of stored resources: to build them anew and to compare them."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from psycopg.sql import SQL, Composed, Identifier

from server.store.database import UnitOfWork
from server.store.resources import enter
from server.store.tables.resources import INDEX_TABLES

#: One index row without tenant and key: index table, parameter, item, values.
Row = tuple[str, int, int, tuple[Any, ...]]


def batch(
    uow: UnitOfWork, tenant: int, after: int, types: Sequence[str] | None, most: int, last: int | None = None
) -> list[tuple[int, str, str, bytes]]:
    """Key, type, id and body of current resources behind a key, in the order of their keys; of all types for None."""
    return uow.driver.execute(
        "select key, type, id, body from resource where tenant = %(tenant)s and key > %(after)s and not deleted "
        "and (%(types)s::text[] is null or type = any(%(types)s::text[])) "
        "and (%(last)s::bigint is null or key <= %(last)s) order by key limit %(most)s",
        {"tenant": tenant, "after": after, "types": None if types is None else list(types), "most": most, "last": last},
    ).fetchall()


def tenants(uow: UnitOfWork) -> list[int]:
    """Those that have resources."""
    return [row[0] for row in uow.driver.execute("select distinct tenant from resource order by tenant")]


def count(uow: UnitOfWork, tenant: int, types: Sequence[str] | None) -> int:
    """How many current resources there are."""
    row = uow.driver.execute(
        "select count(*) from resource where tenant = %(tenant)s and not deleted "
        "and (%(types)s::text[] is null or type = any(%(types)s::text[]))",
        {"tenant": tenant, "types": None if types is None else list(types)},
    ).fetchone()
    return int(row[0]) if row else 0


def stored(uow: UnitOfWork, tenant: int, keys: Sequence[int]) -> dict[int, Counter[Row]]:
    """Every row of some resources, by their keys."""
    found: dict[int, Counter[Row]] = {key: Counter() for key in keys}
    for kind in INDEX_TABLES:
        for key, parameter, item, *values in uow.driver.execute(_rows_of(kind), (tenant, list(keys))):
            found[key][kind, parameter, item, tuple(values)] += 1
    return found


def replace(
    uow: UnitOfWork,
    tenant: int,
    rows: Iterable[tuple[int, Sequence[tuple[str, int, int, tuple[Any, ...]]]]],
    numbers: Sequence[int] | None = None,
) -> None:
    """Puts rows in the place of all that some resources have; with ``numbers`` of those that they have under these."""
    listed = list(rows)
    keys = [key for key, _ in listed]
    for kind in INDEX_TABLES:
        statement = SQL(
            "delete from {table} where tenant = %s and key = any(%s) and (%s::int[] is null or parameter = any(%s))"
        ).format(table=Identifier(f"index_{kind}"))
        only = None if numbers is None else list(numbers)
        uow.driver.execute(statement, (tenant, keys, only, only))
    enter(uow, tenant, listed)


def orphans(uow: UnitOfWork, tenant: int) -> Iterator[tuple[str, int]]:
    """(index table, how many of its rows) belong to no version that may still be found."""
    for kind in INDEX_TABLES:
        statement = SQL(
            "select count(*) from {table} i where tenant = %s "
            "and not exists (select from resource r where r.tenant = i.tenant and r.key = i.key and not r.deleted) "
            "and not exists (select from resource_history h where h.tenant = i.tenant and h.key = i.key)"
        ).format(table=Identifier(f"index_{kind}"))
        row = uow.driver.execute(statement, (tenant,)).fetchone()
        if row and row[0]:
            yield kind, int(row[0])


def delete_orphans(uow: UnitOfWork, tenant: int, kind: str) -> None:
    """Deletes what ``orphans`` found in one index table."""
    statement = SQL(
        "delete from {table} i where tenant = %s "
        "and not exists (select from resource r where r.tenant = i.tenant and r.key = i.key and not r.deleted) "
        "and not exists (select from resource_history h where h.tenant = i.tenant and h.key = i.key)"
    ).format(table=Identifier(f"index_{kind}"))
    uow.driver.execute(statement, (tenant,))


def run(uow: UnitOfWork, tenant: int, scope: str) -> tuple[int, int]:
    """Where a run of reindex with that scope stands: the last key, and how many resources it has done."""
    row = uow.driver.execute(
        "select position, indexed from reindex_run where tenant = %s and scope = %s for update", (tenant, scope)
    ).fetchone()
    return (0, 0) if row is None else (row[0], row[1])


def note_run(uow: UnitOfWork, tenant: int, scope: str, position: int, indexed: int) -> None:
    """Notes how far a run has come."""
    uow.driver.execute(
        "insert into reindex_run (tenant, scope, position, indexed) values (%s, %s, %s, %s) "
        "on conflict (tenant, scope) do update set position = excluded.position, indexed = excluded.indexed",
        (tenant, scope, position, indexed),
    )


def end_run(uow: UnitOfWork, tenant: int, scope: str) -> None:
    """A run is over, or begins anew."""
    uow.driver.execute("delete from reindex_run where tenant = %s and scope = %s", (tenant, scope))


def _rows_of(kind: str) -> Composed:
    columns = [column.name for column in INDEX_TABLES[kind].columns if column.name not in ("tenant", "key")]
    names = SQL(", ").join(Identifier(name) for name in columns)
    table = Identifier(f"index_{kind}")
    return SQL("select key, {names} from {table} where tenant = %s and key = any(%s)").format(names=names, table=table)
