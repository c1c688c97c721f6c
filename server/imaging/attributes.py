"""Single values out of a data set's DICOM JSON (PS3.18 annex F), as text and numbers for the index."""

import base64
import re
import unicodedata
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from typing import Any

from server.imaging.dataset import Attributes

#: Characters kept of an indexed text; the longest LO is 64, and PostgreSQL's index entries end at 2,700 bytes.
LONGEST = 512
_OFFSET = re.compile(r"([+-])(\d\d)(\d\d)")
_DATE = re.compile(r"(\d{4})\.?(\d\d)\.?(\d\d)")
_TIME = re.compile(r"(\d\d)(?::?(\d\d)(?::?(\d\d)(?:\.(\d{1,6}))?)?)?")


def values(attributes: Attributes, key: str) -> list[Any]:
    """The Value array; empty where there is none."""
    return attributes.get(key, {}).get("Value") or []


def text(attributes: Attributes, key: str) -> str:
    """The first value as text; a person name's Alphabetic group, else the first group it has."""
    found = next((value for value in values(attributes, key) if value is not None), "")
    if isinstance(found, dict):
        found = next(iter(found.values()), "")
    return str(found).replace("\0", "").strip()[:LONGEST]


def name(attributes: Attributes, key: str) -> str:
    """All groups of a person name, joined by '=' as PS3.5 6.2.1 writes them."""
    found = next((value for value in values(attributes, key) if isinstance(value, dict)), {})
    groups = [found.get(group, "") for group in ("Alphabetic", "Ideographic", "Phonetic")]
    return "=".join(groups).rstrip("=").replace("\0", "")[:LONGEST]


def integer(attributes: Attributes, key: str) -> int | None:
    """The first value as an integer that a bigint holds; None where it is none."""
    found = next(iter(values(attributes, key)), None)
    if isinstance(found, bool) or not isinstance(found, int) or not -(1 << 63) <= found < 1 << 63:
        return None
    return found


def number(attributes: Attributes, key: str) -> float | None:
    """The first value as a number; None where it is none."""
    found = next(iter(values(attributes, key)), None)
    return float(found) if isinstance(found, int | float) else None


def items(attributes: Attributes, key: str) -> list[Attributes]:
    """The items of a sequence."""
    return [item for item in values(attributes, key) if isinstance(item, dict)]


def binary(attributes: Attributes, key: str) -> bytes:
    """A short binary value, as it stands inline; empty where there is none."""
    return base64.b64decode(attributes.get(key, {}).get("InlineBinary", ""))


def fold(value: str) -> str:
    """Text as it is compared when case and accents don't matter."""
    decomposed = unicodedata.normalize("NFKD", value)
    return "".join(c for c in decomposed if not unicodedata.combining(c)).casefold().strip()[:LONGEST]


def fold_name(value: str) -> str:
    """A person name folded, without the empty components at the end of its groups."""
    return "=".join(group.rstrip("^ ") for group in fold(value).split("="))


def moment(attributes: Attributes, date_key: str, time_key: str, zone: tzinfo) -> datetime | None:
    """Date and time in UTC: by TimezoneOffsetFromUTC (0008,0201) if there, else in ``zone``; None without a date."""
    day = _date(text(attributes, date_key))
    if day is None:
        return None
    local = datetime.combine(day, _time(text(attributes, time_key)) or time())
    offset = _OFFSET.fullmatch(text(attributes, "00080201"))
    if offset:
        sign = -1 if offset[1] == "-" else 1
        minutes = sign * (int(offset[2]) * 60 + int(offset[3]))
        if abs(minutes) < 24 * 60:
            zone = timezone(timedelta(minutes=minutes))
    return local.replace(tzinfo=zone).astimezone(UTC) if 1 < local.year < 9999 else None


def day(attributes: Attributes, key: str) -> date | None:
    """A DA value; None where it is none."""
    return _date(text(attributes, key))


def _date(value: str) -> date | None:
    match = _DATE.fullmatch(value)
    try:
        return date(int(match[1]), int(match[2]), int(match[3])) if match else None
    except ValueError:
        return None


def _time(value: str) -> time | None:
    match = _TIME.fullmatch(value)
    if not match:
        return None
    second = min(int(match[3] or 0), 59)
    try:
        return time(int(match[1]), int(match[2] or 0), second, int((match[4] or "").ljust(6, "0")))
    except ValueError:
        return None
