"""Where a page ended, as its next link has it: the first page's moment, the last match's sort values and key."""

import binascii
import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from server.errors import BadRequest, Gone
from server.search.sight import Moment
from server.store.resources import PAGES_LAST

#: The parameter that holds it.
CURSOR = "_page"
_SNAPSHOT = re.compile(r"[1-9]\d{0,17}:[1-9]\d{0,17}:([1-9]\d{0,17}(,[1-9]\d{0,17})*)?", re.ASCII)
_LONGEST = 20_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Position:
    """Where the next page goes on."""

    moment: Moment
    #: Sort values and key of the last match.
    values: list[Any]


def written(moment: Moment, values: list[Any]) -> str:
    """What a next link carries."""
    whole = [moment.snapshot, int(moment.at.timestamp()), *values]
    return urlsafe_b64encode(json.dumps(whole, separators=(",", ":"), default=str).encode()).decode().rstrip("=")


def read(text: str, now: datetime) -> Position:
    """The position in a link; BadRequest for one that we did not make, Gone when it is too old."""
    damaged = BadRequest("The page link is damaged; start again from the first page.", expression=CURSOR)
    try:
        whole = json.loads(urlsafe_b64decode(text[:_LONGEST] + "=" * (-len(text) % 4)))
        snapshot, seconds, *values = whole
        at = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, TypeError, OverflowError, OSError, binascii.Error, RecursionError) as error:
        raise damaged from error
    if not isinstance(snapshot, str) or not _is_snapshot(snapshot) or not values or not all(map(_is_plain, values)):
        raise damaged
    if type(values[-1]) is not int:
        raise damaged
    if not now - timedelta(minutes=PAGES_LAST) <= at <= now + timedelta(minutes=PAGES_LAST):
        raise Gone(f"Pages can be turned for {PAGES_LAST} minutes; start again from the first page.", expression=CURSOR)
    return Position(moment=Moment(snapshot=snapshot, at=at), values=values)


def _is_plain(value: Any) -> bool:
    """Whether a sort value is one that the database can take."""
    if isinstance(value, str):
        return "\x00" not in value
    return value is None or (isinstance(value, int) and abs(value) < 1 << 63)


def _is_snapshot(text: str) -> bool:
    """Whether PostgreSQL takes this as a snapshot: what was in progress lies between its ends, in order."""
    if not _SNAPSHOT.fullmatch(text):
        return False
    first, last, between = text.split(":")
    inside = [int(part) for part in between.split(",") if part]
    return int(first) <= int(last) and inside == sorted(set(inside)) and all(
        int(first) <= one < int(last) for one in inside
    )  # fmt: skip
