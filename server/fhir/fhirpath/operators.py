"""What stands between two expressions: https://hl7.org/fhirpath/N1/#operations."""

from collections.abc import Callable
from decimal import ROUND_DOWN, Decimal
from typing import Any, Final

from server.errors import Unprocessable
from server.fhir.fhirpath.equality import contains_item, distinct, equal, equivalent, read_as
from server.fhir.fhirpath.frame import Frame, Step
from server.fhir.fhirpath.node import Collection, Node
from server.fhir.fhirpath.quantity import CALENDAR_UNITS, DEFINITE, Quantity
from server.fhir.fhirpath.singleton import single, truth
from server.fhir.fhirpath.temporal import Temporal, Time, add

#: Longer text, or more items, than this is an attack on memory, not a value.
LONGEST_TEXT: Final = 10_000_000
MOST_ITEMS: Final = 1_000_000
#: A quotient of more digits than this has lost its last ones.
_MOST_DIGITS = 28

Operator = Callable[[Collection, Collection], Collection]


def _answer(value: bool | None) -> Collection:
    return [] if value is None else [value]


def _negated(value: bool | None) -> Collection:
    return [] if value is None else [not value]


def is_number(value: Any) -> bool:
    """Whether it is an Integer or Decimal."""
    return isinstance(value, int | Decimal) and not isinstance(value, bool)


def _kind(value: Any) -> str:
    return "nothing" if value is None else type(value).__name__.lower()


def bounded(value: int | Decimal) -> int | Decimal:
    """An Integer while it fits into 32 bits (N1, 4.1), beyond that a Decimal, whose digits are limited."""
    if isinstance(value, int) and not -(2**31) <= value < 2**31:
        return +Decimal(value)
    return value


def _text(left: str, right: str) -> str:
    if len(left) + len(right) > LONGEST_TEXT:
        raise Unprocessable(f"FHIRPath: the text would have more than {LONGEST_TEXT} characters")
    return left + right


def _mismatch(sign: str, left: Any, right: Any) -> Unprocessable:
    return Unprocessable(f"FHIRPath: {sign!r} can't take {_kind(left)} and {_kind(right)}; convert one of them")


def ordering(left: Any, right: Any, sign: str) -> int | None:
    """-1, 0 or 1 for two System values; None where open; Unprocessable for kinds without an order (N1, 6.2)."""
    if (is_number(left) and is_number(right)) or (isinstance(left, str) and isinstance(right, str)):
        return int(left > right) - int(left < right)
    if isinstance(left, Temporal) and isinstance(right, Temporal) and isinstance(left, Time) == isinstance(right, Time):
        return left.compare(right)
    if isinstance(left, Quantity) and isinstance(right, Quantity):
        return left.compare(right)
    if isinstance(left, Quantity) and is_number(right):
        return left.compare(Quantity(Decimal(right), "1"))
    if is_number(left) and isinstance(right, Quantity):
        return Quantity(Decimal(left), "1").compare(right)
    raise _mismatch(sign, left, right)


def _comparison(sign: str, holds: Callable[[int], bool]) -> Operator:
    def compare(left: Collection, right: Collection) -> Collection:
        if not left or not right:
            return []
        a, b = single(left, sign), single(right, sign)
        if a is None or b is None:
            return []
        if isinstance(a, Temporal) and isinstance(b, str) and type(right[0]) is Node:
            b = read_as(b, a)
        elif isinstance(b, Temporal) and isinstance(a, str) and type(left[0]) is Node:
            a = read_as(a, b)
        order = ordering(a, b, sign)
        return [] if order is None else [holds(order)]

    return compare


def shifted(value: Temporal, by: Quantity, sign: int) -> Collection:
    """A date, moment or time plus or minus a duration (N1, 6.6.7); months and years only as calendar words."""
    unit = CALENDAR_UNITS.get(by.unit) or _CALENDAR_WORDS.get(by.unit)
    if unit is None:
        raise Unprocessable(f"FHIRPath: can't add {by.unit!r} to a date; use a calendar unit such as days or months")
    result = add(value, by.value * sign, unit)
    return [] if result is None else [result]


_CALENDAR_WORDS: Final = {code: word for word, code in DEFINITE.items()}


def _sum(sign: str) -> Operator:
    factor = 1 if sign == "+" else -1

    def compute(left: Collection, right: Collection) -> Collection:
        if not left or not right:
            return []
        a, b = single(left, sign), single(right, sign)
        if a is None or b is None:
            return []
        if is_number(a) and is_number(b):
            return [bounded(a + factor * b)]
        if isinstance(a, Temporal) and isinstance(b, Quantity):
            return shifted(a, b, factor)
        if isinstance(b, Quantity) and isinstance(a, str) and type(left[0]) is Node and a[:4].isdigit():
            moment = read_as(a, _A_DATE)
            return shifted(moment, b, factor) if isinstance(moment, Temporal) else []
        if isinstance(a, Quantity) and isinstance(b, Quantity):
            total = a.plus(b, factor)
            return [] if total is None else [total]
        if factor == 1 and isinstance(a, str) and isinstance(b, str):
            return [_text(a, b)]
        raise _mismatch(sign, a, b)

    return compute


_A_DATE: Final = Temporal((1,))


def _times(left: Collection, right: Collection) -> Collection:
    a, b = single(left, "*"), single(right, "*")
    if a is None or b is None:
        return []
    if is_number(a) and is_number(b):
        return [bounded(a * b)]
    if isinstance(a, Quantity) or isinstance(b, Quantity):
        x, y = _as_quantity(a, b, "*"), _as_quantity(b, a, "*")
        product = x.times(y)
        return [] if product is None else [product]
    raise _mismatch("*", a, b)


