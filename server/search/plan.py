"""From a Query to SQL over the index tables: the same meaning as ``match``, for the database."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    DateTime,
    FromClause,
    Select,
    and_,
    case,
    false,
    func,
    literal,
    not_,
    null,
    or_,
    select,
    true,
    union_all,
)
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from server.errors import BadRequest
from server.search import compartment, date, number, position, prefix, quantity, reference, string, token, uri, words
from server.search.index import CONTAINED, PLACE, suffix_within
from server.search.numbers import number as parameter_number
from server.search.query import (
    AllOf,
    AnyOf,
    Chain,
    Composite,
    Contains,
    Criterion,
    Has,
    Hierarchy,
    Ids,
    LastUpdated,
    Missing,
    Not,
    OfType,
    Operand,
    Query,
    Sort,
    Values,
    Within,
)
from server.search.sight import Sight
from server.store.tables.resources import INDEX_TABLES, TEXT_C

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
    "words": words.clause,
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
#: Column of contained resources: which one of its container it is.
_PART = "part"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST = datetime(1, 1, 1, tzinfo=UTC)
_LAST = datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)


def matching(sight: Sight, query: Query) -> Select[Any]:
    """The resources that a query's criteria hold for: ``ROW``."""
    rows, seen = sight.rows()
    found = select(*(rows.c[name] for name in ROW)).where(seen)
    if query.resource_types:
        found = found.where(rows.c.type.in_(query.resource_types))
    return found.where(*(condition(sight, each, rows.c) for each in query.criteria))


def page(sight: Sight, query: Query, after: list[Any] | None) -> Select[Any]:
    """One page, a row more than asked for so that the next one is known to exist: ``ROW``, then the sort values."""
    rows, seen = sight.rows()
    keys = [_sort_column(sight, sort, rows.c).label(f"sort{n}") for n, sort in enumerate(query.sort)]
    found = select(rows.c.key, *keys).where(seen)
    if query.resource_types:
        found = found.where(rows.c.type.in_(query.resource_types))
    found = found.where(*(condition(sight, each, rows.c) for each in query.criteria))
    columns = rows.c
    if keys or after is not None:
        inner = found.subquery("found")
        found, columns = select(inner), inner.c
    if after is not None:
        found = found.where(_behind(query.sort, columns, after))
    chosen = found.order_by(*_order(query.sort, columns)).limit(query.count + 1).subquery("page")
    sorts = (chosen.c[f"sort{n}"] for n in range(len(keys)))
    whole, whole_seen = sight.rows()
    statement = select(*(whole.c[name] for name in ROW), *sorts).join(
        chosen, and_(whole_seen, whole.c.key == chosen.c.key)
    )
    return statement.order_by(*_order(query.sort, chosen.c))


def _order(sorts: tuple[Sort, ...], columns: Columns) -> list[Any]:
    order: list[Any] = []
    for n, sort in enumerate(sorts):
        column = columns[f"sort{n}"]
        order.append((column.desc() if sort.descending else column.asc()).nulls_last())
    # The newest first: what is created while a client turns pages doesn't appear in them.
    return [*order, columns["key"].desc()]


def total(sight: Sight, query: Query) -> Select[Any]:
    """How many resources the criteria hold for."""
    found = matching(sight, query)
    return found.with_only_columns(func.count(), maintain_column_froms=True)


def _sort_column(sight: Sight, sort: Sort, row: Columns) -> ColumnElement[Any]:
    if sort.code == "_id":
        own: ColumnElement[Any] = row["id"]
        return own
    if sort.code == "_lastUpdated":
        updated: ColumnElement[Any] = row["last_updated"]
        return updated
    table = INDEX_TABLES[sort.kind]
    low, high = _SORTED_BY[sort.kind]
    value = func.max(table.c[high]) if sort.descending else func.min(table.c[low])
    numbers = [parameter_number(name, sort.code) for name in sort.resource_types]
    rows = select(value).where(
        table.c.tenant == sight.tenant, table.c.parameter.in_(numbers), table.c.key == row["key"]
    )
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


