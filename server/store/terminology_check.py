"""Named queries that compare how a code system was taken apart with how it is taken apart now."""

from collections.abc import Iterator, Sequence

from server.store.database import UnitOfWork

#: What is the same whichever number a code system has.
_COMPARED = {
    "code_system": "url, version, header, id, resource_version, apart, concepts, complete",
    "code_concept": "code, number, key - (system << 32), display, definition, inactive, abstract, folded, "
    "(select array_agg(one - (system << 32) order by one) from unnest(ancestors) one), below, words",
    "code_designation": "number, place, body",
    "code_property": "number, place, property, value, type, rest",
}
#: Rows of these belong to a row of the other table, by the column.
_PARTS = {
    "code_concept": ("code_system", "system"),
    "code_designation": ("code_system", "system"),
    "code_property": ("code_system", "system"),
    "concept_map_element": ("concept_map", "map"),
}


def code_systems(uow: UnitOfWork, tenant: int) -> list[str]:
    """The ids of the CodeSystem resources."""
    rows = uow.driver.execute(
        "select id from resource where tenant = %s and type = 'CodeSystem' and not deleted order by id", (tenant,)
    )
    return [row[0] for row in rows]


def differing(uow: UnitOfWork, tenant: int, have: Sequence[int], wanted: int) -> Iterator[tuple[str, int, int]]:
    """(table, rows missing, rows too many) of code systems, against one that was just taken apart."""
    for table, columns in _COMPARED.items():
        one = f"select {columns} from {table} where tenant = %(tenant)s and system = %(wanted)s"
        other = f"select {columns} from {table} where tenant = %(tenant)s and system = any(%(have)s)"
        row = uow.driver.execute(
            f"select (select count(*) from ({one} except all {other}) missing), "
            f"(select count(*) from ({other} except all {one}) extra)".encode(),
            {"tenant": tenant, "wanted": wanted, "have": list(have)},
        ).fetchone()
        if row and (row[0] or row[1]):
            yield table, row[0], row[1]


def of_nothing(uow: UnitOfWork, tenant: int) -> list[int]:
    """The code systems of resources that are not there, or not in that version."""
    rows = uow.driver.execute(
        "select system from code_system c where tenant = %s and id <> '' and not exists (select from resource r "
        "where r.tenant = c.tenant and r.type = 'CodeSystem' and r.id = c.id and r.version = c.resource_version "
        "and not r.deleted)",
        (tenant,),
    )
    return [row[0] for row in rows]


def miscounted(uow: UnitOfWork, tenant: int) -> Iterator[tuple[str, int]]:
    """(canonical, concepts missing) of loaded releases that have not as many as were loaded; below 0 too many.

    Where a release came from is not kept, so that no more can be told of it.
    """
    yield from uow.driver.execute(
        "select concat_ws('|', url, nullif(version, '')), concepts - have.count from code_system c, lateral "
        "(select count(*) from code_concept n where n.tenant = c.tenant and n.system = c.system) have "
        "where tenant = %s and id = '' and complete and concepts <> have.count",
        (tenant,),
    ).fetchall()


def orphans(uow: UnitOfWork, tenant: int) -> Iterator[tuple[str, int]]:
    """(table, how many of its rows) belong to no code system or concept map."""
    for table, (whole, column) in _PARTS.items():
        row = uow.driver.execute(f"select count(*) {_orphans(table, whole, column)}".encode(), (tenant,)).fetchone()
        if row and row[0]:
            yield table, row[0]


def delete_orphans(uow: UnitOfWork, tenant: int, table: str) -> None:
    """Deletes what ``orphans`` found in one table."""
    uow.driver.execute(f"delete {_orphans(table, *_PARTS[table])}".encode(), (tenant,))


def _orphans(table: str, whole: str, column: str) -> str:
    return (
        f"from {table} p where tenant = %s "
        f"and not exists (select from {whole} w where w.tenant = p.tenant and w.{column} = p.{column})"
    )