def _as_quantity(value: Any, other: Any, sign: str) -> Quantity:
    if isinstance(value, Quantity):
        return value
    if is_number(value):
        return Quantity(Decimal(value), "1")
    raise _mismatch(sign, value, other)


def _divided(left: Collection, right: Collection) -> Collection:
    a, b = single(left, "/"), single(right, "/")
    if a is None or b is None:
        return []
    if is_number(a) and is_number(b):
        return [Decimal(a) / Decimal(b)] if b != 0 else []
    if isinstance(a, Quantity) or isinstance(b, Quantity):
        quotient = _as_quantity(a, b, "/").divided_by(_as_quantity(b, a, "/"))
        return [] if quotient is None else [quotient]
    raise _mismatch("/", a, b)


def _whole(sign: str) -> Operator:
    def compute(left: Collection, right: Collection) -> Collection:
        a, b = single(left, sign), single(right, sign)
        if a is None or b is None:
            return []
        if not (is_number(a) and is_number(b)):
            raise _mismatch(sign, a, b)
        if b == 0:
            return []
        # Towards nothing, as Decimal does and Python's integers don't (N1, 6.6.5: truncated division).
        quotient = (Decimal(a) / Decimal(b)).to_integral_value(ROUND_DOWN)
        if quotient.adjusted() > _MOST_DIGITS:
            return []
        return [int(quotient)] if sign == "div" else [a - b * int(quotient)]

    return compute


def _joined(left: Collection, right: Collection) -> Collection:
    a, b = single(left, "&"), single(right, "&")
    for value in (a, b):
        if value is not None and not isinstance(value, str):
            raise _mismatch("&", a, b)
    return [_text(a or "", b or "")]


def union(left: Collection, right: Collection) -> Collection:
    """``|``: both sides without duplicates (N1, 5.4)."""
    if not right and len(left) < 2:
        return left
    if not left and len(right) < 2:
        return right
    return distinct(left + right)


def _in(left: Collection, right: Collection) -> Collection:
    if not left:
        return []
    if len(left) > 1:
        raise Unprocessable("FHIRPath: 'in' takes one item on its left; choose one with first()")
    return [contains_item(right, left[0])]


OPERATORS: Final[dict[str, Operator]] = {
    "=": lambda left, right: _answer(equal(left, right)),
    "!=": lambda left, right: _negated(equal(left, right)),
    "~": lambda left, right: [equivalent(left, right)],
    "!~": lambda left, right: [not equivalent(left, right)],
    "<": _comparison("<", lambda order: order < 0),
    "<=": _comparison("<=", lambda order: order <= 0),
    ">": _comparison(">", lambda order: order > 0),
    ">=": _comparison(">=", lambda order: order >= 0),
    "+": _sum("+"),
    "-": _sum("-"),
    "*": _times,
    "/": _divided,
    "div": _whole("div"),
    "mod": _whole("mod"),
    "&": _joined,
    "|": union,
    "in": _in,
    "contains": lambda left, right: _in(right, left),
}


def polarity(sign: str, operand: Step) -> Step:
    """``+`` or ``-`` before a number or quantity; Unprocessable before anything else (N1, 6.6)."""

    def signed(frame: Frame, focus: Collection) -> Collection:
        value = single(operand(frame, focus), sign)
        if value is None:
            return []
        if is_number(value):
            return [-value if sign == "-" else value]
        if isinstance(value, Quantity):
            return [Quantity(-value.value if sign == "-" else value.value, value.unit)]
        raise Unprocessable(f"FHIRPath: {sign!r} needs a number after it; use brackets around what it applies to")

    return signed


def and_(left: Step, right: Step) -> Step:
    """``and`` in three-valued logic (N1, 6.5.1); the right side only if it can matter."""

    def both(frame: Frame, focus: Collection) -> Collection:
        a = truth(left(frame, focus), "and")
        if a is False:
            return [False]
        b = truth(right(frame, focus), "and")
        if b is False:
            return [False]
        return [] if a is None or b is None else [True]

    return both


def or_(left: Step, right: Step) -> Step:
    """``or`` in three-valued logic (N1, 6.5.2)."""

    def either(frame: Frame, focus: Collection) -> Collection:
        a = truth(left(frame, focus), "or")
        if a is True:
            return [True]
        b = truth(right(frame, focus), "or")
        if b is True:
            return [True]
        return [] if a is None or b is None else [False]

    return either


def xor_(left: Step, right: Step) -> Step:
    """``xor`` (N1, 6.5.4): empty if either side is."""

    def one(frame: Frame, focus: Collection) -> Collection:
        a, b = truth(left(frame, focus), "xor"), truth(right(frame, focus), "xor")
        return [] if a is None or b is None else [a is not b]

    return one


def implies_(left: Step, right: Step) -> Step:
    """``implies`` (N1, 6.5.5)."""

    def follows(frame: Frame, focus: Collection) -> Collection:
        a = truth(left(frame, focus), "implies")
        if a is False:
            return [True]
        b = truth(right(frame, focus), "implies")
        if b is True:
            return [True]
        return [] if a is None or b is None else [False]

    return follows


LOGIC: Final[dict[str, Callable[[Step, Step], Step]]] = {"and": and_, "or": or_, "xor": xor_, "implies": implies_}
