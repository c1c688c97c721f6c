"""The generation of a tenant's definitions: a number that grows with each transaction that writes any.

It commits with the definitions themselves, so whoever reads it knows whether what was compiled before still holds,
in whatever process it was.
"""

from server.store.database import UnitOfWork


def current(uow: UnitOfWork, tenant: int) -> int:
    """The number as this transaction sees it."""
    row = uow.driver.execute("select number from definition_generation where tenant = %s", (tenant,)).fetchone()
    return 0 if row is None else int(row[0])


def advance(uow: UnitOfWork, tenant: int) -> None:
    """One more; others who write definitions wait until this transaction ends, so it comes last in one."""
    uow.driver.execute(
        "insert into definition_generation (tenant, number) values (%s, 1) "
        "on conflict (tenant) do update set number = definition_generation.number + 1",
        (tenant,),
    )
