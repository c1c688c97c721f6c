"""now() and its like, and the precision of values: https://hl7.org/fhirpath/N1/#current-date-and-time-functions.

precision(), lowBoundary() and highBoundary() are later than N1 (https://hl7.org/fhirpath/#utility-functions).
"""

import decimal
from datetime import datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any, Final

from server.fhir.fhirpath.frame import Frame
from server.fhir.fhirpath.function import Function, eager, lazy
from server.fhir.fhirpath.node import Collection
from server.fhir.fhirpath.quantity import Quantity
from server.fhir.fhirpath.singleton import integer, single
from server.fhir.fhirpath.temporal import Component, Date, DateTime, Temporal, Time, last_day

#: How many digits each component adds: year, month, day, hour, minute, second; milliseconds three more.
_DIGITS = (4, 2, 2, 2, 2, 2)
_MOST_PLACES = 28
_WORKING = decimal.Context(prec=60)


def _moment(frame: Frame) -> datetime:
    world = frame.world
    if world.now is None:
        world.now = datetime.now().astimezone()
    return world.now


def _now(frame: Frame, _focus: Collection) -> Collection:
    return [DateTime.of(_moment(frame))]


def _today(frame: Frame, _focus: Collection) -> Collection:
    moment = _moment(frame)
    return [Date((moment.year, moment.month, moment.day))]


def _time_of_day(frame: Frame, _focus: Collection) -> Collection:
    return [Time(DateTime.of(_moment(frame)).parts[3:])]


def _places(value: int | Decimal) -> int:
    exponent = value.as_tuple().exponent if isinstance(value, Decimal) else 0
    return -exponent if isinstance(exponent, int) and exponent < 0 else 0


def _precision(focus: Collection) -> Collection:
    value = single(focus, "precision()")
    if isinstance(value, Temporal):
        digits = sum(_digits_of(value)[: len(value.parts)])
        fraction = isinstance(value.parts[-1], Decimal) and len(value.parts) == len(_digits_of(value))
        return [digits + 3 if fraction else digits]
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return [_places(value)]
    return []


def _digits_of(value: Temporal) -> tuple[int, ...]:
    return _DIGITS[3:] if isinstance(value, Time) else _DIGITS[:3] if isinstance(value, Date) else _DIGITS


def _number_boundary(value: int | Decimal, places: int, high: bool) -> Decimal | None:
    """The edge of what rounds to the number, rounded outwards to so many places."""
    if not 0 <= places <= _MOST_PLACES:
        return None
    half = Decimal(5).scaleb(-_places(value) - 1)
    edge = _WORKING.add(Decimal(value), half if high else -half)
    return edge.quantize(Decimal(1).scaleb(-places), ROUND_CEILING if high else ROUND_FLOOR, _WORKING)


def _completed(value: Temporal, high: bool) -> tuple[Component, ...]:
    """All components of a value, those not given at their lowest or highest."""
    parts = list(value.parts)
    if isinstance(value, Time):
        lowest: tuple[Component, ...] = (0, 0, Decimal("0.000"))
        highest: tuple[Component, ...] = (23, 59, Decimal("59.999"))
    else:
        if len(parts) < 2:
            parts.append(12 if high else 1)
        if len(parts) < 3:
            parts.append(last_day(int(parts[0]), int(parts[1])) if high else 1)
        if len(parts) == 4:
            # FHIR's dateTime has no hour without minutes: an hour alone is its first minute.
            parts.append(0)
        lowest = (1, 1, 1, 0, 0, Decimal("0.000"))
        highest = (9999, 12, 31, 23, 59, Decimal("59.999"))
    parts.extend((highest if high else lowest)[len(parts) :])
    if isinstance(parts[-1], int) and len(parts) == len(lowest):
        parts[-1] = Decimal(parts[-1]) + (Decimal("0.999") if high else Decimal("0.000"))
    return tuple(parts)


def _temporal_boundary(value: Temporal, digits: int, high: bool) -> Temporal | None:
    widths = _digits_of(value)
    full = sum(widths) + (0 if isinstance(value, Date) else 3)
    cuts = {sum(widths[: count + 1]): count + 1 for count in range(len(widths))} | {full: len(widths)}
    if digits not in cuts:
        return None
    completed = _completed(DateTime(value.parts) if isinstance(value, Date) else value, high)
    parts = completed[: cuts[digits]]
    if digits == full - 3 and not isinstance(value, Date):
        parts = (*parts[:-1], int(parts[-1]))
    if isinstance(value, Time):
        return Time(parts)
    if isinstance(value, Date):
        return Date(parts)
    offset = value.offset if isinstance(value, DateTime) else None
    if offset is None and len(parts) > 3:
        # Without a zone the moment is earliest at +14:00 and latest at -12:00.
        offset = -12 * 60 if high else 14 * 60
    return DateTime(parts, offset if len(parts) > 3 else None)


def _boundary(high: bool) -> Function:
    name = "highBoundary()" if high else "lowBoundary()"

    def compute(value: Any, digits: int | None) -> Any:
        if isinstance(value, Quantity):
            edge = _number_boundary(value.value, 8 if digits is None else digits, high)
            return None if edge is None else Quantity(edge, value.unit)
        if isinstance(value, Temporal):
            default = 8 if isinstance(value, Date) else 9 if isinstance(value, Time) else 17
            return _temporal_boundary(value, default if digits is None else digits, high)
        if isinstance(value, int | Decimal) and not isinstance(value, bool):
            return _number_boundary(value, 8 if digits is None else digits, high)
        return None

    def call(focus: Collection, precision: Collection | None = None) -> Collection:
        value = single(focus, name)
        result = compute(value, integer(precision, name) if precision else None)
        return [] if result is None else [result]

    return eager(call, 0, 1)


DATES: Final[dict[str, Function]] = {
    "now": lazy(_now),
    "today": lazy(_today),
    "timeOfDay": lazy(_time_of_day),
    "precision": eager(_precision),
    "lowBoundary": _boundary(high=False),
    "highBoundary": _boundary(high=True),
}
