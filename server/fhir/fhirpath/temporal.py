"""Date, DateTime and Time with the precision they were written in: https://hl7.org/fhirpath/N1/#date.

A value is the tuple of the components that were given, so ``@2018-03`` has two. Seconds and milliseconds are one
component, a decimal (N1, 6.1.1). Comparison answers None ("empty") where the precision, or an absent time zone,
leaves it open.
"""

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_DOWN, Decimal
from typing import Self

Component = int | Decimal

_TIME = r"(\d{2})(?::(\d{2})(?::(\d{2}(?:\.\d+)?))?)?"
_DATE = r"(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?"
_ZONE = r"(Z|[+-]\d{2}:\d{2})"
_DATE_PATTERN = re.compile(_DATE)
_TIME_PATTERN = re.compile(_TIME)
_DATE_TIME_PATTERN = re.compile(rf"{_DATE}(?:T(?:{_TIME}{_ZONE}?)?)?")
#: What hour, minute and second stay below; a leap second is written 60 (FHIR's instant and dateTime allow it).
_CLOCK_LIMITS = (24, 60, 61)
#: Time zones reach from -12:00 to +14:00: without one, a moment is known to within that much.
_WEST = timedelta(hours=-12)
_EAST = timedelta(hours=14)


def _components(groups: tuple[str | None, ...]) -> tuple[Component, ...]:
    return tuple(Decimal(text) if "." in text else int(text) for text in groups if text is not None)


def _is_day(parts: tuple[Component, ...]) -> bool:
    if len(parts) > 1 and not 1 <= parts[1] <= 12:
        return False
    if parts[0] < 1:
        return False
    if len(parts) > 2:
        try:
            date(int(parts[0]), int(parts[1]), int(parts[2]))
        except ValueError:
            return False
    return True


def _is_clock(parts: tuple[Component, ...]) -> bool:
    return all(part < limit for part, limit in zip(parts, _CLOCK_LIMITS, strict=False))


def _clock_text(parts: tuple[Component, ...]) -> str:
    texts = [f"{int(part):02d}" for part in parts[:2]]
    if len(parts) == 3:
        second = parts[2]
        texts.append(
            f"{second:02d}" if isinstance(second, int) else f"{second:0>{3 + -int(second.as_tuple().exponent)}}"
        )
    return ":".join(texts)


def compare_components(left: tuple[Component, ...], right: tuple[Component, ...]) -> int | None:
    """-1, 0 or 1 by the first component that differs; None where one ends before they do (N1, 6.2)."""
    for a, b in zip(left, right, strict=False):
        if a != b:
            return -1 if a < b else 1
    return 0 if len(left) == len(right) else None


@dataclass(frozen=True, slots=True, eq=False)
class Temporal:
    """What dates, moments and times of day have in common."""

    #: Year, month, day, hour, minute, second as far as given; a Time begins at the hour.
    parts: tuple[Component, ...]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Temporal) and self.compare(other) == 0

    def __hash__(self) -> int:
        return hash(self.parts[:1])

    def compare(self, other: "Temporal") -> int | None:
        """-1, 0, 1, or None where precision or zone leave it open or the kinds can't be compared."""
        return compare_components(self.parts, other.parts) if type(self) is type(other) else None


@dataclass(frozen=True, slots=True, eq=False)
class Time(Temporal):
    """A time of day (System.Time)."""

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """From ``hh[:mm[:ss[.fff]]]``; None if it is no time."""
        match = _TIME_PATTERN.fullmatch(text)
        if match is None:
            return None
        parts = _components(match.groups())
        return cls(parts) if _is_clock(parts) else None

    def __str__(self) -> str:
        return _clock_text(self.parts)


@dataclass(frozen=True, slots=True, eq=False)
class Date(Temporal):
    """A day, month or year (System.Date)."""

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """From ``YYYY[-MM[-DD]]``; None if it is no date."""
        match = _DATE_PATTERN.fullmatch(text)
        if match is None:
            return None
        parts = _components(match.groups())
        return cls(parts) if _is_day(parts) else None

    def compare(self, other: Temporal) -> int | None:
        """As DateTime.compare: a date becomes a DateTime without a time of day (N1, 6.2)."""
        return None if isinstance(other, Time) else DateTime(self.parts).compare(other)

    def __str__(self) -> str:
        return "-".join((f"{int(self.parts[0]):04d}", *(f"{int(part):02d}" for part in self.parts[1:])))


