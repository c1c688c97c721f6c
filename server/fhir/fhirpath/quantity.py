"""Quantities and what may be done with them: https://hl7.org/fhirpath/N1/#quantity."""

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from server.fhir.fhirpath.ucum import Canonical, canonical

#: Words for calendar durations, plural to singular.
CALENDAR_UNITS = {
    word + plural: word
    for word in ("year", "month", "week", "day", "hour", "minute", "second", "millisecond")
    for plural in ("", "s")
}
#: UCUM's codes for the calendar words that mean the same span (N1, 6.1.1: years and months do not).
DEFINITE = {"week": "wk", "day": "d", "hour": "h", "minute": "min", "second": "s", "millisecond": "ms"}
#: Years and months only for equivalence, where the calendar word is as good as UCUM's mean year and month.
INDEFINITE = {"year": "a", "month": "mo"}


@dataclass(frozen=True, slots=True, eq=False)
class Quantity:
    """A number with a unit: a UCUM code or, as FHIRPath has it, a calendar word."""

    value: Decimal
    unit: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quantity) and self.compare(other) == 0

    def __hash__(self) -> int:
        return hash(self.unit == "1")

    def _canonical(self) -> Canonical | None:
        return canonical(DEFINITE.get(self.unit, self.unit))

    def compare(self, other: "Quantity") -> int | None:
        """-1, 0 or 1; None where the units have different dimensions or aren't known."""
        if self.unit == other.unit:
            return (self.value > other.value) - (self.value < other.value)
        left, right = self, other
        if _is_calendar(self, other):
            left, right = (Quantity(each.value, INDEFINITE.get(each.unit, each.unit)) for each in (self, other))
        elif self.unit in INDEFINITE or other.unit in INDEFINITE:
            return None
        mine, theirs = left._canonical(), right._canonical()
        if mine is None or theirs is None or mine.dimension != theirs.dimension:
            return None
        a, b = mine.exact(left.value), theirs.exact(right.value)
        return (a > b) - (a < b)

    def comparable(self, other: "Quantity") -> bool:
        """Whether their units measure the same thing."""
        if self.unit == other.unit:
            return True
        mine, theirs = self._canonical(), other._canonical()
        return mine is not None and theirs is not None and mine.dimension == theirs.dimension

    def in_larger_unit(self, other: "Quantity") -> tuple[Decimal, Decimal] | None:
        """Both values in the larger of the two units, years and months as UCUM's; None if they measure other things."""
        left, right = (Quantity(each.value, INDEFINITE.get(each.unit, each.unit)) for each in (self, other))
        if left.unit == right.unit:
            return left.value, right.value
        mine, theirs = left._canonical(), right._canonical()
        if mine is None or theirs is None or mine.dimension != theirs.dimension:
            return None
        if mine.factor == theirs.factor and mine.shift == theirs.shift:
            return left.value, right.value
        if mine.factor > theirs.factor:
            return left.value, _decimal(mine.of_exact(theirs.exact(right.value)))
        return _decimal(theirs.of_exact(mine.exact(left.value))), right.value

    def in_unit(self, unit: str) -> "Quantity | None":
        """The same amount in another unit; None if that measures something else."""
        mine, theirs = self._canonical(), canonical(DEFINITE.get(unit, unit))
        if self.unit == unit:
            return self
        if mine is None or theirs is None or mine.dimension != theirs.dimension:
            return None
        return Quantity(_decimal(theirs.of_exact(mine.exact(self.value))), unit)

    def plus(self, other: "Quantity", sign: int = 1) -> "Quantity | None":
        """The sum in the finer of the two units; None if they measure different things (N1, 6.6.3)."""
        if self.unit == other.unit:
            return Quantity(self.value + sign * other.value, self.unit)
        mine, theirs = self._canonical(), other._canonical()
        if mine is None or theirs is None or mine.dimension != theirs.dimension:
            return None
        if mine.shift or theirs.shift:
            # The sum of two temperatures depends on where their scales begin.
            return None
        if mine.factor <= theirs.factor:
            return Quantity(self.value + sign * _decimal(mine.of_exact(theirs.exact(other.value))), self.unit)
        return Quantity(_decimal(theirs.of_exact(mine.exact(self.value))) + sign * other.value, other.unit)

    def times(self, other: "Quantity") -> "Quantity | None":
        """The product; units multiply (N1, 6.6.1)."""
        return self._combined(other, ".", self.value * other.value)

    def divided_by(self, other: "Quantity") -> "Quantity | None":
        """The quotient; units divide; None by nothing (N1, 6.6.2)."""
        return None if other.value == 0 else self._combined(other, "/", self.value / other.value)

    def _combined(self, other: "Quantity", operator: str, value: Decimal) -> "Quantity | None":
        left, right = DEFINITE.get(self.unit, self.unit), DEFINITE.get(other.unit, other.unit)
        mine, theirs = canonical(left), canonical(right)
        if mine is None or theirs is None or ((mine.shift or theirs.shift) and right != "1"):
            return None
        if right == "1":
            return Quantity(value, left)
        if operator == "/" and left == right:
            return Quantity(value, "1")
        if operator == ".":
            unit = right if left == "1" else f"{left}.{right}"
        else:
            # In UCUM a/b.c is (a/b).c, so a quotient turns its divisor's operators round.
            unit = f"{left}/{right.translate(str.maketrans('./', '/.'))}" if "(" not in right else f"{left}/({right})"
        return Quantity(value, unit)

    def __str__(self) -> str:
        text = format(self.value, "f") if abs(self.value.adjusted()) < 1000 else str(self.value)
        return f"{text} {self.unit}" if self.unit in CALENDAR_UNITS else f"{text} '{self.unit}'"


def _is_calendar(left: Quantity, right: Quantity) -> bool:
    return left.unit in CALENDAR_UNITS and right.unit in CALENDAR_UNITS


def _decimal(value: Fraction) -> Decimal:
    return Decimal(value.numerator) / value.denominator
