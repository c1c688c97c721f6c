"""Search for workitems (PS3.18 11.9, PS3.4 CC.2.8): any attribute, by tag or keyword, into sequences too."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import orjson

from server.errors import BadRequest
from server.imaging import attributes as read
from server.imaging import criterion
from server.imaging.dataset import Attributes
from server.imaging.query_keys import path_of, tag_of, vr_of
from server.imaging.workitem import STATE, STATES, TRANSACTION_UID
from server.security.access import Access
from server.store import audit
from server.store import workitems as store
from server.store.conditions import Criterion
from server.store.database import Database

#: Workitems of one answer.
MOST = 1000
_FLAGS = ("fuzzymatching", "emptyvaluematching")
PARAMETERS = ("includefield", "limit", "offset", *_FLAGS)
#: What is always answered: the return keys of types 1 and 2 (PS3.4 table CC.2.5-3).
_RETURNED = frozenset(
    tag
    for keyword in """
    SpecificCharacterSet SOPClassUID SOPInstanceUID TimezoneOffsetFromUTC
    ScheduledProcedureStepPriority ScheduledProcedureStepModificationDateTime ProcedureStepLabel WorklistLabel
    ScheduledStationNameCodeSequence ScheduledStationClassCodeSequence ScheduledStationGeographicLocationCodeSequence
    ScheduledHumanPerformersSequence ScheduledProcedureStepStartDateTime ExpectedCompletionDateTime
    ScheduledProcedureStepExpirationDateTime ScheduledWorkitemCodeSequence InputReadinessState StudyInstanceUID
    PatientName PatientID IssuerOfPatientID PatientBirthDate PatientSex AdmissionID IssuerOfAdmissionIDSequence
    ReferencedRequestSequence ReplacedProcedureStepSequence ProcedureStepState
    """.split()  # noqa: SIM905 (a table is easier to read so)
    if (tag := tag_of(keyword)) is not None
)


@dataclass(slots=True)
class _Keys:
    """The keys of one data set: what its attributes must be, and what the items of its sequences must have."""

    own: list[tuple[str, str, Criterion]] = field(default_factory=list)
    items: dict[str, "_Keys"] = field(default_factory=dict)

    def match(self, attributes: Attributes) -> bool:
        """Whether every key holds; keys of one sequence in one item of it (PS3.4 C.2.2.2.6)."""
        for tag, vr, wanted in self.own:
            element = attributes.get(tag, {})
            if not criterion.matches(wanted, element.get("vr") or vr, element.get("Value") or ()):
                return False
        return all(
            any(keys.match(item) for item in read.items(attributes, tag) or [{}]) for tag, keys in self.items.items()
        )


@dataclass(frozen=True, kw_only=True)
class WorkitemQuery:
    """What is asked for."""

    keys: _Keys
    #: States that the keys leave open; empty for all.
    states: tuple[str, ...] = ()
    #: Tags beside those that are always answered; None for all.
    include: frozenset[str] | None = frozenset()
    limit: int = MOST
    offset: int = 0
    warnings: tuple[str, ...] = ()

    def matches(self, attributes: Attributes) -> bool:
        """Whether a workitem is one of those."""
        return self.keys.match(attributes)


def parse(parameters: Iterable[tuple[str, str]]) -> WorkitemQuery:
    """A search from its parameters; raises BadRequest naming the one that can't be read."""
    asked: dict[tuple[str, ...], tuple[str, str]] = {}
    include: set[str] = set()
    said: dict[str, str] = {}
    unknown: list[str] = []
    for name, value in parameters:
        if name == "includefield":
            unknown += _include(value, include)
        elif name in PARAMETERS:
            said[name] = value
        elif (path := path_of(name)) is not None and path[0] != TRANSACTION_UID:
            before = asked.get(path)
            asked[path] = (name, value if before is None else f"{before[1]}\\{value}")
        else:
            unknown.append(name)
    fuzzy, empty = (_flag(name, said.get(name, "false")) for name in _FLAGS)
    keys = _keys(asked, fuzzy=fuzzy, empty=empty)
    return WorkitemQuery(
        keys=keys,
        states=_states(keys),
        include=None if "all" in include else frozenset(include) | {path[0] for path in asked},
        limit=min(_count("limit", said.get("limit", str(MOST))), MOST),
        offset=_count("offset", said.get("offset", "0")),
        warnings=tuple(f"'{_printable(name)}' is no attribute and was ignored." for name in dict.fromkeys(unknown)),
    )


def _keys(asked: dict[tuple[str, ...], tuple[str, str]], *, fuzzy: bool, empty: bool) -> _Keys:
    keys = _Keys()
    for path, (name, value) in asked.items():
        vr = vr_of(path[-1])
        if vr == "SQ" and value.strip() and not (empty and value == '""'):
            raise BadRequest(f"{name} is a sequence; name an attribute in it, as {name}.CodeValue.", expression=name)
        wanted = criterion.parse(vr, value, name, fuzzy=fuzzy, empty=empty)
        if wanted is None:
            continue
        inner = keys
        for tag in path[:-1]:
            if vr_of(tag) not in ("SQ", "UN"):
                raise BadRequest(f"{name} leads through {tag}, which is no sequence.", expression=name)
            inner = inner.items.setdefault(tag, _Keys())
        inner.own.append((path[-1], vr, wanted))
    return keys


def _states(keys: _Keys) -> tuple[str, ...]:
    """What of the states the database can look for by itself."""
    for tag, _, wanted in keys.own:
        if tag == STATE and wanted.operator == "one":
            return tuple(str(value) for value in wanted.values if value in STATES) or ("",)
    return ()


def _include(value: str, include: set[str]) -> list[str]:
    unknown = []
    for name in filter(None, (part.strip() for part in value.split(","))):
        path = path_of(name)
        if name == "all":
            include.add("all")
        elif path is None:
            unknown.append(name)
        else:
            include.add(path[0])
    return unknown


def _flag(name: str, value: str) -> bool:
    if value not in ("true", "false"):
        raise BadRequest(f"'{name}' must be true or false.", expression=name)
    return value == "true"


def _count(name: str, value: str) -> int:
    if not re.fullmatch(r"\d{1,9}", value, re.ASCII):
        raise BadRequest(f"'{name}' must be a whole number from 0.", expression=name)
    return int(value)


def _printable(name: str) -> str:
    return re.sub(r"[^\x20-\x7e]", "?", name)[:64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """The workitems that match, and what the client must be warned of."""

    results: Sequence[Attributes]
    warnings: tuple[str, ...]


def search(database: Database, access: Access, query: WorkitemQuery) -> Found:
    """Runs a search, the oldest workitem first; raises Forbidden."""
    access.require("read")
    with database.unit_of_work() as uow:
        audit.note_read(uow, access.tenant, access.who, "search", "Workitem")
        matching = (
            attributes
            for item in store.each(uow, access.tenant, states=query.states)
            if query.matches(attributes := _loaded(item.attributes))
        )
        found = list(islice(matching, query.offset, query.offset + query.limit + 1))
    warnings = query.warnings
    if len(found) > query.limit == MOST:
        warnings = (*warnings, "There are additional results that can be requested; ask for them by offset.")
    return Found(results=[_shown(one, query.include) for one in found[: query.limit]], warnings=warnings)


def _loaded(body: bytes) -> Attributes:
    found: dict[str, Any] = orjson.loads(body)
    return found


def _shown(attributes: Attributes, include: frozenset[str] | None) -> Attributes:
    if include is None:
        return attributes
    wanted = _RETURNED | include
    return {tag: element for tag, element in attributes.items() if tag in wanted}