@dataclass(frozen=True, slots=True, eq=False)
class DateTime(Temporal):
    """A moment, as precise as its components (System.DateTime)."""

    #: Minutes east of UTC; None where no zone was given.
    offset: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """From ``YYYY[-MM[-DD[Thh[:mm[:ss[.fff]]][Z|+hh:mm]]]]``; None if it is no moment."""
        match = _DATE_TIME_PATTERN.fullmatch(text)
        if match is None:
            return None
        groups = match.groups()
        if groups[3] is not None and groups[2] is None:
            return None
        parts = _components(groups[:6])
        if not (_is_day(parts[:3]) and _is_clock(parts[3:])):
            return None
        return cls(parts, _offset(groups[6]))

    @classmethod
    def of(cls, moment: datetime) -> Self:
        """From an aware datetime, to the millisecond."""
        second = Decimal(moment.second) + Decimal(moment.microsecond // 1000).scaleb(-3)
        zone = moment.utcoffset()
        return cls(
            (moment.year, moment.month, moment.day, moment.hour, moment.minute, second),
            None if zone is None else int(zone.total_seconds()) // 60,
        )

    def compare(self, other: Temporal) -> int | None:
        """In UTC where both say their zone; where one does not, only if no zone could change the answer."""
        if isinstance(other, Time):
            return None
        theirs = other if isinstance(other, DateTime) else DateTime(other.parts)
        if self.offset == theirs.offset or len(self.parts) < 4 or len(theirs.parts) < 4:
            return compare_components(self.parts, theirs.parts)
        if self.offset is not None and theirs.offset is not None:
            return compare_components(self.in_utc(), theirs.in_utc())
        return self._compare_unzoned(theirs)

    def _compare_unzoned(self, other: "DateTime") -> int | None:
        mine, theirs = self.latitude(), other.latitude()
        if mine[1] < theirs[0]:
            return -1
        return 1 if mine[0] > theirs[1] else None

    def in_utc(self) -> tuple[Component, ...]:
        """The same moment's components in UTC, no more of them than were given."""
        if self.offset is None or self.offset == 0 or len(self.parts) < 4:
            return self.parts
        moment = _moved(self._minute(), timedelta(minutes=-self.offset))
        shifted = (moment.year, moment.month, moment.day, moment.hour, moment.minute, *self.parts[5:])
        return shifted[: len(self.parts)]

    def _minute(self) -> datetime:
        return datetime(*_padded(self.parts))

    def latitude(self) -> tuple[datetime, datetime]:
        """The earliest and latest minute in UTC that it may mean, its zone being unknown."""
        minute = self._minute()
        if self.offset is not None:
            moment = _moved(minute, timedelta(minutes=-self.offset))
            return moment, moment
        return _moved(minute, -_EAST), _moved(minute, -_WEST)

    def __str__(self) -> str:
        text = str(Date(self.parts[:3]))
        if len(self.parts) > 3:
            text += "T" + _clock_text(self.parts[3:])
        if self.offset is None:
            return text
        if self.offset == 0:
            return text + "Z"
        hours, minutes = divmod(abs(self.offset), 60)
        return f"{text}{'-' if self.offset < 0 else '+'}{hours:02d}:{minutes:02d}"


def _moved(moment: datetime, by: timedelta) -> datetime:
    """A moment moved, at the ends of the calendar no further."""
    try:
        return moment + by
    except OverflowError:
        return datetime.min if by < timedelta() else datetime.max


def _padded(parts: tuple[Component, ...]) -> tuple[int, int, int, int, int]:
    given = [int(part) for part in parts[:5]]
    given += [1, 1, 1, 0, 0][len(given) :]
    return given[0], given[1], given[2], given[3], given[4]


def _offset(zone: str | None) -> int | None:
    if zone is None:
        return None
    if zone == "Z":
        return 0
    minutes = int(zone[1:3]) * 60 + int(zone[4:6])
    return -minutes if zone[0] == "-" else minutes


#: Components of each calendar word that arithmetic knows: years and months apart, the rest in seconds.
_MONTHS = {"year": 12, "month": 1}
_SECONDS = {
    "week": Decimal(604800),
    "day": Decimal(86400),
    "hour": Decimal(3600),
    "minute": Decimal(60),
    "second": Decimal(1),
    "millisecond": Decimal("0.001"),
}


def add(value: Temporal, amount: Decimal, unit: str) -> Temporal | None:
    """A date, moment or time plus so many calendar units; None beyond the calendar (N1, 6.6.7).

    The amount is cut to the value's own precision (years to whole years and so on), and a day that the month
    lacks becomes its last one.
    """
    if isinstance(value, Time):
        return _add_to_time(value, amount, unit)
    if unit in _MONTHS:
        return _add_months(value, int(amount) * _MONTHS[unit])
    return _add_seconds(value, amount, unit)


def _rebuilt(value: Temporal, parts: tuple[Component, ...]) -> Temporal:
    return DateTime(parts, value.offset) if isinstance(value, DateTime) else Date(parts)


def _add_months(value: Temporal, months: int) -> Temporal | None:
    parts = value.parts
    if len(parts) == 1:
        years = int(Decimal(months) / 12)
        return _rebuilt(value, (parts[0] + years,)) if 1 <= parts[0] + years <= 9999 else None
    year, month = divmod(int(parts[0]) * 12 + int(parts[1]) - 1 + months, 12)
    if not 1 <= year <= 9999:
        return None
    if len(parts) == 2:
        return _rebuilt(value, (year, month + 1))
    day = min(int(parts[2]), last_day(year, month + 1))
    return _rebuilt(value, (year, month + 1, day, *parts[3:]))


def last_day(year: int, month: int) -> int:
    """How many days that month has."""
    return monthrange(year, month)[1]


def _add_seconds(value: Temporal, amount: Decimal, unit: str) -> Temporal | None:
    parts = value.parts
    if len(parts) < 3:
        # N1, 6.6.7: converted to the precision of the value, by 365 days a year and 30 days a month.
        days = int(amount * _SECONDS[unit] / _SECONDS["day"])
        return _add_months(value, int(Decimal(days) / 365) * 12 if len(parts) == 1 else int(Decimal(days) / 30))
    if unit == "millisecond" or (unit == "second" and len(parts) == 6):
        seconds = amount * _SECONDS[unit]
    else:
        seconds = amount.to_integral_value(ROUND_DOWN) * _SECONDS[unit]
    second = Decimal(parts[5]) if len(parts) == 6 else Decimal(0)
    whole, fraction = divmod(second + seconds, 1)
    if fraction < 0:
        whole, fraction = whole - 1, fraction + 1
    try:
        moment = datetime(*_padded(parts), tzinfo=UTC) + timedelta(seconds=int(whole))
    except OverflowError:
        return None
    result: list[Component] = [moment.year, moment.month, moment.day, moment.hour, moment.minute]
    result.append(_second(Decimal(moment.second) + fraction, parts[5]) if len(parts) == 6 else moment.second)
    return _rebuilt(value, tuple(result[: len(parts)]))


def _second(value: Decimal, like: Component) -> Component:
    """A second with the digits that the value had, no fewer than milliseconds need."""
    if isinstance(like, int):
        return int(value)
    return value.quantize(Decimal(1).scaleb(int(like.as_tuple().exponent)), ROUND_DOWN)


def _add_to_time(value: Time, amount: Decimal, unit: str) -> Time | None:
    if unit not in _SECONDS:
        return None
    total = Decimal(0)
    for part, seconds in zip(value.parts, (3600, 60, 1), strict=False):
        total += part * seconds
    total = (total + amount * _SECONDS[unit]) % 86400
    total += 86400 if total < 0 else 0
    hour, rest = divmod(total, 3600)
    minute, second = divmod(rest, 60)
    parts: tuple[Component, ...] = (int(hour), int(minute))
    if len(value.parts) == 3:
        parts = (*parts, _second(second, value.parts[2]))
    return Time(parts[: len(value.parts)])
