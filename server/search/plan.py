"""From a Query to SQL over the index tables: the same meaning as ``match``, for the database."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from sqlalchemy import ColumnElement, Select, Table, and_, false, func, literal, not_, or_, select, true
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from server.errors import BadRequest
from server.search import date, number, position, prefix, quantity, reference, string, token, uri
from server.search.numbers import number as parameter_number
from server.search.query import (
    AnyOf,
    Chain,
    Composite,
    Criterion,
    Has,
    Ids,
    LastUpdated,
    Missing,
    Operand,
    Query,
    Sort,
    Values,
)
from server.store.tables.resources import INDEX_TABLES, resource

Columns = ReadOnlyColumnCollection[str, Any]
Clause = Callable[[Any, Columns], ColumnElement[bool]]
CLAUSES: dict[str, Clause] = {
    "token": token.clause,
    "string": string.clause,
    "reference": reference.clause,
    "date": date.clause,
    "number": number.clause,
    "quantity": quantity.clause,
    "uri": uri.clause,
    "position": position.clause,
}
#: What an index table is sorted by, upwards and downwards.
_SORTED_BY = {
    "token": ("code", "code"),
    "string": ("folded", "folded"),
    "reference": ("target", "target"),
    "date": ("low", "high"),
    "number": ("low", "high"),
    "quantity": ("low", "high"),
    "uri": ("uri", "uri"),
}
#: Columns of ``resource`` that a search gives.
ROW = ("type", "id", "version", "last_updated", "deleted", "body", "key")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST = datetime(1, 1, 1, tzinfo=UTC)
_LAST = datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)


def matching(tenant: int, query: Query) -> Select[Any]:
    """The rows of ``resource`` that a query's criteria hold for: one column, the key."""
    return _of_type(tenant, query.resource_type).where(
        *(condition(tenant, each, resource.c) for each in query.criteria)
    )


def page(tenant: int, query: Query, after: list[Any] | None) -> Select[Any]:
    """One page, a row more than asked for so that the next one is known to exist: ``ROW``, then the sort values."""
    found = matching(tenant, query)
    keys = [_sort_column(tenant, query.resource_type, sort).label(f"sort{n}") for n, sort in enumerate(query.sort)]
    rows = found.add_columns(*keys).subquery("found")
    inner = select(rows)
    if after is not None:
        inner = inner.where(_behind(query.sort, rows.c, after))
    chosen = inner.order_by(*_order(query.sort, rows.c)).limit(query.count + 1).subquery("page")
    sorts = (chosen.c[f"sort{n}"] for n in range(len(keys)))
    statement = select(*(resource.c[name] for name in ROW), *sorts).join(
        chosen, and_(resource.c.tenant == tenant, resource.c.key == chosen.c.key)
    )
    return statement.order_by(*_order(query.sort, chosen.c))


def _order(sorts: tuple[Sort, ...], columns: Columns) -> list[Any]:
    order: list[Any] = []
    for n, sort in enumerate(sorts):
        column = columns[f"sort{n}"]
        order.append((column.desc() if sort.descending else column.asc()).nulls_last())
    # The newest first: what is created while a client turns pages doesn't appear in them.
    return [*order, columns["key"].desc()]


def total(tenant: int, query: Query) -> Select[Any]:
    """How many resources the criteria hold for."""
    return select(func.count()).select_from(matching(tenant, query).subquery())


def _of_type(tenant: int, resource_type: str) -> Select[Any]:
    return select(resource.c.key).where(
        resource.c.tenant == tenant, resource.c.type == resource_type, not_(resource.c.deleted)
    )


def _sort_column(tenant: int, resource_type: str, sort: Sort) -> ColumnElement[Any]:
    if sort.code == "_id":
        return resource.c.id
    if sort.code == "_lastUpdated":
        return resource.c.last_updated
    table = INDEX_TABLES[sort.kind]
    low, high = _SORTED_BY[sort.kind]
    value = func.max(table.c[high]) if sort.descending else func.min(table.c[low])
    number_of = parameter_number(resource_type, sort.code)
    rows = select(value).where(table.c.tenant == tenant, table.c.parameter == number_of, table.c.key == resource.c.key)
    return rows.scalar_subquery()


def _behind(sorts: tuple[Sort, ...], columns: Columns, after: list[Any]) -> ColumnElement[bool]:
    """Rows that come after the cursor: equal in the first keys and behind it in the next one; nulls come last."""
    if len(after) != len(sorts) + 1:
        raise BadRequest("The page link belongs to another search; start again from the first page.")
    alternatives: list[ColumnElement[bool]] = []
    equal: list[ColumnElement[bool]] = []
    for n, (sort, value) in enumerate(zip(sorts, after, strict=False)):
        column = columns[f"sort{n}"]
        if value is None:
            equal.append(column.is_(None))
            continue
        bound = _bound(sort, value)
        further = column < bound if sort.descending else column > bound
        alternatives.append(and_(*equal, or_(further, column.is_(None))))
        equal.append(column == bound)
    alternatives.append(and_(*equal, columns["key"] < after[-1]))
    return or_(*alternatives)


def _bound(sort: Sort, value: Any) -> Any:
    """A cursor's value as the column's type; BadRequest for one that we did not make."""
    try:
        if sort.code == "_lastUpdated":
            return datetime.fromisoformat(value)
        if sort.kind in ("number", "quantity"):
            return Decimal(value)
        return int(value) if sort.kind == "date" else str(value)
    except (TypeError, ValueError, InvalidOperation) as error:
        raise BadRequest("The page link is damaged; start again from the first page.") from error


