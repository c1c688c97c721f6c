"""Named queries over the search parameters that SearchParameter resources declare.

A declaration is ``declared`` with its resource. The job then waits until no transaction runs that wrote without
knowing of it (``barrier``), clears what rows there are from before (``clearing``), walks over what is stored
(``indexing``), and ends with ``active``. One that is taken back has no facts any more, and goes when its rows are
cleared.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg.errors import LockNotAvailable
from psycopg.sql import SQL, Identifier

from server.store.database import UnitOfWork
from server.store.tables.resources import INDEX_TABLES

#: Rows that one step of clearing deletes from each index table.
_CLEARED = 5_000
#: What those who write may be kept waiting while a declaration takes hold.
_PATIENCE = "3s"
#: As text, without the tenant's number in it, so that the driver prepares it.
_STAMP = b"""
    select coalesce(string_agg(
        concat_ws('/', revision, state, indexed * 20 / greatest(total, 1)), ',' order by revision), '')
    from search_parameter where tenant = %s and facts is not null"""
#: The same, with the lock that "for key share" takes on the table, though it finds no row.
_HOLD = b"""
    select coalesce(string_agg(
        concat_ws('/', revision, state, indexed * 20 / greatest(total, 1)), ',' order by revision), ''),
        (select count(*) from (select from search_parameter where tenant = -1 for key share) held)
    from search_parameter where tenant = %s and facts is not null"""
_COLUMNS = "id, revision, facts, state, stale, position, last, indexed, total"


@dataclass(frozen=True, kw_only=True, slots=True)
class Declared:
    """One declaration as it stands."""

    id: str
    revision: int
    #: See ``server.search.declared``; None once it is taken back.
    facts: dict[str, Any] | None
    state: str
    #: Numbers whose rows have to go.
    stale: tuple[int, ...]
    position: int
    last: int
    indexed: int
    total: int

    @property
    def percent(self) -> int:
        """How far the index has come."""
        return min(99, 100 * self.indexed // self.total) if self.total else 0


def stamp(uow: UnitOfWork, tenant: int, *, writing: bool) -> str:
    """What tells one set of declarations from another; empty for none.

    Who writes holds the next declaration off until the transaction ends, so that what is written is entered for all.
    """
    row = uow.driver.execute(_HOLD if writing else _STAMP, (tenant,)).fetchone()
    return str(row[0]) if row else ""


def declared(uow: UnitOfWork, tenant: int) -> list[Declared]:
    """Every declaration of a tenant, those that are taken back too."""
    statement = f"select {_COLUMNS} from search_parameter where tenant = %s order by revision"
    return [_declared(row) for row in uow.driver.execute(statement.encode(), (tenant,))]


def declare(uow: UnitOfWork, tenant: int, id: str, facts: dict[str, Any], stale: Sequence[int]) -> None:
    """Notes what a resource declares; ``stale`` are the numbers of what it declared before."""
    uow.driver.execute(
        "insert into search_parameter (tenant, id, facts, stale) values (%s, %s, %s, %s) "
        "on conflict (tenant, id) do update set facts = excluded.facts, state = 'declared', revision = default, "
        "stale = search_parameter.stale || excluded.stale, position = 0, last = 0, indexed = 0, total = 0",
        (tenant, id, json.dumps(facts, sort_keys=True), list(stale)),
    )


def withdraw(uow: UnitOfWork, tenant: int, id: str, stale: Sequence[int]) -> None:
    """Takes a declaration back; its rows go behind."""
    uow.driver.execute(
        "update search_parameter set facts = null, state = 'declared', revision = default, stale = stale || %s::int[] "
        "where tenant = %s and id = %s and facts is not null",
        (list(stale), tenant, id),
    )


def next_to_do(uow: UnitOfWork) -> tuple[int, Declared] | None:
    """A declaration that is not active yet, with its tenant; None while another process is at one."""
    row = uow.driver.execute(
        f"select tenant, {_COLUMNS} from search_parameter where state <> 'active' "
        "and pg_try_advisory_xact_lock(hashtextextended('search-parameters', 0)) order by revision limit 1".encode()
    ).fetchone()
    return None if row is None else (row[0], _declared(row[1:]))


def barrier(uow: UnitOfWork, tenant: int, one: Declared) -> bool:
    """Whether every transaction is over that may have written without knowing of a declaration."""
    uow.driver.execute(f"set local lock_timeout = '{_PATIENCE}'".encode())
    try:
        with uow.driver.transaction():
            uow.driver.execute("lock table search_parameter in exclusive mode")
    except LockNotAvailable:
        return False
    uow.driver.execute(
        "update search_parameter set state = 'clearing' where tenant = %s and id = %s and revision = %s",
        (tenant, one.id, one.revision),
    )
    return True


def clear(uow: UnitOfWork, tenant: int, stale: Sequence[int]) -> int:
    """Deletes some of the rows that have to go; how many."""
    gone = 0
    for kind in INDEX_TABLES:
        if kind != "words":
            statement = SQL(
                "delete from {table} where ctid = any(array(select ctid from {table} "
                "where tenant = %s and parameter = any(%s) limit %s))"
            ).format(table=Identifier(f"index_{kind}"))
            gone += uow.driver.execute(statement, (tenant, list(stale), _CLEARED)).rowcount
    return gone


def cleared(uow: UnitOfWork, tenant: int, one: Declared, types: Sequence[str]) -> None:
    """What was taken back is gone; the index of what was declared begins, up to what is stored now."""
    place = {"tenant": tenant, "id": one.id, "revision": one.revision, "types": list(types)}
    if one.facts is None:
        uow.driver.execute(
            "delete from search_parameter where tenant = %(tenant)s and id = %(id)s and revision = %(revision)s", place
        )
        return
    uow.driver.execute(
        "update search_parameter set state = 'indexing', stale = '{}', position = 0, indexed = 0, "
        "last = coalesce((select max(key) from resource where tenant = %(tenant)s), 0), "
        "total = (select count(*) from resource where tenant = %(tenant)s and type = any(%(types)s) and not deleted) "
        "where tenant = %(tenant)s and id = %(id)s and revision = %(revision)s",
        place,
    )


def advance(uow: UnitOfWork, tenant: int, one: Declared, position: int, count: int, *, active: bool) -> None:
    """Notes how far the index has come."""
    uow.driver.execute(
        "update search_parameter set position = %s, indexed = indexed + %s, state = %s "
        "where tenant = %s and id = %s and revision = %s",
        (position, count, "active" if active else "indexing", tenant, one.id, one.revision),
    )


def _declared(row: Sequence[Any]) -> Declared:
    values = dict(zip(_COLUMNS.split(", "), row, strict=True))
    facts = values["facts"]
    return Declared(
        **{**values, "facts": None if facts is None else json.loads(facts), "stale": tuple(values["stale"])}
    )
