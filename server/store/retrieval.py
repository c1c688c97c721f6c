"""Named queries of retrieval: one statement finds what is asked for and audits that it was read.

They run on ``Database.statement``, not durably: nobody who reads waits for the disk.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import psycopg

from server.store.studies import Located

_PLACE = ", ".join(field.name for field in fields(Located))
_PLACES = len(fields(Located))
_LEVELS = ("study", "series", "instance")


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """The stored DICOM JSON of one instance."""

    study: str
    series: str
    instance: str
    json: bytes


def _statement(columns: str, level: int, *, limit: bool, noted: bool) -> bytes:
    where = "".join(f" and {name} = %s" for name in _LEVELS[:level])
    found = (
        f"select {columns} from instance where tenant = %s{where} "
        f"order by series, instance_number, instance{' limit %s' if limit else ''}"
    )
    if not noted:
        return found.encode()
    return (
        f"with found as materialized ({found}), noted as (insert into audit (tenant, who, action, type, id, version) "
        "select %s, %s, 'read', %s, %s, 0 where exists (select from found)) select * from found"
    ).encode()


_TYPES = ("Study", "Study", "Series", "SOPInstance")


def _rows(
    connection: psycopg.Connection[Any],
    columns: str,
    tenant: int,
    path: Sequence[str],
    *,
    who: str = "",
    limit: int | None = None,
) -> list[Any]:
    """Rows of the instances under the path; an audit row where ``who`` is named."""
    # A part of the path that is left out does not narrow; those behind it still do.
    names = [name for name in path if name]
    if len(names) != len(path) and any(path[len(names) :]):
        raise ValueError("A path names study, series and instance in this order.")
    values: list[Any] = [tenant, *names]
    if limit is not None:
        values.append(limit)
    if who:
        values += [tenant, who, _TYPES[len(names)], names[-1] if names else ""]
    statement = _statement(columns, len(names), limit=limit is not None, noted=bool(who))
    return connection.execute(statement, values, binary=True).fetchall()


def locate(connection: psycopg.Connection[Any], tenant: int, path: Sequence[str], *, who: str = "") -> list[Located]:
    """The instances under study, series and instance UID, in series and instance number order; noted as read."""
    return [_located(row) for row in _rows(connection, _PLACE, tenant, path, who=who)]


def locate_with_header(
    connection: psycopg.Connection[Any], tenant: int, path: Sequence[str], *, who: str = ""
) -> tuple[Located, bytes] | None:
    """The instance at the end of a whole path, with its DICOM JSON."""
    rows = _rows(connection, f"{_PLACE}, metadata", tenant, path, who=who)
    return (_located(rows[0]), rows[0][_PLACES]) if rows else None


def headers(
    connection: psycopg.Connection[Any], tenant: int, path: Sequence[str], *, limit: int, who: str = ""
) -> list[Header]:
    """The first ``limit`` headers under the path."""
    columns = "study, series, instance, metadata"
    rows = _rows(connection, columns, tenant, path, who=who, limit=limit)
    return [Header(study=row[0], series=row[1], instance=row[2], json=row[3]) for row in rows]


def headers_of(connection: psycopg.Connection[Any], tenant: int, instances: Sequence[str]) -> list[Header]:
    """The headers of these instances, in their order."""
    rows = connection.execute(
        "select i.study, i.series, i.instance, i.metadata from unnest(%s::text[]) with ordinality as u(instance, n) "
        "join instance i on i.tenant = %s and i.instance = u.instance order by u.n",
        (list(instances), tenant),
        binary=True,
    ).fetchall()
    return [Header(study=row[0], series=row[1], instance=row[2], json=row[3]) for row in rows]


def _located(row: Sequence[Any]) -> Located:
    return Located(**dict(zip(_NAMES, row, strict=False)))


_NAMES = [field.name for field in fields(Located)]
