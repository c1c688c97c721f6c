"""The reading verbs within one unit of work: read vread history search. https://hl7.org/fhir/R4/http.html"""

from collections.abc import Sequence
from copy import deepcopy
from functools import cached_property
from typing import TYPE_CHECKING, Any

from server.errors import BadRequest, Gone, NotFound
from server.fhir import instants, json_format
from server.fhir.definitions import Definitions
from server.repository.written import Parameters, Resource
from server.search import labels, lookup, url
from server.search.at_hand import AtHand
from server.search.find import Search, SearchResult
from server.search.gather import Gather
from server.search.profiles import StoredProfiles
from server.search.query import Query
from server.search.reference import LITERAL
from server.security.access import Access
from server.store import history, resources
from server.store.database import UnitOfWork
from server.store.history import Place, Span
from server.store.resources import Stored, Version

if TYPE_CHECKING:
    from server.repository import Repository


class Reading:
    """The reading verbs; what was written before in the same unit of work is read too."""

    def __init__(self, repository: "Repository", uow: UnitOfWork, access: Access, *, writing: bool = False) -> None:
        self.uow = uow
        self.access = access
        #: One moment for everything that is written together.
        self.moment = instants.now()
        self._repository = repository
        self._pending: dict[tuple[str, str], Version] = {}
        engine = repository.search_engine
        self.profiles = StoredProfiles(repository.profiles, engine, uow, access.tenant, self.flush)
        self._writing = writing
        self._engine: Search | None = None

    @property
    def search_engine(self) -> Search:
        """What the tenant's resources are indexed and searched by in this transaction."""
        if self._engine is None:
            declarations = self._repository.search_engine.declarations
            self._engine = declarations.engine(self.uow, self.access.tenant, writing=self._writing)
        return self._engine

    @property
    def matching(self) -> Search:
        """What resources in memory are held against by search parameters, those not indexed yet among them."""
        return self._repository.search_engine.declarations.matching(self.uow, self.access.tenant)

    @property
    def definitions(self) -> Definitions:
        """What the repository's resources are defined by."""
        return self._repository.definitions

    @cached_property
    def terminology(self) -> AtHand:
        """The code systems and value sets at hand, what this transaction wrote among them."""
        self.access.require("read")
        self.flush()
        return self._repository.search_engine.at_hand(self.uow, self.access.tenant)

    def canonical(self, resource_type: str, canonical: str) -> Resource | None:
        """The resource that a canonical means, to be changed at will; None where there is none.

        https://hl7.org/fhir/R4/references.html#canonical
        """
        url, _, version = canonical.partition("|")
        self.flush()
        return deepcopy(self.terminology.resource(resource_type, url, version))

    def flush(self) -> None:
        """Sends what was written so far to the database, still uncommitted."""
        if self._pending:
            versions = tuple(self._pending.values())
            self._pending = {}
            resources.write(self.uow, self.access.tenant, self.access.who, versions)

    def finish(self) -> None:
        """What comes last: the rest is sent, and others learn of new definitions."""
        self.flush()
        self.profiles.finish()

    def read(self, resource_type: str, id: str, *, lock: bool = False) -> Resource:
        """See ``Repository.read``; with ``lock`` nobody else changes it until this transaction ends."""
        return json_format.parse(self.read_stored(resource_type, id, lock=lock).body)

    def read_stored(self, resource_type: str, id: str, *, lock: bool = False) -> Stored:
        """See ``Repository.read_stored``."""
        self.access.require("read")
        self.flush()
        found = resources.current(self.uow, self.access.tenant, resource_type, id, lock=lock)
        return _present(found, resource_type, id)

    def local(self, reference: str) -> tuple[str, str] | None:
        """The (type, id) of a literal reference to a resource of this server; None for any other."""
        literal = LITERAL.fullmatch(reference)
        here = literal is not None and literal["base"] in (None, f"{self._repository.search_engine.base_url}/")
        return (literal["type"], literal["id"]) if literal is not None and here else None

    def read_many(self, places: Sequence[tuple[str, str]]) -> tuple[Stored, ...]:
        """The current versions of (type, id) pairs, without those that are absent."""
        self.access.require("read")
        self.flush()
        return resources.by_reference(self.uow, self.access.tenant, places)

    def vread(self, resource_type: str, id: str, version: str) -> Stored:
        """See ``Repository.vread``."""
        self.access.require("read")
        self.flush()
        number = int(version) if version.isascii() and version.isdigit() and len(version) < 19 else 0
        found = resources.version(self.uow, self.access.tenant, resource_type, id, number)
        return _present(found, resource_type, f"{id}/_history/{version}")

    def history(
        self, resource_type: str, id: str, *, count: int = 50, before: int | None = None, span: Span
    ) -> tuple[Stored, ...]:
        """See ``Repository.history``."""
        self.access.require("read")
        self.flush()
        tenant = self.access.tenant
        found = history.of_one(self.uow, tenant, resource_type, id, span, count=count, before=before)
        if not found and resources.current(self.uow, tenant, resource_type, id) is None:
            raise NotFound(f"There is no {resource_type}/{id}.")
        return found

    def history_of_all(
        self, resource_type: str, *, count: int, after: Place | None = None, span: Span
    ) -> tuple[Stored, ...]:
        """Versions of all resources of a type, or of every type where none is named, newest first."""
        self.access.require("read")
        self.flush()
        types = (resource_type,) if resource_type else self.definitions.resource_types
        return history.versions(self.uow, self.access.tenant, types, span, count=count, after=after)

    def search(
        self,
        resource_type: str,
        parameters: Parameters,
        *,
        lenient: bool = False,
        compartment: tuple[str, str] | None = None,
        explained: str = "false",
    ) -> SearchResult:
        """See ``Repository.search``; no type means all; ``compartment`` is the (type, id) whose resources are meant.

        ``explained`` (true, analyze) gives how it is carried out instead, which "admin" may ask.
        """
        self.access.require("read" if explained == "false" else "admin")
        self.flush()
        query = self.query(resource_type, parameters, lenient=lenient, compartment=compartment)
        return self.search_engine.find(self.uow, self.access.tenant, query, explained=explained)

    def query(
        self,
        resource_type: str,
        parameters: Parameters,
        *,
        lenient: bool = False,
        compartment: tuple[str, str] | None = None,
    ) -> Query:
        """What ``search`` would look for; raises what it would refuse."""
        engine = self.search_engine
        return engine.read(
            resource_type, parameters, lenient=lenient, compartment=compartment,
            terminology=engine.terminology(self.uow, self.access.tenant),
        )  # fmt: skip

    def labels(self, resource_types: Sequence[str]) -> dict[str, list[Any]]:
        """The profiles, security labels and tags that current resources of some types have, each once."""
        self.access.require("read")
        self.flush()
        return labels.labels(self.uow, self.access.tenant, resource_types)

    def gather(self, request: str) -> Gather:
        """What notes all matches of queries for a bulk request, instead of giving them."""
        self.access.require("read")
        self.flush()
        return Gather(self.uow, self.access.tenant, request, self.definitions)

    def matches_locked(self, resource_type: str, criteria: str) -> tuple[Stored, ...]:
        """At most two current resources that a conditional interaction's query finds; BadRequest for an empty one.

        Whoever asks the same waits until this transaction ends, so that two never create for one condition.
        """
        parameters = url.parameters(criteria)
        if not any(not name.startswith("_") or name.partition(":")[0] == "_id" for name, _ in parameters):
            raise BadRequest("A conditional interaction needs at least one search parameter.", expression=criteria)
        self.uow.lock("condition", self.access.tenant, resource_type, url.normal(criteria))
        return self.search(resource_type, [*parameters, ("_count", "2")]).matches

    def matches(self, resource: Resource, parameters: Parameters) -> bool:
        """Whether a resource that is not stored yet is what a search of its type asks for."""
        engine, (resolve, referring) = self.search_engine, lookup.stored(self.uow, self.access.tenant)
        known = engine.terminology(self.uow, self.access.tenant)
        return engine.matches(
            resource, resource["resourceType"], parameters, resolve=resolve, referring=referring, terminology=known
        )


def _present(found: Stored | None, resource_type: str, place: str) -> Stored:
    if found is None:
        raise NotFound(f"There is no {resource_type}/{place}.")
    if found.deleted:
        raise Gone(f"{resource_type}/{place} was deleted; its history is still there.")
    return found
