"""Every index row derived again from the stored resources, and compared with what is stored."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from server.fhir import json_format
from server.fhir.definitions import Definitions
from server.search import check_terminology
from server.search.declared import numbers
from server.search.find import Search
from server.search.index import CONTAINED, indexed, numbers_of
from server.search.numbers import number
from server.search.reindex import BATCH, Tell
from server.store import index_rows
from server.store import search_parameters as declared
from server.store.database import Database, UnitOfWork
from server.store.index_rows import Row


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """Rows of one parameter of a resource that are not as they should be; never what they say."""

    tenant: int
    #: Type/id, of a loaded code system its canonical; empty for rows of no resource.
    resource: str
    #: The index table.
    table: str
    #: Type.code, and behind a colon what one of several indexes of a parameter is for; empty for rows of no
    #: resource, and of the terminology.
    parameter: str
    #: Rows that should be there, and rows that should not.
    missing: int = 0
    extra: int = 0


@dataclass(kw_only=True, slots=True)
class Checked:
    """What a check came to."""

    resources: int = 0
    rows: int = 0
    differences: list[Difference] = field(default_factory=list)
    #: Whether the differences are mended.
    repaired: bool = False


def check(
    database: Database, search: Search, types: tuple[str, ...] | None, *, repair: bool = False, tell: Tell
) -> Checked:
    """Compares the index rows of all current versions, of some types or of all; with ``repair`` mends what differs."""
    seen = Checked(repaired=repair)
    with database.reading() as uow:
        tenants = index_rows.tenants(uow)
        total = sum(index_rows.count(uow, tenant, types) for tenant in tenants)
    for tenant in tenants:
        position: int | None = 0
        while position is not None:
            with database.unit_of_work() if repair else database.reading() as uow:
                position = _batch(uow, tenant, search, types, position, seen)
            tell(seen.resources, max(total, seen.resources))
        if types is None:
            with database.unit_of_work() if repair else database.reading() as uow:
                seen.differences += _orphans(uow, tenant, repair=repair)
        if types is None or "CodeSystem" in types:
            seen.differences += _terminology(database, tenant, repair=repair)
    return seen


def _terminology(database: Database, tenant: int, *, repair: bool) -> Iterator[Difference]:
    for one in check_terminology.check(database, tenant, repair=repair):
        yield Difference(
            tenant=tenant, resource=one.of, table=one.table, parameter="", missing=one.missing, extra=one.extra
        )


def _batch(
    uow: UnitOfWork, tenant: int, search: Search, types: tuple[str, ...] | None, after: int, seen: Checked
) -> int | None:
    """Compares a batch; gives the last key, None when there is nothing left."""
    if seen.repaired:
        # Nobody changes a resource between the look at it and the look at its rows.
        uow.driver.execute("set transaction isolation level repeatable read")
    engine = search.declarations.engine(uow, tenant, writing=seen.repaired)
    unsettled = _unsettled(uow, tenant, engine.definitions)
    batch = index_rows.batch(uow, tenant, after, types, BATCH)
    stored = index_rows.stored(uow, tenant, [key for key, *_ in batch])
    wrong = []
    for key, kind, id, body in batch:
        derived: list[Row] = list(engine.indexer.rows(json_format.parse(bytes(body))))
        wanted = Counter(row for row in derived if row[1] not in unsettled)
        have = Counter({row: count for row, count in stored[key].items() if row[1] not in unsettled})
        if wanted != have:
            seen.differences += _differences(tenant, f"{kind}/{id}", engine.definitions, wanted, have)
            wrong.append((key, derived))
        seen.rows += wanted.total()
    if seen.repaired and wrong:
        index_rows.replace(uow, tenant, wrong)
    seen.resources += len(batch)
    return batch[-1][0] if batch else None


def _unsettled(uow: UnitOfWork, tenant: int, definitions: Definitions) -> frozenset[int]:
    """Numbers of what is being indexed or cleared just now."""
    found: set[int] = set()
    for one in declared.declared(uow, tenant):
        if one.state != "active":
            found |= {*one.stale, *(numbers(definitions, one.facts) if one.facts is not None else ())}
    return frozenset(found)


def _differences(
    tenant: int, resource: str, definitions: Definitions, wanted: Counter[Row], have: Counter[Row]
) -> Iterator[Difference]:
    missing, extra = (
        Counter[tuple[str, int]](
            {place: sum(n for row, n in rows.items() if row[:2] == place) for place in {row[:2] for row in rows}}
        )
        for rows in (wanted - have, have - wanted)
    )
    names = _names(definitions)
    for place in sorted({*missing, *extra}):
        yield Difference(
            tenant=tenant,
            resource=resource,
            table=f"index_{place[0]}",
            parameter=names.get(place[1], f"unknown ({place[1]})"),
            missing=missing[place],
            extra=extra[place],
        )


def _orphans(uow: UnitOfWork, tenant: int, *, repair: bool) -> list[Difference]:
    found = list(index_rows.orphans(uow, tenant))
    if repair:
        for kind, _ in found:
            index_rows.delete_orphans(uow, tenant, kind)
    return [
        Difference(tenant=tenant, resource="", table=f"index_{kind}", parameter="", extra=count)
        for kind, count in found
    ]


@lru_cache(maxsize=2)
def _names(definitions: Definitions) -> dict[int, str]:
    """Number -> name of what is indexed under it."""
    found = {}
    for kind in definitions.resource_types:
        found[number(kind, "", CONTAINED)] = f"{kind}:{CONTAINED}"
        for code, parameter in indexed(definitions, kind).items():
            for each, suffix in numbers_of(definitions, kind, parameter).items():
                found[each] = f"{kind}.{code}:{suffix}".rstrip(":")
    return found
