"""Named queries over concept maps that were loaded: ``terminology.concept_map`` gets what one code needs of them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
from psycopg.types.json import Jsonb

from server.store.database import UnitOfWork

_COLUMNS = 'tenant, map, number, "group", code, target, body'


def enter(uow: UnitOfWork, tenant: int, resource: Mapping[str, Any], digest: str) -> int:
    """A new, empty map; returns its number."""
    row = uow.driver.execute(
        "insert into concept_map (tenant, url, version, body, digest) values (%s, %s, %s, %s, %s) returning map",
        (tenant, resource["url"], resource.get("version", ""), Jsonb(resource), digest),
    ).fetchone()
    return int(row[0]) if row else 0


def copy(
    uow: UnitOfWork, tenant: int, number: int, start: int, elements: Iterable[tuple[int, Mapping[str, Any]]]
) -> int:
    """Adds elements, a row for each target; the number that the next row has."""
    at = start
    with uow.driver.cursor().copy(f"copy concept_map_element ({_COLUMNS}) from stdin".encode()) as out:
        for group, element in elements:
            for target in element.get("target", ()):
                body = orjson.dumps({**element, "target": [target]}).decode()
                out.write_row((tenant, number, at, group, element["code"], target.get("code", ""), body))
                at += 1
    return at


def complete(uow: UnitOfWork, tenant: int, number: int) -> None:
    """The map is at hand from the commit on, in place of one of the same version."""
    uow.driver.execute(
        "update concept_map set complete = (map = %s), changed = clock_timestamp() where tenant = %s "
        "and (url, version) = (select url, version from concept_map where tenant = %s and map = %s)",
        (number, tenant, tenant, number),
    )


def remove_incomplete(uow: UnitOfWork, tenant: int, url: str) -> None:
    """Takes out what of a canonical is not at hand."""
    rows = uow.driver.execute(
        "delete from concept_map where tenant = %s and url = %s and not complete returning map", (tenant, url)
    )
    gone = [row[0] for row in rows]
    uow.driver.execute("delete from concept_map_element where tenant = %s and map = any(%s)", (tenant, gone))


def remove(uow: UnitOfWork, tenant: int, system: str, version: str) -> None:
    """Takes out the maps of one version of a code system's release."""
    uow.driver.execute(
        "update concept_map set complete = false where tenant = %s and version = %s "
        "and body #>> '{group,0,source}' = %s",
        (tenant, version, system),
    )
    rows = uow.driver.execute("select distinct url from concept_map where tenant = %s and not complete", (tenant,))
    for (url,) in rows.fetchall():
        remove_incomplete(uow, tenant, url)


def loaded(uow: UnitOfWork, tenant: int, url: str = "") -> list[tuple[int, dict[str, Any]]]:
    """The maps that are at hand, all or those of a canonical: number and resource, its groups without elements."""
    rows = uow.driver.execute(
        "select map, body from concept_map where tenant = %s and complete and (%s = '' or url = %s) order by url, map",
        (tenant, url, url),
    )
    return [(row[0], row[1]) for row in rows]


def of_code(
    uow: UnitOfWork, tenant: int, number: int, resource: Mapping[str, Any], code: str, *, reverse: bool
) -> dict[str, Any]:
    """The map with the elements of one code, or of one target."""
    column = "target" if reverse else "code"
    rows = uow.driver.execute(
        f'select "group", body from concept_map_element where tenant = %s and map = %s and {column} = %s '
        "order by number".encode(),
        (tenant, number, code),
    ).fetchall()
    groups: Sequence[Mapping[str, Any]] = resource.get("group", ())
    return {
        **resource,
        "group": [
            {**group, "element": [body for at, body in rows if at == place]} for place, group in enumerate(groups)
        ],
    }
