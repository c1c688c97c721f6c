"""The one door for FHIR resources: create read vread history update delete search, and transaction() around them.

A write, its index rows, its audit row and its row in the outbox commit together or not at all. Bodies are kept as
bytes; every version is kept; a delete is a version. https://hl7.org/fhir/R4/http.html
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from server.errors import BadRequest, Conflict, Issue, NotFound, PreconditionFailed, Unprocessable
from server.fhir import instants, json_format, stamp
from server.fhir.definitions import Definitions
from server.search import labels, lookup, url
from server.search.declarations import RESOURCE as DECLARING
from server.search.find import Search, SearchResult
from server.search.gather import Gather
from server.search.query import Query
from server.search.reference import ID
from server.security.access import Access
from server.store import history, resources
from server.store.database import Database, UnitOfWork
from server.store.history import EVERY, Place, Span
from server.store.resources import Stored, Version

Resource = dict[str, Any]
Parameters = Sequence[tuple[str, str]]
#: What is wrong with a resource by the standard's rules; server.fhir.validate is one.
Validate = Callable[[Definitions, Resource], Sequence[Issue]]
#: A rule of the house on writes: (access, new, version before or None) raises when it is broken.
Check = Callable[[Access, Resource, Resource | None], None]
#: What else changes with a resource, in the same transaction: (transaction, new, version before or None).
Follower = Callable[["Transaction", Resource, Resource | None], None]
#: A resource as it is to be stored: (transaction, new, version before or None).
Prepare = Callable[["Transaction", Resource, Resource | None], Resource]


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """What a write came to."""

    resource: Resource
    #: Whether there was no current version before.
    created: bool
    #: Whether there is a new version; an update with the same content is none.
    changed: bool


class Repository:
    """FHIR resources of all tenants."""

    def __init__(
        self,
        database: Database,
        definitions: Definitions,
        search: Search,
        *,
        validate: Validate | None = None,
        checks: Sequence[Check] = (),
        followers: Sequence[Follower] = (),
        prepare: Prepare | None = None,
    ) -> None:
        """``checks`` run on every create and update after ``validate``, ``followers`` when it is to be written.

        ``prepare`` comes before all of them.
        """
        self.database = database
        self.definitions = definitions
        self.search_engine = search
        self.validate = validate
        self.checks = tuple(checks)
        self.followers = tuple(followers)
        self.prepare = prepare

    @contextmanager
    def transaction(self, access: Access, *, one_moment: bool = False) -> Iterator["Transaction"]:
        """The same verbs in one unit of work: all of it commits at the end of the block, or nothing.

        With ``one_moment`` all that it reads is of the moment at which it first reads.
        """
        with self.database.unit_of_work(one_moment=one_moment) as uow:
            transaction = Transaction(self, uow, access, writing=True)
            yield transaction
            transaction.flush()

    @contextmanager
    def reading(self, access: Access) -> Iterator["Transaction"]:
        """The reading verbs, all at one moment."""
        with self.database.reading() as uow:
            yield Transaction(self, uow, access)

    def read(self, access: Access, resource_type: str, id: str) -> Resource:
        """The current version; NotFound, or Gone if it was deleted."""
        return json_format.parse(self.read_stored(access, resource_type, id).body)

    def read_stored(self, access: Access, resource_type: str, id: str) -> Stored:
        """As ``read``, as the bytes that are kept."""
        with self.reading(access) as transaction:
            return transaction.read_stored(resource_type, id)

    def vread(self, access: Access, resource_type: str, id: str, version: str) -> Stored:
        """One version; NotFound, or Gone for that of a delete."""
        with self.reading(access) as transaction:
            return transaction.vread(resource_type, id, version)

    def history(
        self,
        access: Access,
        resource_type: str,
        id: str,
        *,
        count: int = 50,
        before: int | None = None,
        span: Span = EVERY,
    ) -> tuple[Stored, ...]:
        """Versions of one resource, newest first, tombstones among them; NotFound if it never was."""
        with self.reading(access) as transaction:
            return transaction.history(resource_type, id, count=count, before=before, span=span)

    def create(
        self, access: Access, resource: Resource, if_none_exist: str | None = None, id: str | None = None
    ) -> Written:
        """Stores a new resource; with ``if_none_exist`` (a query) only if nothing matches it."""
        with self.transaction(access) as transaction:
            return transaction.create(resource, if_none_exist, id)

    def update(self, access: Access, resource: Resource, if_match: str | None = None) -> Written:
        """Stores the resource under its own id; ``if_match`` is the version that it must replace."""
        with self.transaction(access) as transaction:
            return transaction.update(resource, if_match)

    def delete(self, access: Access, resource_type: str, id: str, if_match: str | None = None) -> int | None:
        """Deletes if it is there; the tombstone's version, None when there was nothing to delete."""
        with self.transaction(access) as transaction:
            return transaction.delete(resource_type, id, if_match)

    def search(
        self, access: Access, resource_type: str, parameters: Parameters, *, lenient: bool = False
    ) -> SearchResult:
        """One page of the resources that the parameters ask for."""
        with self.reading(access) as transaction:
            return transaction.search(resource_type, parameters, lenient=lenient)

    def version_of(self, uow: UnitOfWork, tenant: int, resource_type: str, id: str, version: int) -> Resource | None:
        """A version as the outbox names it; None where it is absent or a delete."""
        found = resources.version(uow, tenant, resource_type, id, version)
        return json_format.parse(found.body) if found and not found.deleted else None

    def related(self, uow: UnitOfWork, tenant: int, resource: Resource, resource_type: str) -> tuple[Resource, ...]:
        """The resources of one type that a resource refers to by its search parameters."""
        rows = self.search_engine.indexer.rows(resource)
        targets = {str(row.values[0]).partition("/") for row in rows if row.kind == "reference"}
        wanted = sorted((kind, id) for kind, _, id in targets if kind == resource_type)
        return tuple(json_format.parse(found.body) for found in resources.by_reference(uow, tenant, wanted))


