"""Number search: https://hl7.org/fhir/R4/search.html#number"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Any, ClassVar

from sqlalchemy import ColumnElement, and_, not_
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from server.errors import BadRequest
from server.fhir.fhirpath.node import Node
from server.search import prefix as prefixes
from server.search.entry import Entry
from server.search.text import unescape

MODIFIERS: frozenset[str] = frozenset()
Columns = ReadOnlyColumnCollection[str, Any]
_PATTERN = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d{1,3})?")
#: Larger and smaller numbers aren't indexed, so that none takes a page of digits.
_LARGEST_EXPONENT = 200
_MOST_DIGITS = 200
_EXACT = Context(prec=500)
_TENTH = Decimal("0.1")
_HALF = Decimal("0.5")


@dataclass(frozen=True, kw_only=True, slots=True)
class Operand:
    """What one value of a number parameter asks for: for eq and ne the end ``high`` lies outside."""

    kind: ClassVar[str] = "number"
    prefix: str
    low: Decimal
    high: Decimal
    suffix: str = ""


def decimal(value: Any) -> Decimal | None:
    """A JSON number as Decimal; None when it is none, or out of all bounds."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal | float):
        return None
    found = value if isinstance(value, Decimal) else Decimal(str(value))
    return found if bounded(found) else None


def bounded(value: Decimal) -> bool:
    """Whether a number is small enough to be indexed and compared."""
    parts = value.as_tuple()
    return (
        isinstance(parts.exponent, int)
        and abs(value.adjusted()) <= _LARGEST_EXPONENT
        and len(parts.digits) <= _MOST_DIGITS
    )


def entries(node: Node) -> Iterator[Entry]:
    """The index row of a number, or of a Range or Quantity by its figures alone."""
    value = node.value
    if not isinstance(value, dict):
        found = decimal(value)
        if found is not None:
            yield Entry("number", (found, found))
        return
    low, high = value.get("low", value), value.get("high", value)
    first, last = (decimal(end.get("value")) if isinstance(end, dict) else None for end in (low, high))
    if first is not None and last is not None:
        yield Entry("number", (first, last))


def asked(text: str) -> tuple[str, Decimal, Decimal]:
    """Prefix and range of a number as a query writes it; raises BadRequest.

    For eq and ne the range is what the written digits leave open (``100``: 99.5 up to, not including, 100.5); for ap it
    is a tenth to both sides; the other prefixes take the number as exact.
    """
    prefix, rest = prefixes.taken(unescape(text).strip().replace(" ", "+"))
    if not _PATTERN.fullmatch(rest) or not bounded(Decimal(rest)):
        raise BadRequest("A number is written like 5, 5.40 or 5.4e-3, after an optional prefix.")
    value = Decimal(rest)
    if prefix in ("eq", "ne"):
        half = _HALF.scaleb(int(value.as_tuple().exponent), _EXACT)
        return prefix, _EXACT.subtract(value, half), _EXACT.add(value, half)
    margin = _EXACT.multiply(abs(value), _TENTH) if prefix == "ap" else Decimal(0)
    return prefix, _EXACT.subtract(value, margin), _EXACT.add(value, margin)


def parse(text: str) -> Operand:
    """The operand of a number value."""
    prefix, low, high = asked(text)
    return Operand(prefix=prefix, low=low, high=high)


def range_clause(prefix: str, columns: Columns, low: Decimal, high: Decimal) -> ColumnElement[bool]:
    """A number's condition over the columns low and high."""
    if prefix in ("eq", "ne"):
        within = and_(columns["low"] >= low, columns["high"] < high)
        return within if prefix == "eq" else not_(within)
    return prefixes.clause(prefix, columns["low"], columns["high"], low, high)


def range_matches(prefix: str, found: tuple[Decimal, Decimal], low: Decimal, high: Decimal) -> bool:
    """The same, in memory."""
    if prefix in ("eq", "ne"):
        return (found[0] >= low and found[1] < high) == (prefix == "eq")
    return prefixes.matches(prefix, found[0], found[1], low, high)


def clause(operand: Operand, columns: Columns) -> ColumnElement[bool]:
    """The operand over the columns of index_number."""
    return range_clause(operand.prefix, columns, operand.low, operand.high)


def matches(operand: Operand, values: tuple[Any, ...]) -> bool:
    """The same, for one row in memory."""
    return range_matches(operand.prefix, (values[0], values[1]), operand.low, operand.high)
