"""QIDO-RS: search for studies, series and instances (PS3.18 10.6), without the HTTP around it."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from server.errors import BadRequest, UnknownParameter
from server.imaging import declared_keys
from server.imaging.matching_keys import Asked, Understood, Ways, understand
from server.imaging.native_xml import to_xml
from server.imaging.query_keys import BY_TAG, path_of
from server.imaging.query_result import (
    STORED,
    below_level,
    instance_lines,
    json_of,
    needs_header,
    only,
    parts_asked,
    results,
)
from server.security.access import Access
from server.store import studies as store
from server.store.conditions import AnyCondition, Condition, Criterion
from server.store.database import Database
from server.store.studies import Connection, Found, Level

#: Results of one answer at most; a client pages with offset.
MOST = 5000
#: Bytes of results after which an answer with stored headers ends.
MOST_BYTES = 32 << 20
_PAGE = 50
_FLAGS = ("fuzzymatching", "emptyvaluematching", "multiplevaluematching")
_TAG_OF = {"StudyInstanceUID": "0020000D", "SeriesInstanceUID": "0020000E"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """A search made ready."""

    level: Level
    #: What the path says: the study and series searched in.
    within: tuple[AnyCondition, ...]
    asked: tuple[Asked, ...]
    ways: Ways
    #: Attributes asked for beyond the standard ones, each as its path of tags; None for all.
    include: frozenset[tuple[str, ...]] | None
    limit: int
    offset: int
    #: UID of the study or series that the path names.
    place: str
    #: The highest level whose attributes each result brings along: those above are in the path.
    top: Level
    #: Names that are no attributes.
    unknown: tuple[str, ...]
    #: Whether a key that can't be matched is an error.
    strict: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """The results, each a DICOM JSON object or a Native DICOM Model, and what the client must be warned of."""

    results: list[bytes]
    warnings: tuple[str, ...]


def parse(level: Level, parameters: Iterable[tuple[str, str]], path: dict[str, str], *, strict: bool = False) -> Query:
    """A query from its parameters, and from the UIDs in its path (by keyword); raises BadRequest naming the key."""
    numbers, flags = {"limit": MOST, "offset": 0}, dict.fromkeys(_FLAGS, False)
    include: set[tuple[str, ...]] = set()
    asked: dict[tuple[str, ...], Asked] = {}
    unknown: list[str] = []
    everything = False
    for name, value in parameters:
        if name in numbers:
            numbers[name] = _count(name, value)
        elif name in flags:
            flags[name] = _flag(name, value)
        elif name == "includefield":
            everything = _include(value, include, unknown) or everything
        elif (tags := path_of(name)) is not None:
            before = asked.get(tags)
            # A key that is given twice is a list of values.
            asked[tags] = Asked(path=tags, name=name, value=value if before is None else f"{before.value}\\{value}")
        else:
            unknown.append(name)
    return Query(
        level=level,
        within=tuple(_within(keyword, uid) for keyword, uid in path.items()),
        asked=tuple(asked.values()),
        # Ranges of a date and its time are one range wherever both are given (PS3.18 8.3.4.1.1).
        ways=Ways(fuzzy=flags["fuzzymatching"], empty=flags["emptyvaluematching"], combine=True),
        include=None if everything else frozenset(include) | asked.keys(),
        limit=min(numbers["limit"], MOST),
        offset=numbers["offset"],
        place=next(reversed(path.values()), ""),
        top="patient" if not path else "series" if len(path) == 1 else "instance",
        unknown=tuple(dict.fromkeys(unknown)),
        strict=strict,
    )


def _within(keyword: str, uid: str) -> Condition:
    if not re.fullmatch(r"[0-9.]{1,64}", uid, re.ASCII):
        raise BadRequest(f"The {keyword} in the path is no UID.", expression=keyword)
    return Condition(column=BY_TAG[_TAG_OF[keyword]].column, criterion=Criterion(operator="one", values=(uid,)))


def _count(name: str, value: str) -> int:
    if not re.fullmatch(r"\d{1,9}", value, re.ASCII):
        raise BadRequest(f"'{name}' must be a whole number from 0.", expression=name)
    return int(value)


def _flag(name: str, value: str) -> bool:
    if value not in ("true", "false"):
        raise BadRequest(f"'{name}' must be true or false.", expression=name)
    return value == "true"


def _include(value: str, include: set[tuple[str, ...]], unknown: list[str]) -> bool:
    """Adds the attributes; whether all are asked for."""
    everything = False
    for name in filter(None, (part.strip() for part in value.split(","))):
        tags = path_of(name)
        if name == "all":
            everything = True
        elif tags is None:
            unknown.append(name)
        else:
            include.add(tags)
    return everything


def search(
    database: Database, access: Access, query: Query, base_url: str, form: Literal["json", "xml"] = "json"
) -> Answer:
    """Runs the query; ``base_url`` is where the DICOMweb service is, for Retrieve URLs.

    Raises BadRequest for a value that is none of its kind, UnknownParameter for a key not searched by if strict.
    """
    access.require("read")
    declared = declared_keys.for_keys(database, access.tenant, [key.path for key in query.asked])
    understood = understand(query.level, query.asked, declared, query.ways)
    warnings = _warnings(query, understood)
    include = None if query.include is None else frozenset(tags[0] for tags in query.include)
    run = _Run(
        database=database,
        access=access,
        query=query,
        conditions=(*query.within, *understood.conditions),
        include=include,
        base_url=base_url,
        form=form,
    )
    found, more = run.whole() if needs_header(query.level, include) else run.ready()
    if more:
        warnings = (*warnings, "There are additional results that can be requested; ask for them by offset.")
    return Answer(results=found, warnings=warnings)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Run:
    """One search on its way to the index and back."""

    database: Database
    access: Access
    query: Query
    conditions: tuple[AnyCondition, ...]
    #: The outermost tags to be included; None for all.
    include: frozenset[str] | None
    base_url: str
    form: str

    def ready(self) -> tuple[list[bytes], bool]:
        """Results of what the index keeps ready, in one statement with its audit row, which does not wait for the disk.

        And whether there are more than an answer may have.
        """
        query = self.query
        with self.database.statement(durable=False) as connection:
            found = self._look(connection, query.limit + 1, query.offset, who=self.access.who)
        more = len(found) > query.limit == MOST
        return self._written(found[: query.limit]), more

    def whole(self) -> tuple[list[bytes], bool]:
        """Results that need stored headers, page by page: memory grows with the answer alone, and that has an end."""
        query, out, size = self.query, list[bytes](), 0
        with self.database.statement(durable=False) as connection:
            store.note_search(connection, self.access.tenant, self.access.who, query.level, query.place)
        with self.database.reading() as uow:
            while len(out) < query.limit and size < MOST_BYTES:
                wanted = min(_PAGE, query.limit - len(out))
                page = self._look(uow.driver, wanted, query.offset + len(out), metadata=True)
                written = self._written(page)
                out += written
                size += sum(map(len, written))
                if len(page) < wanted:
                    return out, False
            ended = len(out) == query.limit < MOST
            more = not ended and bool(self._look(uow.driver, 1, query.offset + len(out)))
        return out, more

    def _look(
        self, connection: Connection, limit: int, offset: int, *, metadata: bool = False, who: str = ""
    ) -> list[Found]:
        query = self.query
        return store.search(
            connection,
            self.access.tenant,
            query.level,
            self.conditions,
            limit=limit,
            offset=offset,
            metadata=metadata,
            top=query.top,
            who=who,
            within=query.place,
        )

    def _written(self, found: Sequence[Found]) -> list[bytes]:
        query, include = self.query, self.include
        level, top = query.level, query.top
        if self.form == "json" and top == "instance" and include is not None and include <= STORED["instance"]:
            return instance_lines(found, self.base_url)
        written = to_xml if self.form == "xml" else json_of
        parts = parts_asked(query.include or (), STORED[level])
        return [written(only(attributes, parts)) for attributes in results(level, top, found, include, self.base_url)]


def _warnings(query: Query, understood: Understood) -> tuple[str, ...]:
    """What is ignored, in words (PS3.18 8.3: never an error by itself); raises UnknownParameter if strict."""
    said = [f"'{_printable(name)}' is no attribute and was ignored." for name in query.unknown]
    below = below_level(query.level, query.include or ()) - {key.path for key in query.asked}
    said += [
        f"The attribute {'.'.join(path)} does not belong to the {query.level} level and is not included."
        for path in sorted(below)
    ]
    said += [
        f"The key {key.name} is not searched by at the {query.level} level and was ignored."
        for key in understood.unsupported
    ]
    names = [*query.unknown, *(key.name for key in understood.unsupported)]
    if names and query.strict:
        raise UnknownParameter(
            f"Not searched by: {', '.join(map(_printable, names))}; leave them out, or declare extended query tags.",
            expression=_printable(names[0]),
        )
    return tuple(said)


def _printable(name: str) -> str:
    return re.sub(r"[^\x20-\x7e]", "?", name)[:64]
