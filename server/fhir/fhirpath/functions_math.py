"""Mathematics: https://hl7.org/fhirpath/N1/#math. Decimals of 28 digits; what has no result gives none."""

import decimal
from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_UP, Decimal
from typing import Any, Final

from server.errors import Unprocessable
from server.fhir.fhirpath.function import Function, eager
from server.fhir.fhirpath.node import Collection
from server.fhir.fhirpath.quantity import Quantity
from server.fhir.fhirpath.singleton import integer, number, single

#: Intermediate results carry more digits than the 28 of the answer, so that log(16, 2) is 4.
_WORKING = decimal.Context(prec=40)
_ANSWER = decimal.Context(prec=28)
#: Digits after the point that round() may be asked for.
_MOST_DIGITS = 28


def _of_number(name: str, compute: Callable[[Decimal], Any]) -> Function:
    """A function of one number; of a quantity too where it keeps the unit. Empty where it is not defined."""

    def call(focus: Collection) -> Collection:
        value = single(focus, name)
        unit = value.unit if isinstance(value, Quantity) and name in ("abs()", "truncate()") else None
        given = value.value if isinstance(value, Quantity) and unit is not None else number(focus, name)
        if given is None:
            return []
        try:
            result = compute(Decimal(given))
        except decimal.DecimalException:
            return []
        if unit is not None:
            return [Quantity(Decimal(result), unit)]
        return [int(result) if name == "abs()" and isinstance(value, int) else result]

    return eager(call)


def _whole(rounding: str) -> Callable[[Decimal], int]:
    def compute(value: Decimal) -> int:
        if value.adjusted() > _MOST_DIGITS:
            raise Unprocessable("FHIRPath: the number is too large for a whole one")
        return int(value.to_integral_value(rounding))

    return compute


def _log(focus: Collection, base: Collection) -> Collection:
    value, to = number(focus, "log()"), number(base, "log()")
    if value is None or to is None:
        return []
    try:
        quotient = _WORKING.divide(_WORKING.ln(Decimal(value)), _WORKING.ln(Decimal(to)))
    except decimal.DecimalException:
        return []
    return [_ANSWER.plus(quotient)]


def _power(focus: Collection, exponent: Collection) -> Collection:
    value, to = number(focus, "power()"), number(exponent, "power()")
    if value is None or to is None:
        return []
    try:
        result = _ANSWER.plus(_WORKING.power(Decimal(value), Decimal(to)))
    except decimal.DecimalException:
        return []
    whole = isinstance(value, int) and isinstance(to, int) and to >= 0 and result.adjusted() < 28
    return [int(result) if whole else result]


def _round(focus: Collection, precision: Collection | None = None) -> Collection:
    value, digits = number(focus, "round()"), integer(precision or [], "round()") or 0
    if value is None:
        return []
    if not 0 <= digits <= _MOST_DIGITS:
        raise Unprocessable(f"FHIRPath: round() takes 0 to {_MOST_DIGITS} digits, not {digits}")
    try:
        return [Decimal(value).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP, _WORKING)]
    except decimal.DecimalException:
        return []


def _sqrt(value: Decimal) -> Decimal:
    return _ANSWER.plus(_WORKING.sqrt(value))


def _ln(value: Decimal) -> Decimal:
    if value <= 0:
        raise decimal.InvalidOperation
    return _ANSWER.plus(_WORKING.ln(value))


MATH: Final[dict[str, Function]] = {
    "abs": _of_number("abs()", abs),
    "ceiling": _of_number("ceiling()", _whole(ROUND_CEILING)),
    "floor": _of_number("floor()", _whole(ROUND_FLOOR)),
    "truncate": _of_number("truncate()", _whole(ROUND_DOWN)),
    "exp": _of_number("exp()", lambda value: _ANSWER.plus(_WORKING.exp(value))),
    "ln": _of_number("ln()", _ln),
    "sqrt": _of_number("sqrt()", _sqrt),
    "log": eager(_log, 1),
    "power": eager(_power, 1),
    "round": eager(_round, 0, 1),
}
