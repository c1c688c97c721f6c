"""From the parameters of a URL to a Query: https://hl7.org/fhir/R4/search.html"""

import binascii
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from server.errors import BadRequest, UnknownParameter
from server.fhir.definitions import Definitions
from server.search.criteria import Reader
from server.search.index import kind_of
from server.search.query import Criterion, Include, Query, Sort

Parameters = Sequence[tuple[str, str]]
DEFAULT_COUNT = 50
LARGEST_COUNT = 1000
#: Parameters that the edge has dealt with: the format of the answer is not the search's business.
_OF_THE_EDGE = frozenset({"_format", "_pretty"})
_CHOICES = {
    "_total": ("none", "estimate", "accurate"),
    "_summary": ("true", "text", "data", "count", "false"),
}
CURSOR = "_page"


@dataclass(kw_only=True)
class _Draft:
    """A query while it is being read."""

    criteria: list[Criterion] = field(default_factory=list)
    includes: list[Include] = field(default_factory=list)
    sort: tuple[Sort, ...] = ()
    count: int = DEFAULT_COUNT
    total: str = "none"
    summary: str = "false"
    elements: tuple[str, ...] = ()
    cursor: str = ""
    used: list[tuple[str, str]] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)


def read(
    definitions: Definitions,
    resource_type: str,
    parameters: Parameters,
    *,
    lenient: bool = False,
    base_url: str = "",
    now: datetime | None = None,
) -> Query:
    """The query; raises UnknownParameter or BadRequest, or under ``lenient`` leaves out what is not understood."""
    reader = Reader(definitions=definitions, now=now or datetime.now(UTC), base_url=base_url)
    draft = _Draft()
    for name, value in parameters:
        try:
            _take(draft, reader, resource_type, name, value)
            if name != CURSOR and name not in _OF_THE_EDGE:
                draft.used.append((name, value))
        except UnknownParameter as error:
            if not lenient:
                raise
            draft.ignored.append(error.details)
    return Query(
        resource_type=resource_type,
        criteria=tuple(draft.criteria),
        sort=draft.sort,
        count=draft.count,
        total=draft.total,
        includes=tuple(draft.includes),
        summary=draft.summary,
        elements=draft.elements,
        cursor=draft.cursor,
        used=tuple(draft.used),
        ignored=tuple(draft.ignored),
    )


def _take(draft: _Draft, reader: Reader, resource_type: str, name: str, value: str) -> None:
    plain, _, modifier = name.partition(":")
    if name in _OF_THE_EDGE:
        return
    if plain in ("_include", "_revinclude"):
        draft.includes.append(_include(reader, plain, modifier, value))
    elif name == "_sort":
        draft.sort = tuple(_sort(reader, resource_type, key) for key in value.split(",") if key)
    elif name == "_count":
        draft.count = _count(value)
    elif name == "_elements":
        draft.elements = tuple(part.strip() for part in value.split(",") if part.strip())
    elif name in _CHOICES:
        if value not in _CHOICES[name]:
            raise BadRequest(f"{name} is one of {', '.join(_CHOICES[name])}.", expression=name)
        setattr(draft, name.removeprefix("_"), value)
    elif name == CURSOR:
        draft.cursor = value
    else:
        criterion = reader.criterion(resource_type, name, value)
        if criterion is not None:
            draft.criteria.append(criterion)


def _count(value: str) -> int:
    if not value.isascii() or not value.isdigit() or len(value) > 12:
        raise BadRequest("_count is a whole number of 0 or more.", expression="_count")
    return min(int(value), LARGEST_COUNT)


def _sort(reader: Reader, resource_type: str, key: str) -> Sort:
    code = key.removeprefix("-")
    kind = ""
    if code not in ("_id", "_lastUpdated"):
        kind = kind_of(reader.parameter(resource_type, code)) or ""
        if kind in ("composite", "position"):
            raise BadRequest(f"'{code}' can't be sorted by: it has no order.", expression="_sort")
    return Sort(code=code, kind=kind, descending=key.startswith("-"))


def _include(reader: Reader, name: str, modifier: str, value: str) -> Include:
    if modifier not in ("", "iterate", "recurse"):
        raise UnknownParameter(f"{name} knows the modifier :iterate only.", expression=f"{name}:{modifier}")
    source, _, rest = value.partition(":")
    code, _, target = rest.partition(":")
    definitions = reader.definitions
    if source == "*":
        source, code = "", "*"
    elif not definitions.is_resource(source) or not code:
        raise BadRequest(f"{name} is written Type:reference[:TargetType].", expression=name)
    if target and not definitions.is_resource(target):
        raise BadRequest(f"{name}: there is no resource type '{target}'.", expression=name)
    if code != "*" and reader.parameter(source, code).type != "reference":
        raise BadRequest(f"{name}: '{code}' of {source} is no reference.", expression=name)
    return Include(
        source_type=source,
        code=code,
        target_type=target,
        reverse=name == "_revinclude",
        iterate=modifier != "",
    )


def cursor(values: list[Any]) -> str:
    """What a next link carries: the sort values and key of the last match of a page."""
    return urlsafe_b64encode(json.dumps(values, separators=(",", ":"), default=str).encode()).decode().rstrip("=")


def position(text: str) -> list[Any]:
    """The values in a cursor; raises BadRequest for one that we did not make."""
    try:
        values = json.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, binascii.Error) as error:
        raise BadRequest("The page link is damaged; start again from the first page.", expression=CURSOR) from error
    if not isinstance(values, list) or not values or not isinstance(values[-1], int):
        raise BadRequest("The page link is damaged; start again from the first page.", expression=CURSOR)
    return values
