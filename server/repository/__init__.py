"""The one door for FHIR resources: create read vread history update delete search, and transaction() around them.

A write, its index rows, its audit row and its row in the outbox commit together or not at all. Bodies are kept as
bytes; every version is kept; a delete is a version. https://hl7.org/fhir/R4/http.html
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from server.fhir import json_format
from server.fhir.definitions import Definitions
from server.fhir.profile import ProfileCache
from server.repository.transaction import Follower, Prepare, Transaction
from server.repository.written import Check, Parameters, Resource, Validate, Written
from server.search.find import Search, SearchResult
from server.security.access import Access
from server.store import resources
from server.store.database import Database, UnitOfWork
from server.store.history import EVERY, Span
from server.store.resources import Stored

__all__ = ["Check", "Follower", "Parameters", "Prepare", "Repository", "Resource", "Transaction", "Validate", "Written"]


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
        self.profiles = ProfileCache(definitions)
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
            transaction.finish()

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
