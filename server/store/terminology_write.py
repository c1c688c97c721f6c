"""Takes code systems apart into tables, by COPY."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson
from psycopg.types.json import Jsonb

from server.store.database import UnitOfWork
from server.store.terminology import header_row
from terminology.code_system import Header
from terminology.concept import Concept, written
from terminology.words import indexed, storable

#: Different words of one concept that are kept.
_MOST_WORDS = 2000
_TABLES = ("code_concept", "code_designation", "code_property")


def enter(
    uow: UnitOfWork,
    tenant: int,
    header: Header,
    *,
    id: str = "",
    resource_version: int = 0,
    digest: str = "",
    apart: bool = False,
    complete: bool = False,
) -> int:
    """A new entry for a code system; returns its number."""
    row = uow.driver.execute(
        "insert into code_system (tenant, url, version, header, id, resource_version, digest, apart, complete) "
        "values (%s, %s, %s, %s, %s, %s, %s, %s, %s) returning system",
        (tenant, header.url, header.version, Jsonb(header_row(header)), id, resource_version, digest, apart, complete),
    ).fetchone()
    return int(row[0]) if row else 0


def copy(
    uow: UnitOfWork,
    tenant: int,
    system: int,
    concepts: Iterable[tuple[int, Concept]],
    ancestors: Mapping[int, Sequence[int]] | Sequence[Sequence[int]],
) -> int:
    """Adds concepts, each with its place; ``ancestors`` are places. How many it were."""
    names: list[tuple[Any, ...]] = []
    held: list[tuple[Any, ...]] = []
    count = 0
    base = system << 32
    columns = "tenant, system, code, number, key, display, definition, inactive, abstract, folded, ancestors, words"
    with uow.driver.cursor().copy(f"copy code_concept ({columns}) from stdin".encode()) as out:
        for number, one in concepts:
            above = "{" + ",".join(str(base | place) for place in ancestors[number]) + "}"
            out.write_row((*_row(tenant, system, number, base, one), above, _words(one)))
            names.extend((tenant, system, number, place, body) for place, body in enumerate(_bodies(one)))
            held.extend((tenant, system, number, place, *rest) for place, rest in enumerate(_properties(one)))
            count += 1
    _copy(uow, "code_designation (tenant, system, number, place, body)", names)
    _copy(uow, "code_property (tenant, system, number, place, property, value, type, rest)", held)
    uow.driver.execute(
        "update code_system set concepts = concepts + %s where tenant = %s and system = %s", (count, tenant, system)
    )
    return count


def complete(uow: UnitOfWork, tenant: int, system: int) -> None:
    """The code system is at hand from the commit on; what a release of the same version brought before is not."""
    uow.driver.execute(
        "update code_system set complete = false, digest = '' where tenant = %s and id = '' and system <> %s "
        "and (url, version) = (select url, version from code_system where tenant = %s and system = %s)",
        (tenant, system, tenant, system),
    )
    uow.driver.execute(
        "update code_system set complete = true, changed = clock_timestamp() where tenant = %s and system = %s",
        (tenant, system),
    )


def begun(uow: UnitOfWork, tenant: int, url: str, version: str, digest: str) -> tuple[int, int] | None:
    """The number of a release's load that did not come to its end, and how many concepts it has."""
    row = uow.driver.execute(
        "select system, concepts from code_system where tenant = %s and url = %s and version = %s and id = '' "
        "and digest = %s and not complete order by system desc limit 1 for update",
        (tenant, url, version, digest),
    ).fetchone()
    return None if row is None else (int(row[0]), int(row[1]))


def superseded(uow: UnitOfWork, tenant: int) -> list[int]:
    """The code systems that nobody finds any more: of resources that were written anew or deleted, of older loads."""
    rows = uow.driver.execute(
        "select system from code_system c where tenant = %s and case when id = '' then not complete and digest = '' "
        "else not exists (select from resource r where r.tenant = c.tenant and r.type = 'CodeSystem' and r.id = c.id "
        "and r.version = c.resource_version and not r.deleted) end",
        (tenant,),
    )
    return [int(row[0]) for row in rows]


def remove(uow: UnitOfWork, tenant: int, systems: Sequence[int]) -> None:
    """Takes code systems out of the tables."""
    for table in (*reversed(_TABLES), "code_system"):
        statement = f"delete from {table} where tenant = %s and system = any(%s)"
        uow.driver.execute(statement.encode(), (tenant, list(systems)))


def of_resource(uow: UnitOfWork, tenant: int, id: str) -> list[int]:
    """The entries of a resource, whatever its version."""
    rows = uow.driver.execute("select system from code_system where tenant = %s and id = %s", (tenant, id))
    return [int(row[0]) for row in rows]


def _row(tenant: int, system: int, number: int, base: int, one: Concept) -> tuple[Any, ...]:
    code = storable(one.code)
    folded = code.casefold()
    return (
        tenant, system, code, number, base | number, storable(one.display), storable(one.definition),
        one.inactive, one.abstract, folded if folded != code else None,
    )  # fmt: skip


def _words(one: Concept) -> str:
    found: dict[str, None] = {}
    for name in one.names:
        found.update(dict.fromkeys(indexed(name)))
        if len(found) > _MOST_WORDS:
            break
    return " ".join(f"'{word}'" for word in found)


def _bodies(one: Concept) -> Iterator[str]:
    for designation in one.designations:
        yield _json(designation)


def _properties(one: Concept) -> Iterator[tuple[str, str, str, str | None]]:
    for parent in one.parents:
        yield "parent", storable(parent), "valueCode", None
    for held in one.properties:
        kind = next((key for key in held if key.startswith("value")), None)
        if kind is not None and held.get("code") != "parent":
            value = held[kind]
            if isinstance(value, Mapping):
                rest = {name: inner for name, inner in value.items() if name != "code"}
                yield str(held["code"]), storable(str(value.get("code", ""))), kind, _json(rest)
            else:
                yield str(held["code"]), storable(written(value)), kind, None


def _json(value: Any) -> str:
    return orjson.dumps(value, default=str).decode().replace("\\u0000", "")


def _copy(uow: UnitOfWork, target: str, rows: Iterable[tuple[Any, ...]]) -> None:
    with uow.driver.cursor().copy(f"copy {target} from stdin".encode()) as out:
        for row in rows:
            out.write_row(row)


def withdraw(uow: UnitOfWork, tenant: int, url: str, version: str) -> bool:
    """A release is no longer at hand from the commit on; whether it was."""
    rows = uow.driver.execute(
        "update code_system set complete = false, digest = '' where tenant = %s and url = %s and version = %s "
        "and id = '' returning system",
        (tenant, url, version),
    )
    return bool(rows.fetchall())


def analyse(uow: UnitOfWork) -> None:
    """Tells the planner how many rows the tables have."""
    for table in (*_TABLES, "concept_map_element"):
        uow.driver.execute(f"analyze {table}".encode())
