"""UCUM units in base units, so that quantities can be compared: https://ucum.org/ucum.

Factors are exact fractions. Temperatures come to kelvin with the zero of their scale; arbitrary and logarithmic units
compare with themselves alone.
"""

import re
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from functools import lru_cache

from server.fhir.fhirpath.ucum_table import (
    ARBITRARY,
    BASE,
    BINARY_PREFIXES,
    METRIC,
    OTHER_SCALES,
    PLAIN,
    PREFIXES,
    TEMPERATURES,
)

_LONGEST = 200
_LARGEST_POWER = 40
#: Bits of a factor; beyond is no measure of anything.
_LARGEST_FACTOR = 4000
_DEEPEST = 10
#: Enough digits for any product of what is stored and a factor, and for a quotient.
_PRODUCT = Context(prec=500)
_QUOTIENT = Context(prec=60)


@dataclass(frozen=True, slots=True)
class Canonical:
    """A unit in base units."""

    factor: Fraction
    #: Base unit and exponent, sorted, none with exponent 0.
    dimension: tuple[tuple[str, int], ...]
    #: What is added to a value before the factor: a temperature's distance from absolute zero.
    shift: Fraction = Fraction(0)

    def exact(self, value: Decimal) -> Fraction:
        """A value of this unit in base units."""
        return (Fraction(value) + self.shift) * self.factor

    def of_exact(self, value: Fraction) -> Fraction:
        """A value in base units, in this unit."""
        return value / self.factor - self.shift

    def in_base(self, value: Decimal) -> Decimal:
        """As ``exact``, as a decimal: every digit where the factor is decimal, 60 where it is a quotient."""
        shift = Decimal(self.shift.numerator) / self.shift.denominator if self.shift else None
        moved = value if shift is None else _PRODUCT.add(value, shift)
        scaled = _PRODUCT.multiply(moved, Decimal(self.factor.numerator))
        divisor = self.factor.denominator
        if divisor == 1:
            return scaled
        power = len(str(divisor)) - 1
        if divisor == 10**power:
            return _PRODUCT.scaleb(scaled, -power)
        return _QUOTIENT.divide(scaled, Decimal(divisor))


_ONE = Canonical(Fraction(1), ())
_TOKEN = re.compile(
    r"\{[^{}]*\}|(?P<unit>10[*^]|(?:\[[^\[\]]*\]|[A-Za-z_%'])+)(?P<power>[+-]?\d+)?|(?P<number>\d+)", re.ASCII
)
_ANNOTATION = re.compile(r"\{[^{}]*\}")


@lru_cache(maxsize=4096)
def canonical(unit: str) -> Canonical | None:
    """A UCUM expression in base units; None if it is none, or of units that the tables don't know."""
    if not unit or len(unit) > _LONGEST:
        return None
    reader = _Reader(unit)
    found = reader.term(0)
    return found if reader.at == len(unit) else None


class _Reader:
    """One expression being read, by UCUM's grammar (10): products and quotients from the left, brackets inside."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.at = 0

    def term(self, depth: int) -> Canonical | None:
        """Components with ``.`` and ``/`` between them; a ``/`` may come first."""
        result: Canonical | None = _ONE
        divide = self._take("/")
        while True:
            component = self._component(depth)
            if component is None or result is None:
                return None
            result = _product(result, component, divide)
            divide = self._take("/")
            if not divide and not self._take("."):
                return result

    def _take(self, sign: str) -> bool:
        found = self._text.startswith(sign, self.at)
        self.at += found
        return found

    def _component(self, depth: int) -> Canonical | None:
        if self._take("("):
            inner = self.term(depth + 1) if depth < _DEEPEST else None
            return self._annotated(inner) if self._take(")") else None
        match = _TOKEN.match(self._text, self.at)
        if match is None:
            return None
        self.at = match.end()
        if match["unit"] is not None:
            return self._annotated(_power(_atom(match["unit"]), int(match["power"] or 1)))
        if match["number"] is not None:
            number = int(match["number"])
            return self._annotated(Canonical(Fraction(number), ())) if number else None
        # An annotation that stands alone is the unit 1.
        return _ONE

    def _annotated(self, found: Canonical | None) -> Canonical | None:
        """What stands in braces behind a component means nothing."""
        match = _ANNOTATION.match(self._text, self.at)
        if match is not None:
            self.at = match.end()
        return found


def _power(unit: Canonical | None, exponent: int) -> Canonical | None:
    if unit is None or exponent == 1:
        return unit
    # A temperature's zero has no place in products and powers.
    if unit.shift or abs(exponent) > _LARGEST_POWER:
        return None
    return Canonical(unit.factor**exponent, tuple((base, each * exponent) for base, each in unit.dimension if exponent))


def _product(left: Canonical, right: Canonical, divide: bool) -> Canonical | None:
    if left is _ONE and not divide:
        return right
    if left.shift or right.shift:
        return None
    exponents = dict(left.dimension)
    for base, exponent in right.dimension:
        exponents[base] = exponents.get(base, 0) + (-exponent if divide else exponent)
    dimension = tuple(sorted((base, exponent) for base, exponent in exponents.items() if exponent))
    factor = left.factor / right.factor if divide else left.factor * right.factor
    if max(factor.numerator.bit_length(), factor.denominator.bit_length()) > _LARGEST_FACTOR:
        return None
    return Canonical(factor, dimension)


@lru_cache(maxsize=2048)
def _atom(name: str) -> Canonical | None:
    if name in ("10*", "10^"):
        return Canonical(Fraction(10), ())
    if name in BASE or name in ARBITRARY or name in OTHER_SCALES:
        return Canonical(Fraction(1), ((name, 1),))
    if name in TEMPERATURES:
        shift, times, by = TEMPERATURES[name]
        return Canonical(Fraction(times) / Fraction(by), (("K", 1),), Fraction(shift))
    defined = PLAIN.get(name) or METRIC.get(name)
    if defined is not None:
        unit = canonical(defined[1])
        return None if unit is None else Canonical(Fraction(defined[0]) * unit.factor, unit.dimension)
    return _prefixed(name)


def _prefixed(name: str) -> Canonical | None:
    for length in (1, 2):
        prefix, rest = name[:length], name[length:]
        if not rest or not _takes_prefix(rest):
            continue
        unit = _atom(rest)
        if unit is not None and prefix in PREFIXES:
            return Canonical(unit.factor * Fraction(10) ** PREFIXES[prefix], unit.dimension)
        if unit is not None and prefix in BINARY_PREFIXES:
            return Canonical(unit.factor * 2 ** BINARY_PREFIXES[prefix], unit.dimension)
    return None


def _takes_prefix(name: str) -> bool:
    return name in METRIC or name in BASE or name in ("[iU]", "B", "Np")