def condition(sight: Sight, criterion: Criterion, row: Columns) -> ColumnElement[bool]:
    """A criterion as a condition on a row of resources."""
    if isinstance(criterion, LastUpdated):
        return or_(*(_last_updated(operand, row) for operand in criterion.operands))
    if isinstance(criterion, Ids):
        among: ColumnElement[bool] = row["id"].in_(criterion.ids)
        return not_(among) if criterion.negated else among
    if isinstance(criterion, OfType):
        of_type: ColumnElement[bool] = row["type"].in_(criterion.resource_types)
        return of_type
    if isinstance(criterion, AllOf):
        return and_(true(), *(condition(sight, each, row) for each in criterion.criteria))
    if isinstance(criterion, AnyOf):
        return or_(false(), *(condition(sight, each, row) for each in criterion.criteria))
    if isinstance(criterion, Not):
        return not_(condition(sight, criterion.criterion, row))
    if isinstance(criterion, Contains):
        return _contains(sight, criterion, row)
    return _indexed(sight, criterion, row)


def _indexed(
    sight: Sight, criterion: Values | Composite | Missing | Chain | Has | Hierarchy | Within, row: Columns
) -> ColumnElement[bool]:
    """A criterion that the index tables answer."""
    tenant = sight.tenant
    if isinstance(criterion, Values):
        return _values(tenant, criterion, row)
    if isinstance(criterion, Composite):
        return or_(*(_composite(tenant, criterion, operands, row) for operands in criterion.alternatives))
    if isinstance(criterion, Missing):
        present = or_(*(_present(tenant, criterion, kind, suffix, row) for kind, suffix in criterion.places))
        return not_(present) if criterion.missing else present
    if isinstance(criterion, Chain):
        return _chain(sight, criterion, row)
    if isinstance(criterion, Hierarchy):
        return _hierarchy(sight, criterion, row)
    if isinstance(criterion, Within):
        return compartment.clause(sight, criterion, row)
    return _has(sight, criterion, row)


def _rows(
    tenant: int, table: FromClause, resource_types: Iterable[str], code: str, suffix: str, row: Columns
) -> Select[Any]:
    """The index rows of a parameter; for a contained resource those that are of this one."""
    own = suffix_within(CONTAINED, suffix) if _PART in row else suffix
    numbers = [parameter_number(name, code, own) for name in resource_types]
    found = select(table.c.key).where(table.c.tenant == tenant, table.c.parameter.in_(numbers))
    return found if _PART not in row else found.where(*_same_part(table, row))


def _same_part(table: FromClause, row: Columns) -> tuple[ColumnElement[bool], ...]:
    """That index rows are of the contained resource that is looked at."""
    part: ColumnElement[bool] = table.c.item.bitwise_rshift(PLACE) == row[_PART]
    return table.c.key == row["key"], part


def _values(tenant: int, criterion: Values, row: Columns) -> ColumnElement[bool]:
    conditions = []
    for (kind, suffix), operands in _grouped(criterion.operands).items():
        table = INDEX_TABLES[kind]
        any_of = or_(*(CLAUSES[kind](operand, table.c) for operand in operands))
        rows = _rows(tenant, table, criterion.resource_types, criterion.code, suffix, row).where(
            any_of.is_not(true()) if criterion.unequal else any_of
        )
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
    if _PART in row:
        conditions += _same_part(first, row)
    for table, operand in zip(tables, operands, strict=True):
        suffix = suffix_within(CONTAINED, operand.suffix) if _PART in row else operand.suffix
        number_of = parameter_number(criterion.resource_type, criterion.code, suffix)
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
    rows = _rows(tenant, table, criterion.resource_types, criterion.code, suffix, row)
    return rows.where(table.c.key == row["key"]).exists()


def _moment(microseconds: int) -> datetime:
    """The nearest moment that Python has."""
    lowest, highest = (date.microseconds(end) for end in (_FIRST, _LAST))
    return _EPOCH + timedelta(microseconds=max(lowest, min(highest, microseconds)))


def _last_updated(operand: date.Operand, row: Columns) -> ColumnElement[bool]:
    column = row["last_updated"]
    return prefix.clause(operand.prefix, column, column, _moment(operand.low), _moment(operand.high))


def _chain(sight: Sight, criterion: Chain, row: Columns) -> ColumnElement[bool]:
    """One list of keys for all target types, so that the planner can join it as it likes."""
    table = INDEX_TABLES["reference"].alias()
    targets = []
    for target_type, inner in criterion.targets:
        there, seen = sight.rows()
        targets.append(
            select(literal(f"{target_type}/").concat(there.c.id)).where(
                seen, there.c.type == target_type, condition(sight, inner, there.c)
            )
        )
    rows = _rows(sight.tenant, table, (criterion.resource_type,), criterion.code, "", row)
    parts = [rows.where(table.c.target.in_(_all(targets)))]
    if _PART not in row:
        parts += _chain_inside(sight, criterion, row)
    found: ColumnElement[bool] = row["key"].in_(_all(parts))
    return found


