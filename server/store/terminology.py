"""Code systems whose concepts are in tables: ``terminology.code_system.CodeSystem``, and where they are found."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import and_, func, select

from server.store.database import UnitOfWork
from server.store.tables.terminology import INDEXED_CHARACTERS, code_concept
from server.store.terminology_clause import Place, clause, of_system
from terminology.code_system import Header
from terminology.concept import Concept
from terminology.condition import AnyCondition, Codes, every

_CONCEPT = "number, code, display, definition, inactive, abstract"


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A code system that is at hand."""

    system: int
    header: Header
    #: The resource that it is of, and which version; empty and 0 for a release.
    id: str
    resource_version: int
    #: Whether its concepts are in the tables.
    apart: bool
    concepts: int


def entries(uow: UnitOfWork, tenant: int, url: str) -> tuple[Entry, ...]:
    """The code systems of a canonical, those changed last first."""
    rows = uow.driver.execute(_ENTRIES + b" and c.url = %s order by c.changed desc, c.system desc", (tenant, url))
    return tuple(map(_entry, rows))


def with_value_set(uow: UnitOfWork, tenant: int, url: str) -> tuple[Entry, ...]:
    """The code systems that say of a value set that it has all their codes."""
    rows = uow.driver.execute(_ENTRIES + b" and c.header ->> 'value_set' = %s order by c.changed desc", (tenant, url))
    return tuple(map(_entry, rows))


def supplements(uow: UnitOfWork, tenant: int, url: str) -> tuple[Entry, ...]:
    """The supplements to a code system."""
    rows = uow.driver.execute(
        _ENTRIES + b" and split_part(c.header ->> 'supplements', '|', 1) = %s order by c.system", (tenant, url)
    )
    return tuple(map(_entry, rows))


def every_entry(uow: UnitOfWork, tenant: int) -> tuple[Entry, ...]:
    """Every code system that is at hand."""
    return tuple(map(_entry, uow.driver.execute(_ENTRIES + b" order by c.url, c.version", (tenant,))))


_ENTRIES = b"""
    select c.system, c.header, c.id, c.resource_version, c.apart, c.concepts from code_system c
    where c.tenant = %s and c.complete and (c.id = '' or exists (
        select from resource r where r.tenant = c.tenant and r.type = 'CodeSystem' and r.id = c.id
        and r.version = c.resource_version and not r.deleted))"""


def _entry(row: Sequence[Any]) -> Entry:
    header = {**row[1], "properties": tuple(row[1].get("properties", ()))}
    return Entry(
        system=row[0], header=Header(**header), id=row[2], resource_version=row[3], apart=row[4], concepts=row[5]
    )


def header_row(header: Header) -> dict[str, Any]:
    """A header as the tables keep it."""
    return asdict(header)


