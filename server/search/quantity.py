"""Quantity search: https://hl7.org/fhir/R4/search.html#quantity"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar

from sqlalchemy import ColumnElement, and_, or_
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from server.errors import BadRequest
from server.fhir.fhirpath.node import Node
from server.fhir.fhirpath.ucum import canonical
from server.search.entry import Entry
from server.search.number import asked, bounded, decimal, range_clause, range_matches
from server.search.text import cut, split, unescape

MODIFIERS: frozenset[str] = frozenset()
Columns = ReadOnlyColumnCollection[str, Any]
UCUM = "http://unitsofmeasure.org"
#: Suffix of the rows that hold a quantity in UCUM base units, so that 5 mg finds 0.005 g.
CANONICAL = "ucum"


@dataclass(frozen=True, kw_only=True, slots=True)
class Operand:
    """What one value of a quantity parameter asks for."""

    kind: ClassVar[str] = "quantity"
    prefix: str
    low: Decimal
    high: Decimal
    #: None: any system.
    system: str | None = None
    #: Code, or where no system is asked for, code or unit; None: any unit.
    unit: str | None = None
    suffix: str = ""


def entries(node: Node) -> Iterator[Entry]:
    """Index rows of a Quantity, Money or Range: as written, and in UCUM base units where it has a UCUM code."""
    value = node.value
    if not isinstance(value, dict):
        return
    ends = (value.get("low") or {}, value.get("high") or {}) if "low" in value or "high" in value else (value, value)
    first, last = decimal(ends[0].get("value")), decimal(ends[1].get("value"))
    if first is None and last is None:
        return
    # An open end of a Range is as far as the index reaches.
    low = Decimal("-1E200") if first is None else first
    high = Decimal("1E200") if last is None else last
    given = ends[0] if first is not None else ends[1]
    code, system = given.get("code") or given.get("currency"), given.get("system")
    system = "urn:iso:std:iso:4217" if "currency" in given else system
    yield Entry("quantity", (low, high, _key(system), _key(code), _key(given.get("unit"))))
    if system == UCUM and isinstance(code, str):
        yield from _canonical(low, high, code)


def _canonical(low: Decimal, high: Decimal, code: str) -> Iterator[Entry]:
    found = in_base_units(low, high, code)
    if found:
        yield Entry("quantity", (*found[:2], UCUM, found[2], None), CANONICAL)


def in_base_units(low: Decimal, high: Decimal, code: str) -> tuple[Decimal, Decimal, str] | None:
    """A range in UCUM base units, and the unit's dimension; None where the unit is not known."""
    unit = canonical(code)
    if unit is None:
        return None
    dimension = ".".join(f"{base}{exponent}" for base, exponent in unit.dimension) or "1"
    scaled = unit.in_base(low), unit.in_base(high)
    return (*scaled, dimension) if bounded(scaled[0]) and bounded(scaled[1]) else None


def _key(value: Any) -> str | None:
    return cut(str(value)) if value else None


def parse(text: str) -> Operand:
    """The operand of ``number``, ``number|system|code`` or ``number||unit``; raises BadRequest."""
    parts = split(text, "|")
    if len(parts) not in (1, 3):
        raise BadRequest("A quantity is number, number|system|code or number||unit.")
    prefix, low, high = asked(parts[0])
    if len(parts) == 1:
        return Operand(prefix=prefix, low=low, high=high)
    system, unit = cut(unescape(parts[1])) or None, cut(unescape(parts[2])) or None
    base = in_base_units(low, high, unit) if system == UCUM and unit else None
    if base:
        return Operand(prefix=prefix, low=base[0], high=base[1], system=UCUM, unit=base[2], suffix=CANONICAL)
    return Operand(prefix=prefix, low=low, high=high, system=system, unit=unit)


def clause(operand: Operand, columns: Columns) -> ColumnElement[bool]:
    """The operand over the columns of index_quantity."""
    conditions = [range_clause(operand.prefix, columns, operand.low, operand.high)]
    if operand.system is not None:
        conditions.append(columns["system"] == operand.system)
    if operand.unit is not None:
        code: ColumnElement[bool] = columns["code"] == operand.unit
        conditions.append(code if operand.system else or_(code, columns["unit"] == operand.unit))
    return and_(*conditions)


def matches(operand: Operand, values: tuple[Any, ...]) -> bool:
    """The same, for one row in memory."""
    low, high, system, code, unit = values
    if operand.system is not None and system != operand.system:
        return False
    if operand.unit is not None and code != operand.unit and (operand.system or unit != operand.unit):
        return False
    return range_matches(operand.prefix, (low, high), operand.low, operand.high)
