"""The terminology at hand within one transaction: ``terminology.value_set.Content``.

What is stored as a resource or was loaded from a release, then the bundled code lists of the standard and of the house,
then value sets that their address defines. A resource counts from the commit that wrote it, in every process: what a
process keeps of a resource is kept by its version. https://hl7.org/fhir/R4/terminology-service.html
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

from server.errors import NotFound, Unprocessable
from server.fhir import json_format
from server.fhir.definitions import Definitions
from server.search import bundled
from server.search.canonical import newest, of_version
from server.search.numbers import number
from server.search.shelf import Shelf
from server.search.text import cut
from server.search.ucum_system import UcumSystem
from server.store import concept_maps, resources
from server.store import terminology as tables
from server.store.database import UnitOfWork
from server.store.terminology import Entry, IndexedCodeSystem
from terminology.code_system import CodeSystem, Header, MemoryCodeSystem
from terminology.concept_map import Elements
from terminology.errors import TerminologyError
from terminology.implicit import UCUM, all_codes, implicit
from terminology.supplement import Supplemented
from terminology.value_set import Definition, holds
from terminology.versions import fits, order

Resource = dict[str, Any]
T = TypeVar("T")
#: What a code system says of itself where its concepts are not with it.
_EMPTY = frozenset({"not-present", "supplement"})
_CURRENT = b"""
    select r.id, r.version from index_uri i join resource r on r.tenant = i.tenant and r.key = i.key
    where i.tenant = %s and i.parameter = %s and i.uri = %s and not r.deleted and r.type = %s
    order by r.last_updated desc limit 50"""

_VERSION = b"select version from resource where tenant = %s and type = %s and id = %s and not deleted"


class AtHand:
    """The terminology of one tenant within one transaction."""

    def __init__(self, definitions: Definitions, shelf: Shelf, uow: UnitOfWork, tenant: int) -> None:
        self.definitions = definitions
        self.uow = uow
        self.tenant = tenant
        self._shelf = shelf
        self._systems: dict[tuple[str, str], CodeSystem | None] = {}
        self._sets: dict[tuple[str, str], Definition | None] = {}

    def code_system(self, url: str, version: str = "") -> CodeSystem | None:
        """A code system by its canonical; the newest where no version is named."""
        key = (url, version)
        if key not in self._systems:
            entry = chosen(tables.entries(self.uow, self.tenant, url), version)
            found = self.of_entry(entry) if entry else bundled.code_system(self.definitions, url, version)
            told = url == UCUM and (found is not None or not version)
            self._systems[key] = UcumSystem(found) if told else found
        return self._systems[key]

    def supplemented(self, system: CodeSystem) -> CodeSystem:
        """A code system with the supplements to it that are stored, active, and for its version."""
        own = system.header
        found = [
            self.of_entry(entry)
            for entry in tables.supplements(self.uow, self.tenant, own.url)
            if entry.header.status == "active" and fits(own.version, entry.header.supplements.partition("|")[2])
        ]
        return Supplemented(system, found) if found else system

    def headers(self) -> Iterator[Header]:
        """Of every code system that is at hand, what is said of it as a whole; what is bundled where no other is."""
        stored = [one.header for one in tables.every_entry(self.uow, self.tenant)]
        have = {one.url for one in stored}
        yield from (one for one in stored if one.url and one.content not in _EMPTY)
        yield from (one for one in bundled.headers(self.definitions) if one.url not in have)

    def of_entry(self, entry: Entry) -> CodeSystem:
        """The code system of an entry."""
        if entry.apart:
            return IndexedCodeSystem(self.uow, self.tenant, entry)
        return self.kept("CodeSystem", entry.id, entry.resource_version, MemoryCodeSystem.of_resource)

    def value_set(self, url: str, version: str = "") -> Definition | None:
        """A value set by its canonical; the newest where no version is named."""
        key = (url, version)
        if key not in self._sets:
            found = self._newest("ValueSet", url, version, Definition, lambda one: one.resource)
            self._sets[key] = found or self._unstored(url, version)
        return self._sets[key]

    def resource(self, kind: str, url: str, version: str = "") -> Resource | None:
        """A stored resource of any type by its canonical; the newest where no version is named. Not to be changed."""
        return self._newest(kind, url, version, dict, lambda one: one)

    def holds(self, value_set: str, system: str | None, code: str) -> bool | None:
        """Whether a value set has a code (of any system where that is None), as bindings ask; None: nobody knows."""
        url, _, version = value_set.partition("|")
        definition = self.value_set(url, version)
        try:
            found = None if definition is None else holds(definition, self, system or "", code)
        except TerminologyError:
            return None
        return None if definition is None or (found is not None and found.assumed) else found is not None

    def member_of(self, value: Any, value_set: str) -> bool:
        """Whether a code, Coding or CodeableConcept is in a value set, as FHIRPath's memberOf() asks.

        https://hl7.org/fhir/R4/fhirpath.html#functions; Unprocessable where that can't be told.
        """
        codings = value.get("coding", [value]) if isinstance(value, dict) else [{"code": value}]
        answers = [
            self.holds(value_set, str(one["system"]) if "system" in one else None, str(one["code"]))
            for one in codings
            if isinstance(one, dict) and "code" in one
        ]
        if True not in answers and None in answers:
            raise Unprocessable(f"Whether a code is in {value_set[:200]} can't be told: it is not at hand.")
        return True in answers

    def concept_maps(self, url: str, version: str = "") -> list[Elements]:
        """The concept map of a canonical: what is stored before what was loaded; none where there is none."""
        stored = self._newest("ConceptMap", url, version, Elements, lambda one: one.resource)
        return [stored] if stored else [one for one in self.loaded_maps(url) if fits(one.version, version)][-1:]

    def loaded_maps(self, url: str = "") -> list[Elements]:
        """The concept maps that releases brought."""

        def found(number: int, resource: Resource) -> Elements:
            asked = partial(concept_maps.of_code, self.uow, self.tenant, number, resource)
            return Elements(resource, lambda code, reverse: asked(code, reverse=reverse))

        return [found(*one) for one in concept_maps.loaded(self.uow, self.tenant, url)]

    def by_id(self, kind: str, id: str, make: Callable[[Resource], T]) -> T | None:
        """What is made of the current version of a resource; None where there is none."""
        row = self.uow.driver.execute(_VERSION, (self.tenant, kind, id)).fetchone()
        return None if row is None else self.kept(kind, id, row[0], make)

    def kept(self, kind: str, id: str, version: int, make: Callable[[Resource], T]) -> T:
        """What is made of a version of a resource, once by each process."""

        def made() -> tuple[T, int]:
            stored = resources.current(self.uow, self.tenant, kind, id)
            if stored is None or stored.version != version:
                raise NotFound(f"There is no {kind}/{id} of this version any more.")
            return make(json_format.parse(stored.body)), len(stored.body)

        return self._shelf.get((make, kind, self.tenant, id, version), made)

    def _newest(
        self, kind: str, url: str, version: str, make: Callable[[Resource], T], resource: Callable[[T], Any]
    ) -> T | None:
        found = [self.kept(kind, id, stored, make) for id, stored in self._current(kind, url)]
        meant = newest(of_version([resource(one) for one in found], version))
        return next((one for one in found if resource(one) is meant), None)

    def _current(self, kind: str, url: str) -> Iterator[tuple[str, int]]:
        """Id and version of the resources of a canonical, those changed last first."""
        parameters = (self.tenant, number(kind, "url"), cut(url), kind)
        yield from self.uow.driver.execute(_CURRENT, parameters).fetchall() if url else ()

    def _unstored(self, url: str, version: str) -> Definition | None:
        found = bundled.value_set(self.definitions, url, version)
        if found is None and (defined := implicit(url)) is not None:
            found = Definition(defined)
        if found is None and url:
            entry = chosen(tables.with_value_set(self.uow, self.tenant, url), version)
            header = entry.header if entry else bundled.with_value_set(self.definitions, url)
            found = Definition(all_codes(header.url, url)) if header else None
        return found


def chosen(entries: tuple[Entry, ...], version: str) -> Entry | None:
    """The entry of a version, else the newest; of several alike the one changed last, which stands first."""
    fitting = [one for one in entries if one.header.content not in _EMPTY and fits(one.header.version, version)]
    return max(fitting, key=lambda one: order(one.header.version), default=None)
