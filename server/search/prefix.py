"""The prefixes of ordered parameters: https://hl7.org/fhir/R4/search.html#prefix

Both sides are ranges with both ends included. ``clause`` and ``matches`` are written from the same definitions.
"""

from typing import Any

from sqlalchemy import ColumnElement, and_, not_, or_

PREFIXES = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")


def taken(text: str) -> tuple[str, str]:
    """The prefix of a value (``eq`` when there is none) and the rest."""
    return (text[:2], text[2:]) if text[:2] in PREFIXES else ("eq", text)


def clause(prefix: str, low: Any, high: Any, asked_low: Any, asked_high: Any) -> ColumnElement[bool]:
    """Whether the stored range (two columns) stands to the asked one as the prefix says; ``co`` is _filter's."""
    contained = and_(low >= asked_low, high <= asked_high)
    conditions: dict[str, ColumnElement[bool]] = {
        "eq": contained,
        "ne": not_(contained),
        "gt": high > asked_high,
        "lt": low < asked_low,
        "ge": or_(high > asked_high, contained),
        "le": or_(low < asked_low, contained),
        "sa": low > asked_high,
        "eb": high < asked_low,
        "co": and_(low <= asked_low, high >= asked_high),
        "ap": and_(low <= asked_high, high >= asked_low),
    }
    return conditions[prefix]


def matches(prefix: str, low: Any, high: Any, asked_low: Any, asked_high: Any) -> bool:
    """The same, for one range in memory."""
    contained = low >= asked_low and high <= asked_high
    conditions = {
        "eq": contained,
        "ne": not contained,
        "gt": high > asked_high,
        "lt": low < asked_low,
        "ge": high > asked_high or contained,
        "le": low < asked_low or contained,
        "sa": low > asked_high,
        "eb": high < asked_low,
        "co": low <= asked_low and high >= asked_high,
        "ap": low <= asked_high and high >= asked_low,
    }
    return bool(conditions[prefix])
