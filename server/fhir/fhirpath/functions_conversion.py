"""Conversion between System types: https://hl7.org/fhirpath/N1/#conversion."""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from server.fhir.fhirpath.function import Function, eager
from server.fhir.fhirpath.node import Collection, Node
from server.fhir.fhirpath.quantity import CALENDAR_UNITS, Quantity
from server.fhir.fhirpath.singleton import single, text
from server.fhir.fhirpath.temporal import Date, DateTime, Temporal, Time

_INTEGER = re.compile(r"[+-]?\d{1,10}")
_DECIMAL = re.compile(r"[+-]?\d+(?:\.\d+)?")
_QUANTITY = re.compile(r"([+-]?\d+(?:\.\d+)?)\s*(?:'([^']+)'|([a-zA-Z]+))?")
#: Beyond so many digits a decimal is written with an exponent.
_MOST_WRITTEN = 1000
_TRUE = ("true", "t", "yes", "y", "1", "1.0")
_FALSE = ("false", "f", "no", "n", "0", "0.0")


def _to_boolean(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    if isinstance(value, int | Decimal):
        return bool(value) if value in (0, 1) else None
    if isinstance(value, str):
        lowered = value.lower()
        return True if lowered in _TRUE else False if lowered in _FALSE else None
    return None


def _to_integer(value: Any) -> int | None:
    if isinstance(value, int):
        return int(value)
    if isinstance(value, str) and _INTEGER.fullmatch(value) and -(2**31) <= int(value) < 2**31:
        return int(value)
    return None


def _to_decimal(value: Any) -> Decimal | None:
    if isinstance(value, int | Decimal):
        return Decimal(value)
    return Decimal(value) if isinstance(value, str) and _DECIMAL.fullmatch(value) else None


def to_text(value: Any) -> str | None:
    """``toString()`` of a System value; None for what has no text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        # Written out, 1E999999999 would be a gigabyte.
        return format(value, "f") if abs(value.adjusted()) < _MOST_WRITTEN else str(value)
    return str(value) if isinstance(value, str | int | Temporal | Quantity) else None


def _to_quantity(value: Any) -> Quantity | None:
    if isinstance(value, Quantity):
        return value
    if isinstance(value, int | Decimal):
        return Quantity(Decimal(value), "1")
    match = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    number, unit, word = match.groups()
    if word is not None and word not in CALENDAR_UNITS:
        return None
    return Quantity(Decimal(number), unit if unit is not None else CALENDAR_UNITS[word] if word is not None else "1")


def _to_date(value: Any) -> Date | None:
    if isinstance(value, DateTime):
        return Date(value.parts[:3])
    if isinstance(value, str):
        # The date of a moment: what stands before its time.
        return Date.parse(value) or (Date(moment.parts[:3]) if (moment := DateTime.parse(value)) else None)
    return value if isinstance(value, Date) else None


def _to_date_time(value: Any) -> DateTime | None:
    if isinstance(value, Date):
        return DateTime(value.parts)
    return DateTime.parse(value) if isinstance(value, str) else value if isinstance(value, DateTime) else None


def _to_time(value: Any) -> Time | None:
    return Time.parse(value) if isinstance(value, str) else value if isinstance(value, Time) else None


def _conversion(name: str, convert: Callable[[Any], Any]) -> Function:
    def call(focus: Collection) -> Collection:
        value = single(focus, name)
        converted = None if value is None or type(value) is Node else convert(value)
        return [] if converted is None else [converted]

    return eager(call)


def _convertibility(name: str, convert: Callable[[Any], Any]) -> Function:
    def call(focus: Collection) -> Collection:
        value = single(focus, name)
        return [] if value is None else [type(value) is not Node and convert(value) is not None]

    return eager(call)


def _in_unit(test: bool) -> Function:
    """toQuantity() and convertsToQuantity(), with the unit wanted if one is."""

    def call(focus: Collection, unit: Collection | None = None) -> Collection:
        value = single(focus, "toQuantity()")
        if value is None:
            return []
        found = None if type(value) is Node else _to_quantity(value)
        wanted = text(unit, "toQuantity()") if unit else None
        if found is not None and wanted is not None:
            found = found.in_unit(wanted)
        if test:
            return [found is not None]
        return [] if found is None else [found]

    return eager(call, 0, 1)


_CONVERSIONS: Final[dict[str, Callable[[Any], Any]]] = {
    "Boolean": _to_boolean,
    "Integer": _to_integer,
    "Decimal": _to_decimal,
    "String": to_text,
    "Date": _to_date,
    "DateTime": _to_date_time,
    "Time": _to_time,
}

CONVERSION: Final[dict[str, Function]] = {
    **{f"to{name}": _conversion(f"to{name}()", convert) for name, convert in _CONVERSIONS.items()},
    **{f"convertsTo{name}": _convertibility(f"convertsTo{name}()", convert) for name, convert in _CONVERSIONS.items()},
    "toQuantity": _in_unit(test=False),
    "convertsToQuantity": _in_unit(test=True),
}