class Transaction:
    """The repository's verbs within one unit of work; writes are gathered and go out together."""

    def __init__(self, repository: Repository, uow: UnitOfWork, access: Access, *, writing: bool = False) -> None:
        self.uow = uow
        self.access = access
        #: One moment for everything that is written together.
        self.moment = instants.now()
        self._repository = repository
        self._pending: dict[tuple[str, str], Version] = {}
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
    def definitions(self) -> Definitions:
        """What the repository's resources are defined by."""
        return self._repository.definitions

    def flush(self) -> None:
        """Sends what was written so far to the database, still uncommitted."""
        if self._pending:
            versions = tuple(self._pending.values())
            self._pending = {}
            resources.write(self.uow, self.access.tenant, self.access.who, versions)

    def read(self, resource_type: str, id: str, *, lock: bool = False) -> Resource:
        """See ``Repository.read``; with ``lock`` nobody else changes it until this transaction ends."""
        return json_format.parse(self.read_stored(resource_type, id, lock=lock).body)

    def read_stored(self, resource_type: str, id: str, *, lock: bool = False) -> Stored:
        """See ``Repository.read_stored``."""
        self.access.require("read")
        self.flush()
        found = resources.current(self.uow, self.access.tenant, resource_type, id, lock=lock)
        return resources.present(found, resource_type, id)

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
        return resources.present(found, resource_type, f"{id}/_history/{version}")

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
        resolve, referring = lookup.stored(self.uow, self.access.tenant)
        return self.search_engine.matches(
            resource, resource["resourceType"], parameters, resolve=resolve, referring=referring
        )

    def create(self, resource: Resource, if_none_exist: str | None = None, id: str | None = None) -> Written:
        """See ``Repository.create``; ``id`` is for callers inside the server that chose one already."""
        self.access.require("write")
        resource_type = self._checked_type(resource)
        if if_none_exist is not None:
            found = self.matches_locked(resource_type, if_none_exist)
            if len(found) > 1:
                raise PreconditionFailed(f"Several {resource_type} resources match; If-None-Exist allows at most one.")
            if found:
                return Written(resource=json_format.parse(found[0].body), created=False, changed=False)
        return self._write(resource_type, id or instants.new_id(), resource, None)

    def update(self, resource: Resource, if_match: str | None = None) -> Written:
        """See ``Repository.update``."""
        self.access.require("write")
        resource_type = self._checked_type(resource)
        id = resource.get("id")
        if not isinstance(id, str) or not ID.fullmatch(id):
            raise BadRequest("An update needs the resource's id: 1 to 64 of A-Z a-z 0-9 - .", expression="id")
        before = self._locked(resource_type, id)
        resources.require_match(before, resource_type, id, if_match)
        return self._write(resource_type, id, resource, before)

    def delete(self, resource_type: str, id: str, if_match: str | None = None) -> int | None:
        """See ``Repository.delete``."""
        self.access.require("write")
        before = self._locked(resource_type, id)
        resources.require_match(before, resource_type, id, if_match)
        if before is None or before.deleted:
            return None
        number = before.version + 1
        self._declare(resource_type, id, None)
        self._pending[resource_type, id] = Version(
            type=resource_type, id=id, version=number, last_updated=self.moment, deleted=True, body=b"", action="delete"
        )
        return number

    def _locked(self, resource_type: str, id: str) -> Stored | None:
        """The current version, held until the end; where there is none the place is held instead."""
        if (resource_type, id) in self._pending:
            self.flush()
        tenant = self.access.tenant
        found = resources.current(self.uow, tenant, resource_type, id, lock=True)
        if found is None:
            self.uow.lock("resource", tenant, resource_type, id)
            found = resources.current(self.uow, tenant, resource_type, id, lock=True)
        return found

    def _checked_type(self, resource: Resource) -> str:
        resource_type = resource.get("resourceType")
        if not isinstance(resource_type, str) or not self._repository.definitions.is_resource(resource_type):
            raise BadRequest("resourceType must name a resource type of FHIR R4.", expression="resourceType")
        return resource_type

    def _write(self, resource_type: str, id: str, resource: Resource, before: Stored | None) -> Written:
        previous = json_format.parse(before.body) if before is not None and not before.deleted else None
        number = 1 if before is None else before.version + 1
        stamped = stamp.stamped(resource, id, number, self.moment)
        if self._repository.prepare is not None:
            stamped = self._repository.prepare(self, stamped, previous)
        if previous is not None and stamp.content(previous) == stamp.content(stamped):
            return Written(resource=previous, created=False, changed=False)
        self._validate(stamped, previous)
        self._declare(resource_type, id, stamped)
        rows = tuple(self.search_engine.indexer.rows(stamped))
        if (resource_type, id) in self._pending:
            raise Conflict(f"{resource_type}/{id} is written twice in one transaction.")
        self._pending[resource_type, id] = Version(
            type=resource_type, id=id, version=number, last_updated=self.moment, deleted=False,
            body=json_format.write(stamped), action="create" if previous is None else "update", rows=rows,
        )  # fmt: skip
        for follow in self._repository.followers:
            follow(self, stamped, previous)
        return Written(resource=stamped, created=previous is None, changed=True)

    def _declare(self, resource_type: str, id: str, resource: Resource | None) -> None:
        """A SearchParameter says what is searched by from now on."""
        if resource_type == DECLARING:
            self._repository.search_engine.declarations.change(self.uow, self.access.tenant, id, resource)
            self._engine = None

    def _validate(self, resource: Resource, previous: Resource | None) -> None:
        if self._repository.validate is not None:
            issues = tuple(self._repository.validate(self._repository.definitions, resource))
            if any(issue.severity in ("error", "fatal") for issue in issues):
                raise Unprocessable("The resource breaks rules of FHIR R4.", issues=issues)
        for check in self._repository.checks:
            check(self.access, resource, previous)
