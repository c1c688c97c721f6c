"""Runs queries: a page of matches with what they include. https://hl7.org/fhir/R4/search.html"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from psycopg.errors import QueryCanceled
from sqlalchemy.exc import DBAPIError

from server.errors import TooLarge
from server.fhir.definitions import Definitions
from server.search import include, match, plan
from server.search.compartment import within
from server.search.index import Indexer
from server.search.query import Query
from server.search.read import cursor, position, read
from server.store.database import UnitOfWork
from server.store.resources import Stored

#: Longest statement of a search.
SLOWEST_MILLISECONDS = 20_000


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchResult:
    """One page of a search."""

    query: Query
    matches: tuple[Stored, ...]
    #: Found by _include and _revinclude, none of which is a match.
    included: tuple[Stored, ...] = ()
    #: Of all pages; None where it was not asked for and is not known anyway.
    total: int | None = None
    #: Cursor of the next page; empty on the last one.
    next: str = ""


class Search:
    """Search under one set of definitions."""

    def __init__(self, definitions: Definitions, base_url: str = "") -> None:
        """``base_url``: absolute references below it are taken as local ones."""
        self.definitions = definitions
        self.base_url = base_url
        self.indexer = Indexer(definitions, base_url)

    def read(
        self,
        resource_type: str,
        parameters: Sequence[tuple[str, str]],
        *,
        lenient: bool = False,
        now: datetime | None = None,
        compartment: tuple[str, str] | None = None,
    ) -> Query:
        """The query that URL parameters make, see ``server.search.read``, within a (type, id)'s compartment."""
        query = read(self.definitions, resource_type, parameters, lenient=lenient, base_url=self.base_url, now=now)
        if compartment is None:
            return query
        inside = within(self.definitions, *compartment, resource_type)
        return replace(query, criteria=(inside, *query.criteria))

    def matches(
        self,
        resource: dict[str, Any],
        resource_type: str,
        parameters: Sequence[tuple[str, str]],
        *,
        resolve: match.Resolve | None = None,
    ) -> bool:
        """Whether a resource in memory is what the parameters ask for; ``resolve`` is needed for chains only."""
        query = self.read(resource_type, parameters)
        candidate = match.Candidate(resource=resource, indexer=self.indexer, resolve=resolve)
        return match.holds(query, candidate)

    def find(self, uow: UnitOfWork, tenant: int, query: Query) -> SearchResult:
        """One page of a query; TooLarge when it takes the database too long."""
        uow.driver.execute(f"set local statement_timeout = {SLOWEST_MILLISECONDS}")
        try:
            return self._find(uow, tenant, query)
        except (DBAPIError, QueryCanceled) as error:
            if isinstance(error, DBAPIError) and not isinstance(error.orig, QueryCanceled):
                raise
            seconds = SLOWEST_MILLISECONDS // 1000
            raise TooLarge(f"The search took longer than {seconds} s; make it narrower.") from error

    def _find(self, uow: UnitOfWork, tenant: int, query: Query) -> SearchResult:
        if query.summary == "count" or query.count == 0:
            return SearchResult(query=query, matches=(), total=self.count(uow, tenant, query))
        after = position(query.cursor) if query.cursor else None
        rows = uow.execute(plan.page(tenant, query, after)).all()
        found = tuple(Stored(**dict(zip(plan.ROW, row, strict=False))) for row in rows[: query.count])
        more = len(rows) > query.count
        last = rows[query.count - 1] if more else None
        total = len(found) if after is None and not more else None
        if total is None and query.total != "none":
            total = self.count(uow, tenant, query)
        return SearchResult(
            query=query,
            matches=found,
            included=include.included(uow, tenant, self.definitions, query.includes, found),
            total=total,
            next="" if last is None else cursor([*last[len(plan.ROW) :], found[-1].key]),
        )

    def count(self, uow: UnitOfWork, tenant: int, query: Query) -> int:
        """How many resources a query finds."""
        return int(uow.execute(plan.total(tenant, query)).scalar_one())