def condition(tenant: int, criterion: Criterion, row: Columns) -> ColumnElement[bool]:
    """A criterion as a condition on a row of ``resource``."""
    if isinstance(criterion, Values):
        return _values(tenant, criterion, row)
    if isinstance(criterion, Composite):
        return or_(*(_composite(tenant, criterion, operands, row) for operands in criterion.alternatives))
    if isinstance(criterion, Missing):
        present = or_(*(_present(tenant, criterion, kind, suffix, row) for kind, suffix in criterion.places))
        return not_(present) if criterion.missing else present
    if isinstance(criterion, Ids):
        among: ColumnElement[bool] = row["id"].in_(criterion.ids)
        return not_(among) if criterion.negated else among
    if isinstance(criterion, LastUpdated):
        return or_(*(_last_updated(operand, row) for operand in criterion.operands))
    if isinstance(criterion, Chain):
        return _chain(tenant, criterion, row)
    if isinstance(criterion, AnyOf):
        return or_(false(), *(condition(tenant, each, row) for each in criterion.criteria))
    return _has(tenant, criterion, row)


def _rows(tenant: int, table: Table, number_of: int) -> Select[Any]:
    return select(table.c.key).where(table.c.tenant == tenant, table.c.parameter == number_of)


def _values(tenant: int, criterion: Values, row: Columns) -> ColumnElement[bool]:
    conditions = []
    for (kind, suffix), operands in _grouped(criterion.operands).items():
        table = INDEX_TABLES[kind]
        any_of = or_(*(CLAUSES[kind](operand, table.c) for operand in operands))
        number_of = parameter_number(criterion.resource_type, criterion.code, suffix)
        rows = _rows(tenant, table, number_of).where(any_of)
        conditions.append(
            not_(rows.where(table.c.key == row["key"]).exists()) if criterion.negated else row["key"].in_(rows)
        )
    return and_(*conditions) if criterion.negated else or_(*conditions)


def _grouped(operands: Iterable[Operand]) -> dict[tuple[str, str], list[Operand]]:
    groups: dict[tuple[str, str], list[Operand]] = {}
    for operand in operands:
        groups.setdefault((operand.kind, operand.suffix), []).append(operand)
    return groups


def _composite(tenant: int, criterion: Composite, operands: tuple[Operand, ...], row: Columns) -> ColumnElement[bool]:
    tables = [INDEX_TABLES[operand.kind].alias() for operand in operands]
    first = tables[0]
    conditions: list[ColumnElement[bool]] = [true()]
    for table, operand in zip(tables, operands, strict=True):
        number_of = parameter_number(criterion.resource_type, criterion.code, operand.suffix)
        conditions += [
            table.c.tenant == tenant,
            table.c.parameter == number_of,
            table.c.key == first.c.key,
            table.c.item == first.c.item,
            CLAUSES[operand.kind](operand, table.c),
        ]
    found: ColumnElement[bool] = row["key"].in_(select(first.c.key).where(*conditions))
    return found


def _present(tenant: int, criterion: Missing, kind: str, suffix: str, row: Columns) -> ColumnElement[bool]:
    table = INDEX_TABLES[kind]
    rows = _rows(tenant, table, parameter_number(criterion.resource_type, criterion.code, suffix))
    return rows.where(table.c.key == row["key"]).exists()


def _moment(microseconds: int) -> datetime:
    """The nearest moment that Python has."""
    lowest, highest = (date.microseconds(end) for end in (_FIRST, _LAST))
    return _EPOCH + timedelta(microseconds=max(lowest, min(highest, microseconds)))


def _last_updated(operand: date.Operand, row: Columns) -> ColumnElement[bool]:
    column = row["last_updated"]
    return prefix.clause(operand.prefix, column, column, _moment(operand.low), _moment(operand.high))


def _chain(tenant: int, criterion: Chain, row: Columns) -> ColumnElement[bool]:
    table = INDEX_TABLES["reference"].alias()
    number_of = parameter_number(criterion.resource_type, criterion.code)
    conditions = []
    for target_type, inner in criterion.targets:
        there = resource.alias()
        targets = select(literal(f"{target_type}/").concat(there.c.id)).where(
            there.c.tenant == tenant,
            there.c.type == target_type,
            not_(there.c.deleted),
            condition(tenant, inner, there.c),
        )
        conditions.append(table.c.target.in_(targets))
    rows = select(table.c.key).where(table.c.tenant == tenant, table.c.parameter == number_of, or_(*conditions))
    found: ColumnElement[bool] = row["key"].in_(rows)
    return found


def _has(tenant: int, criterion: Has, row: Columns) -> ColumnElement[bool]:
    table = INDEX_TABLES["reference"].alias()
    there = resource.alias()
    number_of = parameter_number(criterion.source_type, criterion.code)
    start = f"{criterion.resource_type}/"
    ids = (
        select(func.substr(table.c.target, len(start) + 1))
        .join(there, and_(there.c.tenant == tenant, there.c.key == table.c.key))
        .where(
            table.c.tenant == tenant,
            table.c.parameter == number_of,
            func.starts_with(table.c.target, start),
            not_(there.c.deleted),
            condition(tenant, criterion.criterion, there.c),
        )
    )
    found: ColumnElement[bool] = row["id"].in_(ids)
    return found
