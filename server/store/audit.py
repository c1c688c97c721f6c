"""Audit rows: one for each request, whatever the number of its results."""

from server.store.database import UnitOfWork


def note(uow: UnitOfWork, tenant: int, who: str, action: str, type: str, id: str = "") -> None:
    """Notes that ``who`` did ``action`` on a thing of a type; ``id`` names it where it is one."""
    uow.driver.execute(
        "insert into audit (tenant, who, action, type, id, version) values (%s, %s, %s, %s, %s, 0)",
        (tenant, who, action, type, id),
    )


def note_read(uow: UnitOfWork, tenant: int, who: str, action: str, type: str, id: str = "") -> None:
    """Notes that ``who`` did ``action`` (search, read) on things of a type; ``id`` names one where there is one."""
    note(uow, tenant, who, action, type, id)
