"""A condition on the concepts of a code system as SQL; ``terminology.code_system`` says the same in memory."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, and_, any_, cast, exists, false, func, not_, or_, select, true
from sqlalchemy.dialects.postgresql import ARRAY, TSQUERY
from sqlalchemy.sql.expression import FromClause

from server.store.database import UnitOfWork
from server.store.tables.resources import TEXT_C
from server.store.tables.terminology import INDEXED_CHARACTERS, code_concept, code_property
from terminology import condition as c
from terminology.code_system import whole_match
from terminology.condition import AnyCondition
from terminology.errors import TooManyCodes

Clause = ColumnElement[bool]
#: Different values that a regular expression picks, at most.
_MOST_PICKED = 50_000


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the concepts of one code system are."""

    uow: UnitOfWork
    tenant: int
    system: int

    def key(self, code: str) -> int | None:
        """The key of a concept."""
        row = self._row("key", code)
        return None if row is None else int(row[0])

    def ancestors(self, code: str) -> list[int]:
        """The keys of all that subsumes a concept."""
        row = self._row("ancestors", code)
        return [] if row is None else list(row[0])

    def _row(self, column: str, code: str) -> Sequence[Any] | None:
        statement = f"select {column} from code_concept where tenant = %s and system = %s and code = %s"
        return self.uow.driver.execute(statement.encode(), (self.tenant, self.system, code)).fetchone()

    def values(self, name: str) -> Sequence[str]:
        """The different values of a property."""
        if name in ("code", "concept", "display"):
            column = code_concept.c["display" if name == "display" else "code"]
            of_system = and_(code_concept.c.tenant == self.tenant, code_concept.c.system == self.system)
        else:
            column = code_property.c.value
            of_system = and_(
                code_property.c.tenant == self.tenant,
                code_property.c.system == self.system,
                code_property.c.property == name,
            )
        return self.uow.execute(select(column).where(of_system).distinct()).scalars().all()


def clause(condition: AnyCondition, place: Place, concept: FromClause) -> Clause:
    """What the condition asks of a row of ``code_concept``, under which name it may stand."""
    if isinstance(condition, c.Every):
        return and_(true(), *(clause(one, place, concept) for one in condition.conditions))
    if isinstance(condition, c.Some):
        return or_(false(), *(clause(one, place, concept) for one in condition.conditions))
    if isinstance(condition, c.Not):
        return not_(clause(condition.condition, place, concept))
    found: dict[type, Callable[[Any, Place, FromClause], Clause]] = {
        c.Codes: lambda one, _, row: _among(row.c.code, one.codes),
        c.Below: _below,
        c.Above: _above,
        c.Having: _having,
        c.Matching: _matching,
        c.Leading: _leading,
        c.Words: lambda one, _, row: _words(one, row),
        c.Active: lambda _, __, row: not_(row.c.inactive),
        c.Selectable: lambda _, __, row: not_(row.c.abstract),
    }
    return found[type(condition)](condition, place, concept)


def of_system(place: Place, concept: FromClause) -> Clause:
    """That a row is of the system."""
    return and_(concept.c.tenant == place.tenant, concept.c.system == place.system)


def _among(column: ColumnElement[str], codes: frozenset[str]) -> Clause:
    """One array parameter, however many codes there are."""
    return column == any_(cast(sorted(codes), ARRAY(TEXT_C)))


def _below(one: c.Below, place: Place, row: FromClause) -> Clause:
    key = place.key(one.code)
    if key is None:
        return false()
    under: Clause = row.c.ancestors.contains(cast([key], ARRAY(BigInteger)))
    return or_(under, row.c.code == one.code) if one.itself else under


def _above(one: c.Above, place: Place, row: FromClause) -> Clause:
    over: Clause = row.c.key == any_(cast(place.ancestors(one.code), ARRAY(BigInteger)))
    return or_(over, row.c.code == one.code) if one.itself else over


def _having(one: c.Having, place: Place, row: FromClause) -> Clause:
    name, values = one.property, one.values
    if name in ("code", "concept", "display"):
        column = row.c.display if name == "display" else row.c.code
        return true() if values is None else _among(column, values)
    if name == "child":
        below = code_property.alias()
        return exists().where(
            below.c.tenant == place.tenant,
            below.c.system == place.system,
            below.c.property == "parent",
            func.left(below.c.value, INDEXED_CHARACTERS) == func.left(row.c.code, INDEXED_CHARACTERS),
            below.c.value == row.c.code,
            true() if values is None else below.c.number.in_(_numbers(place, c.Codes(values))),
        )
    return row.c.number.in_(_holders(place, name, None if values is None else _of_values(values)))


def _of_values(values: frozenset[str]) -> Callable[[FromClause], Clause]:
    cut = frozenset(value[:INDEXED_CHARACTERS] for value in values)

    def picked(row: FromClause) -> Clause:
        return and_(_among(func.left(row.c.value, INDEXED_CHARACTERS), cut), _among(row.c.value, values))

    return picked


def _holders(place: Place, name: str, picked: Callable[[FromClause], Clause] | None) -> Any:
    """The numbers of the concepts that have a property."""
    row = code_property.alias()
    found = select(row.c.number).where(
        row.c.tenant == place.tenant, row.c.system == place.system, row.c.property == name
    )
    return found if picked is None else found.where(picked(row))


def _matching(one: c.Matching, place: Place, row: FromClause) -> Clause:
    matches = whole_match(one.pattern)
    picked = frozenset(value for value in place.values(one.property) if matches(value))
    if len(picked) > _MOST_PICKED:
        raise TooManyCodes(f"The regular expression matches more than {_MOST_PICKED} values.")
    return _having(c.Having(one.property, picked), place, row)


def _leading(one: c.Leading, place: Place, row: FromClause) -> Clause:
    target = code_concept.alias()
    codes = select(target.c.code).where(of_system(place, target), clause(one.condition, place, target))
    return row.c.number.in_(_holders(place, one.property, lambda held: held.c.value.in_(codes)))


def _numbers(place: Place, condition: AnyCondition) -> Any:
    row = code_concept.alias()
    return select(row.c.number).where(of_system(place, row), clause(condition, place, row))


def _words(one: c.Words, row: FromClause) -> Clause:
    if not one.words:
        return true()
    # Words are letters and digits: nothing in them needs to be escaped, and no parser takes them apart again.
    found: Clause = row.c.words.bool_op("@@")(cast(" & ".join(f"'{word}':*" for word in one.words), TSQUERY))
    return found