def _all(parts: Sequence[Select[Any]]) -> Select[Any] | CompoundSelect[Any]:
    return parts[0] if len(parts) == 1 else union_all(*parts)


def _chain_inside(sight: Sight, criterion: Chain, row: Columns) -> Iterator[Select[Any]]:
    """The same, to what the resource itself contains."""
    for target_type, inner in criterion.targets:
        table = INDEX_TABLES["reference"].alias()
        place, seen = _part(sight, target_type)
        rows = _rows(sight.tenant, table, (criterion.resource_type,), criterion.code, reference.CONTAINED, row)
        here = and_(place["key"] == table.c.key, place[_PART] == table.c.item)
        yield rows.where(seen, here, condition(sight, inner, place))


def _contains(sight: Sight, criterion: Contains, row: Columns) -> ColumnElement[bool]:
    place, seen = _part(sight, criterion.resource_type)
    rows = select(place["key"]).where(seen, *(condition(sight, each, place) for each in criterion.criteria))
    found: ColumnElement[bool] = row["key"].in_(rows)
    return found


def _part(sight: Sight, resource_type: str) -> tuple[Columns, ColumnElement[bool]]:
    """Contained resources of a type, as columns that a condition reads, and the condition that they are that."""
    table = INDEX_TABLES["token"].alias()
    columns = select(
        table.c.tenant, table.c.parameter, table.c.key, table.c.code.label("id"),
        table.c.item.bitwise_rshift(PLACE).label(_PART), literal(resource_type, TEXT_C).label("type"),
        # What is contained has no time of its own.
        null().cast(DateTime(timezone=True)).label("last_updated"),
    ).subquery().c  # fmt: skip
    number_of = parameter_number(resource_type, "", CONTAINED)
    return columns, and_(columns.tenant == sight.tenant, columns.parameter == number_of)


def _has(sight: Sight, criterion: Has, row: Columns) -> ColumnElement[bool]:
    table = INDEX_TABLES["reference"].alias()
    there, seen = sight.rows()
    if _PART in row:
        # Nothing refers to what is contained; as a value, since SQLAlchemy would drop the conditions beside false().
        return literal(False)
    number_of = parameter_number(criterion.source_type, criterion.code)
    start = f"{criterion.resource_type}/"
    whole = not criterion.resource_type
    # As a case, since the planner takes a beginning for independent of the parameter, whose references mostly have it.
    of_type = case((func.starts_with(table.c.target, start), true()), else_=false())
    target = table.c.target if whole else func.substr(table.c.target, len(start) + 1)
    targets = (
        select(target)
        .join(there, and_(seen, there.c.key == table.c.key))
        .where(
            table.c.tenant == sight.tenant,
            table.c.parameter == number_of,
            true() if whole else of_type,
            condition(sight, criterion.criterion, there.c),
        )
    )
    found: ColumnElement[bool] = (row["type"].concat("/").concat(row["id"]) if whole else row["id"]).in_(targets)
    return found


def _hierarchy(sight: Sight, criterion: Hierarchy, row: Columns) -> ColumnElement[bool]:
    """References to one of those that stand above or below; ``union`` ends at what was seen before."""
    link, own = INDEX_TABLES["reference"].alias(), INDEX_TABLES["reference"].alias()
    there, seen = sight.rows()
    start = f"{criterion.target_type}/"
    first = union_all(*(select(literal(target, TEXT_C).label("target")) for target in criterion.targets)).subquery()
    found = select(first.c.target).cte(recursive=True)
    parents = (link.c.tenant == sight.tenant, link.c.parameter == parameter_number(
        criterion.target_type, criterion.parent))  # fmt: skip
    joined = and_(seen, there.c.type == criterion.target_type, there.c.key == link.c.key)
    if criterion.above:
        step = select(link.c.target).join(there, joined).join(
            found, there.c.id == func.substr(found.c.target, len(start) + 1)
        ).where(*parents)  # fmt: skip
    else:
        step = select(literal(start).concat(there.c.id)).select_from(link).join(there, joined).join(
            found, link.c.target == found.c.target
        ).where(*parents)  # fmt: skip
    found = found.union(step)
    rows = _rows(sight.tenant, own, (criterion.resource_type,), criterion.code, "", row).where(
        own.c.target.in_(select(found.c.target))
    )
    among: ColumnElement[bool] = row["key"].in_(rows)
    return among
