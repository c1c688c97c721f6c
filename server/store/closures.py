"""Named queries over closure tables: https://hl7.org/fhir/R4/terminology-service.html#closure"""

from collections.abc import Iterable

from server.store.database import UnitOfWork

#: A code system's canonical and a code.
Coded = tuple[str, str]


def begin(uow: UnitOfWork, tenant: int, name: str) -> None:
    """An empty table, in place of one of that name."""
    uow.driver.execute("delete from closure_concept where tenant = %s and name = %s", (tenant, name))
    uow.driver.execute(
        "insert into closure (tenant, name, version) values (%s, %s, 0) "
        "on conflict (tenant, name) do update set version = 0",
        (tenant, name),
    )


def version(uow: UnitOfWork, tenant: int, name: str) -> int | None:
    """The table's version, held until the transaction ends; None where there is none of that name."""
    row = uow.driver.execute(
        "select version from closure where tenant = %s and name = %s for update", (tenant, name)
    ).fetchone()
    return None if row is None else int(row[0])


def concepts(uow: UnitOfWork, tenant: int, name: str) -> dict[Coded, int]:
    """What is in the table, with the version that it came with."""
    rows = uow.driver.execute(
        "select system, code, version from closure_concept where tenant = %s and name = %s "
        "order by version, system, code",
        (tenant, name),
    )
    return {(row[0], row[1]): row[2] for row in rows}


def add(uow: UnitOfWork, tenant: int, name: str, version: int, added: Iterable[Coded]) -> None:
    """Adds concepts that are not in the table, which has this version from now on."""
    uow.driver.cursor().executemany(
        "insert into closure_concept (tenant, name, system, code, version) values (%s, %s, %s, %s, %s)",
        [(tenant, name, system, code, version) for system, code in added],
    )
    uow.driver.execute("update closure set version = %s where tenant = %s and name = %s", (version, tenant, name))
