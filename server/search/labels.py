"""Which profiles, tags and security labels are in use: https://hl7.org/fhir/R4/resource-operation-meta.html"""

from collections.abc import Iterable
from typing import Any

from psycopg.errors import QueryCanceled
from sqlalchemy import ColumnElement, Table, not_, select
from sqlalchemy.exc import DBAPIError

from server.errors import TooLarge
from server.search.numbers import number
from server.store.database import UnitOfWork
from server.store.tables.resources import index_token, index_uri, resource

#: Different ones that are given at most.
MOST = 10_000
_MILLISECONDS = 10_000


def labels(uow: UnitOfWork, tenant: int, resource_types: Iterable[str]) -> dict[str, list[Any]]:
    """What stands in Resource.meta of the current resources of some types, each once: profile, security, tag."""
    types = tuple(resource_types)
    uow.driver.execute(f"set local statement_timeout = {_MILLISECONDS}")
    try:
        found: dict[str, list[Any]] = {
            "profile": [row[0] for row in _distinct(uow, tenant, types, "_profile", index_uri, index_uri.c.uri)]
        }
        for name in ("security", "tag"):
            columns = (index_token.c.system, index_token.c.code)
            rows = _distinct(uow, tenant, types, f"_{name}", index_token, *columns)
            found[name] = [{k: v for k, v in zip(("system", "code"), row, strict=True) if v} for row in rows]
    except DBAPIError as error:
        if not isinstance(error.orig, QueryCanceled):
            raise
        raise TooLarge("There is too much to look through; ask for one type.") from error
    return {name: listed for name, listed in found.items() if listed}


def _distinct(
    uow: UnitOfWork, tenant: int, types: tuple[str, ...], code: str, table: Table, *columns: ColumnElement[str]
) -> list[Any]:
    statement = (
        select(*columns)
        .distinct()
        .join(resource, (resource.c.tenant == table.c.tenant) & (resource.c.key == table.c.key))
        .where(
            table.c.tenant == tenant,
            table.c.parameter.in_([number(kind, code) for kind in types]),
            not_(resource.c.deleted),
        )
        .order_by(*columns)
        .limit(MOST + 1)
    )
    rows = list(uow.execute(statement))
    if len(rows) > MOST:
        raise TooLarge(f"There are more than {MOST} different ones; ask for one type.")
    return rows
