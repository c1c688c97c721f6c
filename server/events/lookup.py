"""What a resource refers to, and whether a search would find it."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

from server.fhir import json_format
from server.search import match
from server.search.find import Search
from server.search.query import Query
from server.store import resources
from server.store.database import UnitOfWork

Resource = dict[str, Any]
Parameters = Sequence[tuple[str, str]]
#: Seconds for which a query is not read anew: value sets that it names may change.
_FRESH = 5.0
_MOST_QUERIES = 20_000


def related_of(uow: UnitOfWork, tenant: int, resource: Resource, type: str) -> list[Resource]:
    """The resources of a type that a resource refers to, as they stand now."""
    prefix = f"{type}/"
    ids = {reference.removeprefix(prefix).partition("/")[0] for reference in _references(resource, prefix)}
    found = resources.by_reference(uow, tenant, [(type, id) for id in sorted(ids)])
    return [json_format.parse(stored.body) for stored in found]


class Queries:
    """The queries that topics and subscriptions ask again and again, read once in a while."""

    def __init__(self, search: Search) -> None:
        self._search = search
        self._known: dict[tuple[Search, int, str, Parameters], tuple[float, Query]] = {}

    def engine(self, uow: UnitOfWork, tenant: int) -> Search:
        """What a tenant's resources are held against now, the parameters that it declared among it."""
        return self._search.declarations.matching(uow, tenant)

    def read(self, engine: Search, uow: UnitOfWork, tenant: int, resource_type: str, parameters: Parameters) -> Query:
        """The query; raises BadRequest where it can't be asked (any more)."""
        key = (engine, tenant, resource_type, tuple(parameters))
        since, query = self._known.get(key, (0.0, None))
        now = time.monotonic()
        if query is None or now - since > _FRESH:
            known = engine.terminology(uow, tenant, kept=True)
            query = engine.read(resource_type, parameters, terminology=known)
            if len(self._known) >= _MOST_QUERIES:
                self._known = {}
            self._known[key] = now, query
        return query


class Lookup:
    """What one pass of the dispatcher asks of resources; each is indexed once, however many ask for it."""

    def __init__(self, queries: Queries, engine: Search, uow: UnitOfWork, tenant: int) -> None:
        """``engine`` is that of ``Queries.engine``."""
        self._queries = queries
        self._engine = engine
        self._uow = uow
        self._tenant = tenant
        #: By the identity of the resource, which is kept with it.
        self._candidates: dict[int, match.Candidate] = {}
        self._related: dict[tuple[int, str], list[Resource]] = {}

    def matches(self, resource: Resource, parameters: Parameters) -> bool:
        """Whether a search of its type with the parameters would find the resource."""
        query = self._queries.read(self._engine, self._uow, self._tenant, resource["resourceType"], parameters)
        return match.holds(query, self._candidate(resource))

    def related(self, resource: Resource, type: str) -> list[Resource]:
        """See ``related_of``."""
        self._candidate(resource)
        key = (id(resource), type)
        if key not in self._related:
            self._related[key] = related_of(self._uow, self._tenant, resource, type)
        return self._related[key]

    def _candidate(self, resource: Resource) -> match.Candidate:
        found = self._candidates.get(id(resource))
        if found is None:
            found = match.Candidate(resource=resource, indexer=self._engine.indexer, resolve=self._resolve)
            self._candidates[id(resource)] = found
        return found

    def _resolve(self, target: str) -> Resource | None:
        type, _, id = target.partition("/")
        found = resources.by_reference(self._uow, self._tenant, [(type, id)])
        return json_format.parse(found[0].body) if found else None


def _references(value: Any, prefix: str) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _references(item, prefix)
    elif isinstance(value, dict):
        reference = value.get("reference")
        if isinstance(reference, str) and reference.startswith(prefix):
            yield reference
        for item in value.values():
            yield from _references(item, prefix)
