"""The tables of code systems: taken apart again from the stored resources, and compared with what is stored.

Loaded releases are counted only, since the files that they came from are not kept.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from server.fhir import json_format
from server.search import taking_apart
from server.store import resources, terminology_check, terminology_write
from server.store.database import Database, UnitOfWork


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """Rows of one table that are not as they should be."""

    #: CodeSystem/id, or the canonical of a release; empty for rows of nothing.
    of: str
    table: str
    #: Rows that should be there, and rows that should not.
    missing: int = 0
    extra: int = 0


class _Undone(Exception):
    """What was taken apart to be compared is not to stay."""


def check(database: Database, tenant: int, *, repair: bool) -> Iterator[Difference]:
    """What differs in the tables of one tenant; with ``repair`` it is mended, but for releases: load those anew."""
    with database.reading() as uow:
        ids = terminology_check.code_systems(uow, tenant)
    for id in ids:
        yield from _compared(database, tenant, id, repair=repair)
    with database.unit_of_work() if repair else database.reading() as uow:
        yield from list(_rest(uow, tenant, repair=repair))


def rebuild(database: Database, tenant: int) -> int:
    """Takes every stored CodeSystem apart anew, each in a transaction of its own; how many there are."""
    with database.reading() as uow:
        ids = terminology_check.code_systems(uow, tenant)
    for id in ids:
        with database.unit_of_work() as uow:
            stored = resources.current(uow, tenant, "CodeSystem", id, lock=True)
            if stored is not None and not stored.deleted:
                taking_apart.take_apart(uow, tenant, json_format.parse(stored.body))
    with database.unit_of_work() as uow:
        list(_rest(uow, tenant, repair=True))
    return len(ids)


def _compared(database: Database, tenant: int, id: str, *, repair: bool) -> list[Difference]:
    """One code system; what it is compared with stays in the place of what differs, or goes again."""
    found: list[Difference] = []
    # To be compared nothing is held: all is seen as it was at one moment.
    with suppress(_Undone), database.unit_of_work(one_moment=not repair) as uow:
        stored = resources.current(uow, tenant, "CodeSystem", id, lock=repair)
        if stored is None or stored.deleted:
            return []
        have = terminology_write.of_resource(uow, tenant, id)
        wanted = taking_apart.entered(uow, tenant, json_format.parse(stored.body))
        rows = terminology_check.differing(uow, tenant, have, wanted)
        found = [
            Difference(of=f"CodeSystem/{id}", table=table, missing=missing, extra=extra)
            for table, missing, extra in rows
        ]
        if not repair or not found:
            raise _Undone
        terminology_write.remove(uow, tenant, have)
    return found


def _rest(uow: UnitOfWork, tenant: int, *, repair: bool) -> Iterator[Difference]:
    """What belongs to nothing, and what releases lack."""
    lost = terminology_check.of_nothing(uow, tenant)
    if lost:
        yield Difference(of="", table="code_system", extra=len(lost))
        if repair:
            terminology_write.remove(uow, tenant, lost)
    for table, count in list(terminology_check.orphans(uow, tenant)):
        yield Difference(of="", table=table, extra=count)
        if repair:
            terminology_check.delete_orphans(uow, tenant, table)
    for canonical, missing in terminology_check.miscounted(uow, tenant):
        yield Difference(of=canonical, table="code_concept", missing=max(0, missing), extra=max(0, -missing))
