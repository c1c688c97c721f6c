"""QIDO-RS: search for studies, series and instances (PS3.18 10.6), without the HTTP around it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from pydicom.datadict import keyword_dict

from server.errors import BadRequest
from server.imaging.attributes import fold_name
from server.imaging.query_keys import BY_NAME, ORDER, Key
from server.imaging.query_result import STORED, result
from server.security.access import Access
from server.store import studies as store
from server.store.database import Database
from server.store.studies import Condition, Level

#: Results of one answer at most; a client pages with offset.
MOST = 5000
_DAY = re.compile(r"\d{8}", re.ASCII)
_CLOCK = re.compile(r"\d\d(?:\d\d(?:\d\d(?:\.\d{1,6})?)?)?", re.ASCII)
_UID = re.compile(r"[0-9.]{1,64}", re.ASCII)
_NUMBER = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_TAG = re.compile(r"[0-9A-Fa-f]{8}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """A search made ready."""

    level: Level
    conditions: tuple[Condition, ...]
    #: Tags asked for beyond the standard ones; None for all.
    include: frozenset[str] | None
    limit: int
    offset: int
    #: The highest level whose attributes each result brings along: those above are in the path.
    relational: Level
    #: What was not done as asked, for the Warning header.
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """The results as DICOM JSON objects, and what the client must be warned of."""

    results: list[bytes]
    warnings: tuple[str, ...]


def parse(level: Level, parameters: Iterable[tuple[str, str]], path: dict[str, str]) -> Query:
    """A query from its parameters, and from the UIDs in its path (by keyword); raises BadRequest naming the key."""
    conditions = [_condition(BY_NAME[keyword], uid) for keyword, uid in path.items()]
    include: set[str] = set()
    everything = False
    numbers = {"limit": MOST, "offset": 0}
    warnings: list[str] = []
    for name, value in parameters:
        if name in numbers:
            numbers[name] = _count(name, value)
        elif name == "includefield":
            everything = everything or _include(value, include)
        elif name in ("fuzzymatching", "emptyvaluematching"):
            if _flag(name, value):
                warnings.append(f"The {name} parameter is not supported; only literal matching has been performed.")
        else:
            _match(level, name, value, conditions, include, warnings)
    return Query(
        level=level,
        conditions=tuple(conditions),
        include=None if everything else frozenset(include),
        limit=min(numbers["limit"], MOST),
        offset=numbers["offset"],
        relational="study" if not path else "series" if len(path) == 1 else "instance",
        warnings=tuple(warnings),
    )


def _match(
    level: Level, name: str, value: str, conditions: list[Condition], include: set[str], warnings: list[str]
) -> None:
    key = BY_NAME.get(name) or BY_NAME.get(name.upper())
    if key is None:
        if _tag(name) is None:
            raise BadRequest(
                f"'{name}' is no attribute; give a keyword or tag of the data dictionary.", expression=name
            )
        warnings.append(f"The key {name} is not searched by and was ignored.")
        return
    if ORDER.index(key.level) > ORDER.index(level):
        warnings.append(f"The key {name} does not belong to the {level} level and was ignored.")
        return
    if "\0" in value:
        raise BadRequest(f"{name} holds a NUL character.", expression=name)
    include.add(key.tag)
    if value.strip("*"):
        conditions.append(_condition(key, value))


def _count(name: str, value: str) -> int:
    if not re.fullmatch(r"\d{1,9}", value, re.ASCII):
        raise BadRequest(f"'{name}' must be a whole number from 0.", expression=name)
    return int(value)


def _flag(name: str, value: str) -> bool:
    if value not in ("true", "false"):
        raise BadRequest(f"'{name}' must be true or false.", expression=name)
    return value == "true"


def _include(value: str, include: set[str]) -> bool:
    """Adds the tags; whether all are asked for."""
    for name in value.split(","):
        if name == "all":
            return True
        tag = _tag(name)
        if tag is None:
            raise BadRequest(
                f"includefield '{name}' is no attribute; give a keyword or tag.", expression="includefield"
            )
        include.add(tag)
    return False


def _tag(name: str) -> str | None:
    """The tag of a keyword or tag; sequences by their first step."""
    first = name.split(".", maxsplit=1)[0]
    if _TAG.fullmatch(first):
        return first.upper()
    number = keyword_dict.get(first)
    return None if number is None else f"{number:08X}"


def _condition(key: Key, value: str) -> Condition:
    """One key and its value; raises BadRequest where the value is none of the attribute's kind."""
    column, name = key.column, key.keyword
    if key.kind == "uid":
        uids = _list(value)
        if not all(_UID.fullmatch(uid) for uid in uids):
            raise BadRequest(f"{name} must be a UID or a list of UIDs.", expression=name)
        return Condition(column=column, operator="in", values=uids)
    if key.kind == "integer":
        numbers = _list(value)
        if not all(_NUMBER.fullmatch(number) for number in numbers):
            raise BadRequest(f"{name} must be a whole number.", expression=name)
        return Condition(column=column, operator="in", values=tuple(int(number) for number in numbers))
    if key.kind == "date":
        return Condition(column=column, operator="range", values=_range(name, value, _DAY, "YYYYMMDD"))
    if key.kind == "time":
        low, high = _range(name, value, _CLOCK, "HHMMSS.FFFFFF")
        # "~" sorts behind every digit: 1015 as an end takes in 10:15:59.
        return Condition(column=column, operator="range", values=(low, high and f"{high}~"))
    if key.kind == "list":
        return Condition(column=column, operator="any", values=_list(value))
    if key.kind == "name":
        return Condition(column=column, operator="name", values=(_like(fold_name(value)),))
    if "*" in value or "?" in value:
        return Condition(column=column, operator="like", values=tuple(_like(part) for part in value.split("\\")))
    return Condition(column=column, operator="in", values=tuple(part.strip() for part in value.split("\\")))


def _list(value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in re.split(r"[,\\]", value) if part.strip())


def _range(name: str, value: str, form: re.Pattern[str], text: str) -> tuple[str, str]:
    low, dash, high = value.partition("-")
    if not dash:
        high = low
    bounds = [part for part in (low, high) if part]
    if not bounds or not all(form.fullmatch(part) for part in bounds):
        raise BadRequest(f"{name} must be {text}, or a range with '-' before, between or behind.", expression=name)
    return low, high


def _like(pattern: str) -> str:
    """DICOM's wildcards (PS3.4 C.2.2.2.4) as SQL's."""
    escaped = pattern.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return escaped.replace("*", "%").replace("?", "_")


def search(database: Database, access: Access, query: Query, base_url: str) -> Answer:
    """Runs the query; ``base_url`` is where the DICOMweb service is, for Retrieve URLs."""
    access.require("read")
    extra = query.include is None or bool(query.include - STORED[query.level])
    with database.reading() as uow:
        found = store.search(
            uow,
            access.tenant,
            query.level,
            query.conditions,
            limit=query.limit + 1,
            offset=query.offset,
            metadata=extra,
        )
    warnings = query.warnings
    if len(found) > query.limit:
        found = found[: query.limit]
        if query.limit == MOST:
            warnings = (*warnings, f"There are more than {MOST} results; ask for the others by offset.")
    results = [result(query.level, item, query.include, base_url, relational=query.relational) for item in found]
    return Answer(results=results, warnings=warnings)
