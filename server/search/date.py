"""Date search: https://hl7.org/fhir/R4/search.html#date

A date is the range of moments that its precision leaves open, in microseconds since 1970 UTC, both ends included;
one without a zone is taken as UTC.
"""

import re
from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, ClassVar

from sqlalchemy import ColumnElement
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from server.errors import BadRequest
from server.fhir.fhirpath.node import Node
from server.search import prefix as prefixes
from server.search.entry import Entry
from server.search.text import unescape

MODIFIERS: frozenset[str] = frozenset()
Columns = ReadOnlyColumnCollection[str, Any]
#: Open ends of a Period.
EARLIEST = -(1 << 63)
LATEST = (1 << 63) - 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_PATTERN = re.compile(
    r"(?P<year>\d{4})(-(?P<month>\d\d)(-(?P<day>\d\d)"
    r"(T(?P<hour>\d\d):(?P<minute>\d\d)(:(?P<second>\d\d)(\.(?P<fraction>\d+))?)?(?P<zone>Z|[+-]\d\d:\d\d)?)?)?)?"
)
_DAY = 86_400_000_000
#: Share of the distance to now that "about" allows: https://hl7.org/fhir/R4/search.html#prefix
_ABOUT = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Operand:
    """What one value of a date parameter asks for."""

    kind: ClassVar[str] = "date"
    prefix: str
    low: int
    high: int
    suffix: str = ""


def microseconds(moment: datetime) -> int:
    """A moment as the index has it."""
    return (moment - _EPOCH) // _MICROSECOND


def bounds(text: str) -> tuple[int, int] | None:
    """First and last microsecond of a FHIR date, dateTime or instant; None when it is none."""
    found = _PATTERN.fullmatch(text)
    if found is None:
        return None
    year, month, day = int(found["year"]), int(found["month"] or 1), int(found["day"] or 1)
    second = int(found["second"] or 0)
    try:
        # A leap second counts as the second before it.
        start = datetime(year, month, day, int(found["hour"] or 0), int(found["minute"] or 0), min(second, 59))
        low = microseconds(start.replace(tzinfo=UTC)) - _offset(found["zone"])
    except ValueError:
        return None
    fraction = (found["fraction"] or "")[:6]
    low += int(fraction.ljust(6, "0")) if fraction else 0
    return low, low + _span(found, year, month) - 1


def moment(text: str) -> datetime:
    """The first moment of a date, dateTime or instant; BadRequest when it is none."""
    found = bounds(text)
    if found is None:
        raise BadRequest("Write an instant, e.g. 2024-02-29T12:00:00Z.")
    return _EPOCH + found[0] * _MICROSECOND


@lru_cache(maxsize=1024)
def _offset(zone: str | None) -> int:
    if zone in (None, "Z"):
        return 0
    offset = datetime.strptime(zone, "%z").utcoffset() if zone else None
    return (offset or timedelta()) // _MICROSECOND


def _span(found: re.Match[str], year: int, month: int) -> int:
    """How many microseconds the precision leaves open."""
    if found["fraction"]:
        return int(10 ** (6 - min(len(found["fraction"]), 6)))
    for part, span in (("second", 1_000_000), ("minute", 60_000_000), ("day", _DAY)):
        if found[part]:
            return span
    days = monthrange(year, month)[1] if found["month"] else 365 + (monthrange(year, 2)[1] - 28)
    return days * _DAY


def entries(node: Node) -> Iterator[Entry]:
    """Index rows of a date, dateTime, instant, Period or Timing."""
    value = node.value
    if isinstance(value, str):
        found = bounds(value)
        if found:
            yield Entry("date", found)
    elif isinstance(value, dict) and ("event" in value or "repeat" in value):
        yield from _timing(value)
    elif isinstance(value, dict):
        yield from _period(value)


def _period(period: dict[str, Any]) -> Iterator[Entry]:
    start, end = bounds(str(period.get("start", ""))), bounds(str(period.get("end", "")))
    if start or end:
        yield Entry("date", (start[0] if start else EARLIEST, end[1] if end else LATEST))


def _timing(timing: dict[str, Any]) -> Iterator[Entry]:
    """One row from the first moment of a Timing to its last."""
    moments = [found for event in timing.get("event") or () if (found := bounds(str(event)))]
    if moments:
        yield Entry("date", (min(low for low, _ in moments), max(high for _, high in moments)))
    limits = (timing.get("repeat") or {}).get("boundsPeriod")
    if isinstance(limits, dict):
        yield from _period(limits)


def parse(text: str, now: datetime) -> Operand:
    """The operand of a date value; ``now`` is what "about" is measured from."""
    prefix, rest = prefixes.taken(unescape(text).replace(" ", "+"))
    found = bounds(rest)
    if found is None:
        raise BadRequest(
            "A date is YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm[:ss][zone], after an optional prefix."
        )
    low, high = found
    if prefix == "ap":
        distance = abs(microseconds(now.astimezone(UTC)) - low) // _ABOUT
        low, high = low - distance, high + distance
    return Operand(prefix=prefix, low=low, high=high)


def clause(operand: Operand, columns: Columns) -> ColumnElement[bool]:
    """The operand over the columns of index_date."""
    return prefixes.clause(operand.prefix, columns["low"], columns["high"], operand.low, operand.high)


def matches(operand: Operand, values: tuple[Any, ...]) -> bool:
    """The same, for one row in memory."""
    return prefixes.matches(operand.prefix, values[0], values[1], operand.low, operand.high)