class IndexedCodeSystem:
    """A code system whose concepts are in tables, within one transaction."""

    def __init__(self, uow: UnitOfWork, tenant: int, entry: Entry) -> None:
        self._uow = uow
        self._entry = entry
        self.place = Place(uow=uow, tenant=tenant, system=entry.system)

    @property
    def header(self) -> Header:
        """See ``CodeSystem.header``."""
        return self._entry.header

    def find(self, code: str) -> Concept | None:
        """See ``CodeSystem.find``."""
        return self.find_many([code]).get(code)

    def find_many(self, codes: Sequence[str]) -> dict[str, Concept]:
        """See ``CodeSystem.find_many``."""
        statement = f"select {_CONCEPT} from code_concept where tenant = %s and system = %s and code = any(%s)"
        rows = self._rows(statement, [code.replace("\x00", "") for code in codes])
        by_code = {concept.code: concept for concept in self._full(rows)}
        found = {code: by_code[code] for code in codes if code in by_code}
        if not self.header.case_sensitive:
            found |= self._folded([code for code in codes if code not in found])
        return found

    def _folded(self, codes: Sequence[str]) -> dict[str, Concept]:
        """The concepts of codes that are written in another case."""
        lower = {code.casefold().replace("\x00", "") for code in codes}
        statement = f"select {_CONCEPT} from code_concept where tenant = %s and system = %s and %s"
        same = self._rows(statement.replace("and %s", "and code = any(%s)"), sorted(lower)) if lower else []
        other = self._rows(statement.replace("and %s", "and folded = any(%s)"), sorted(lower)) if lower else []
        by_code = {concept.code.casefold(): concept for concept in self._full([*same, *other])}
        return {code: by_code[code.casefold()] for code in codes if code.casefold() in by_code}

    def children(self, code: str) -> list[str]:
        """See ``CodeSystem.children``."""
        statement = f"""
            select c.code from code_property p
            join code_concept c on c.tenant = p.tenant and c.system = p.system and c.number = p.number
            where p.tenant = %s and p.system = %s and p.property = 'parent'
            and left(p.value, {INDEXED_CHARACTERS}) = left(%s, {INDEXED_CHARACTERS}) and p.value = %s
            order by c.number"""
        return [row[0] for row in self._rows(statement, code, code)]

    def subsumes(self, a: str, b: str) -> str:
        """See ``CodeSystem.subsumes``."""
        if a == b:
            return "equivalent"
        statement = "select code, key, ancestors from code_concept where tenant = %s and system = %s and code = any(%s)"
        found = {row[0]: (row[1], row[2]) for row in self._rows(statement, [a, b])}
        if len(found) < 2:
            return "not-subsumed"
        if found[a][0] in found[b][1]:
            return "subsumes"
        return "subsumed-by" if found[b][0] in found[a][1] else "not-subsumed"

    def meets(self, code: str, condition: AnyCondition) -> bool:
        """See ``CodeSystem.meets``."""
        concept = self.find(code)
        return concept is not None and self.count(every(Codes(frozenset({concept.code})), condition), 1) > 0

    def count(self, condition: AnyCondition, most: int) -> int:
        """See ``CodeSystem.count``."""
        if condition == every():
            return min(most, self._entry.concepts)
        rows = select(code_concept.c.number).where(self._where(condition)).limit(most).subquery()
        return int(self._uow.execute(select(func.count()).select_from(rows)).scalar_one())

    def select(self, condition: AnyCondition, *, offset: int = 0, limit: int, full: bool = False) -> Iterator[Concept]:
        """See ``CodeSystem.select``."""
        columns = [code_concept.c[name] for name in _CONCEPT.split(", ")]
        statement = select(*columns).where(self._where(condition)).order_by(code_concept.c.number)
        rows = self._uow.execute(statement.offset(offset).limit(limit)).all()
        return iter(self._full(rows) if full else [_concept(row, (), ()) for row in rows])

    def _where(self, condition: AnyCondition) -> Any:
        return and_(of_system(self.place, code_concept), clause(condition, self.place, code_concept))

    def _rows(self, statement: str, *values: Any) -> list[Any]:
        parameters = (self.place.tenant, self.place.system, *values)
        return self._uow.driver.execute(statement.encode(), parameters).fetchall()

    def _full(self, rows: Sequence[Any]) -> list[Concept]:
        """Concepts with their designations and properties."""
        numbers = [row[0] for row in rows]
        if not numbers:
            return []
        where = "where tenant = %s and system = %s and number = any(%s) order by number, place"
        designations: dict[int, list[Mapping[str, Any]]] = {}
        for number, body in self._rows(f"select number, body from code_designation {where}", numbers):
            designations.setdefault(number, []).append(body)
        properties: dict[int, list[tuple[Any, ...]]] = {}
        columns = "number, property, value, type, rest"
        for number, *held in self._rows(f"select {columns} from code_property {where}", numbers):
            properties.setdefault(number, []).append(tuple(held))
        return [_concept(row, designations.get(row[0], ()), properties.get(row[0], ())) for row in rows]


def _concept(row: Sequence[Any], designations: Sequence[Mapping[str, Any]], held: Sequence[tuple[Any, ...]]) -> Concept:
    _, code, display, definition, inactive, abstract = row
    properties = [_property(*one) for one in held if one[0] != "parent"]
    named = {str(one["code"]) for one in properties}
    if inactive and not named & {"inactive", "status"}:
        properties.append({"code": "inactive", "valueBoolean": True})
    if abstract and "notSelectable" not in named:
        properties.append({"code": "notSelectable", "valueBoolean": True})
    return Concept(
        code=code,
        display=display,
        definition=definition,
        designations=tuple(designations),
        properties=tuple(properties),
        parents=tuple(value for name, value, *_ in held if name == "parent"),
    )


def _property(name: str, value: str, kind: str, rest: Mapping[str, Any] | None) -> dict[str, Any]:
    typed: dict[str, Any] = {
        "valueCoding": lambda: {**(rest or {}), "code": value},
        "valueBoolean": lambda: value == "true",
        "valueInteger": lambda: int(value),
    }
    return {"code": name, kind: typed[kind]() if kind in typed else value}
