"""How a search is carried out, as data: its criteria, the SQL with placeholders, and PostgreSQL's plan for it."""

import json
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from psycopg.sql import SQL
from sqlalchemy import Select
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from server.search.query import Query
from server.store.database import UnitOfWork

_DIALECT = PGDialect_psycopg()  # type: ignore[no-untyped-call]


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """What a search comes down to."""

    #: Each criterion as JSON.
    criteria: tuple[Any, ...]
    #: The statement of the page, its values as placeholders.
    sql: str
    #: EXPLAIN (FORMAT JSON) of it.
    plan: Any


def explain(uow: UnitOfWork, query: Query, statement: Select[Any], *, analyze: bool) -> Explanation:
    """The explanation of a query and its statement; with ``analyze`` the statement is run, and the plan says how."""
    compiled = statement.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})
    options = "analyze, buffers, format json" if analyze else "format json"
    asked = SQL("explain ({options}) {statement}").format(options=SQL(options), statement=SQL(str(compiled)))
    row = uow.driver.execute(asked, compiled.params).fetchone()
    found = row[0] if row else []
    return Explanation(
        criteria=tuple(_data(each) for each in query.criteria),
        sql=str(compiled),
        plan=json.loads(found) if isinstance(found, str) else found,
    )


def _data(value: Any) -> Any:
    """A criterion as JSON: its kind and what it says."""
    if is_dataclass(value) and not isinstance(value, type):
        said = {each.name: getattr(value, each.name) for each in fields(value)}
        return {"is": type(value).__name__} | {name: _data(one) for name, one in said.items() if one not in (None, "")}
    if isinstance(value, dict):
        return {str(name): _data(one) for name, one in value.items()}
    if isinstance(value, tuple | list | frozenset | set):
        return [_data(one) for one in (sorted(value) if isinstance(value, frozenset | set) else value)]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
