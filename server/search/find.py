"""Runs queries: a page of matches with what they include. https://hl7.org/fhir/R4/search.html"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from psycopg.errors import ConfigurationLimitExceeded, QueryCanceled, StatementTooComplex
from sqlalchemy.exc import DBAPIError

from server.errors import TooLarge
from server.fhir import json_format
from server.fhir.definitions import Definitions
from server.search import cursor, include, lookup, match, plan
from server.search.at_hand import AtHand
from server.search.codes import StoredTerminology, Terminology
from server.search.compartment import types_of, within
from server.search.declarations import Declarations
from server.search.explain import Explanation, explain
from server.search.index import Indexer
from server.search.query import AnyOf, Query
from server.search.read import read
from server.search.reference import LITERAL
from server.search.shelf import Shelf
from server.search.sight import Moment, Sight
from server.store.database import UnitOfWork
from server.store.resources import Stored

#: Longest statement of a search.
SLOWEST_MILLISECONDS = 2_000
_BOUNDED = (
    f"set local statement_timeout = {SLOWEST_MILLISECONDS}; set local enable_material = off; "
    "set local plan_cache_mode = force_custom_plan"
)
_UNBOUNDED = (
    "set local statement_timeout to default; set local enable_material to default; set local plan_cache_mode to default"
)
#: What PostgreSQL ends a statement with that takes too long, or more room for its temporary files than it may.
_TOO_COSTLY = (QueryCanceled, ConfigurationLimitExceeded, StatementTooComplex)


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """The matches among what one resource contains."""

    inside: tuple[dict[str, Any], ...]
    #: Whether it is a match itself.
    itself: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchResult:
    """One page of a search."""

    query: Query
    matches: tuple[Stored, ...]
    #: By the match's place: what it contains is given in its place.
    parts: Mapping[int, Parts] = field(default_factory=dict)
    #: Found by _include and _revinclude, none of which is a match.
    included: tuple[Stored, ...] = ()
    #: Of all pages; None where it was not asked for and is not known anyway.
    total: int | None = None
    #: Cursor of the next page; empty on the last one.
    next: str = ""
    #: How it would be carried out, where that was asked for instead.
    explanation: Explanation | None = None


class Search:
    """Search under one set of definitions."""

    def __init__(self, definitions: Definitions, base_url: str = "") -> None:
        """``base_url``: absolute references below it are taken as local ones."""
        self.definitions = definitions
        self.base_url = base_url
        self.indexer = Indexer(definitions, base_url)
        self._shelf = Shelf()
        #: The engines of tenants that have search parameters of their own; each of those has none further.
        self.declarations = Declarations(self, lambda other: Search(other, base_url))

    def read(
        self,
        resource_type: str,
        parameters: Sequence[tuple[str, str]],
        *,
        lenient: bool = False,
        now: datetime | None = None,
        compartment: tuple[str, str] | None = None,
        terminology: Terminology | None = None,
    ) -> Query:
        """The query that URL parameters make, see ``server.search.read``, within a (type, id)'s compartment."""
        query = read(
            self.definitions, resource_type, parameters, lenient=lenient, base_url=self.base_url, now=now,
            terminology=terminology,
        )  # fmt: skip
        if compartment is None:
            return query
        types = (resource_type,) if resource_type else query.resource_types or self.definitions.resource_types
        inside = within(self.definitions, *compartment, types)
        if not resource_type:
            query = replace(query, resource_types=types_of(inside))
        return replace(query, criteria=(inside, *query.criteria))

    def matches(
        self,
        resource: dict[str, Any],
        resource_type: str,
        parameters: Sequence[tuple[str, str]],
        *,
        resolve: match.Resolve | None = None,
        referring: match.Referring | None = None,
        terminology: Terminology | None = None,
    ) -> bool:
        """Whether a resource in memory is what the parameters ask for.

        ``resolve`` is needed for chains only, ``referring`` for _has and _list; see ``lookup``.
        """
        query = self.read(resource_type, parameters, terminology=terminology)
        candidate = match.Candidate(resource=resource, indexer=self.indexer, resolve=resolve, referring=referring)
        return match.holds(query, candidate)

    def find(self, uow: UnitOfWork, tenant: int, query: Query, *, explained: str = "false") -> SearchResult:
        """One page of a query, or with ``explained`` its plan; TooLarge when it takes the database too long."""
        # The planner takes what a chain finds for one row, and would walk over all of it for each row of another list;
        # without keeping such lists at hand that looks as dear as it is, and it joins by index or hash.
        # And how much is found hangs on what is asked for, so that no plan is kept for another's values.
        uow.driver.execute(_BOUNDED)
        try:
            found = self._find(uow, tenant, query, explained)
        except (DBAPIError, *_TOO_COSTLY) as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            if not isinstance(cause, _TOO_COSTLY):
                raise
            what = (
                f"longer than {SLOWEST_MILLISECONDS // 1000} s" if isinstance(cause, QueryCanceled) else "too much room"
            )
            raise TooLarge(f"The search takes {what}; make it narrower.") from error
        if not uow.driver.read_only:
            # What else this transaction does may have to wait for others.
            uow.driver.execute(_UNBOUNDED)
        return found

    def _find(self, uow: UnitOfWork, tenant: int, query: Query, explained: str = "false") -> SearchResult:
        place = cursor.read(query.cursor, datetime.now(UTC)) if query.cursor else None
        sight = Sight(tenant=tenant, moment=None if place is None else place.moment)
        if explained != "false":
            return SearchResult(query=query, matches=(), explanation=_explanation(uow, sight, query, place, explained))
        if query.summary == "count" or query.count == 0:
            return SearchResult(query=query, matches=(), total=self._total(uow, sight, query))
        rows = uow.execute(plan.page(sight, query, None if place is None else place.values)).all()
        found = tuple(Stored(**dict(zip(plan.ROW, row, strict=False))) for row in rows[: query.count])
        more = len(rows) > query.count
        total = len(found) if place is None and not more else None
        if total is None and query.total != "none":
            total = self._total(uow, sight, query)
        further = ""
        if more:
            values = [*rows[query.count - 1][len(plan.ROW) :], found[-1].key]
            further = cursor.written(_now(uow) if place is None else place.moment, values)
        return SearchResult(
            query=query,
            matches=found,
            parts=self._parts(uow, tenant, query, found),
            included=include.included(uow, sight, self.definitions, query.includes, found),
            total=total,
            next=further,
        )

    def _parts(self, uow: UnitOfWork, tenant: int, query: Query, found: Sequence[Stored]) -> dict[int, Parts]:
        """What of the containers is to be given in their place."""
        wanted = query.contained
        if wanted is None:
            return {}
        resolve, referring = lookup.stored(uow, tenant)
        places: dict[int, Parts] = {}
        for place, one in enumerate(found):
            whole = match.Candidate(
                resource=json_format.parse(one.body), indexer=self.indexer, resolve=resolve, referring=referring
            )
            inside = (each.resource for kind, each in whole.contained() if match.meets(wanted, kind, each))
            itself = any(
                isinstance(each, AnyOf) and match.satisfied(each.criteria[0], whole) for each in query.criteria[-1:]
            )
            places[place] = Parts(inside=tuple(inside), itself=itself)
        return places

    def count(self, uow: UnitOfWork, tenant: int, query: Query) -> int:
        """How many resources a query finds."""
        return self._total(uow, Sight(tenant=tenant), query)

    def _total(self, uow: UnitOfWork, sight: Sight, query: Query) -> int:
        return int(uow.execute(plan.total(sight, query)).scalar_one())

    def at_hand(self, uow: UnitOfWork, tenant: int) -> AtHand:
        """The code systems and value sets that a transaction sees."""
        return AtHand(self.definitions, self._shelf, uow, tenant)

    def terminology(self, uow: UnitOfWork, tenant: int, *, kept: bool = False) -> Terminology:
        """The same, as token search asks it; ``kept`` for a query that outlives the transaction."""

        def local(kind: str, address: str) -> str | None:
            literal = LITERAL.fullmatch(address)
            here = literal and literal["type"] == kind and literal["base"] in (None, f"{self.base_url}/")
            return literal["id"] if literal and here else None

        return StoredTerminology(self.at_hand(uow, tenant), local, kept=kept)


def _explanation(uow: UnitOfWork, sight: Sight, query: Query, place: cursor.Position | None, how: str) -> Explanation:
    counts = query.summary == "count" or query.count == 0
    page = plan.total(sight, query) if counts else plan.page(sight, query, None if place is None else place.values)
    return explain(uow, query, page, analyze=how == "analyze")


def _now(uow: UnitOfWork) -> Moment:
    row = uow.driver.execute("select pg_current_snapshot()::text").fetchone()
    return Moment(snapshot=str(row[0]) if row else "", at=datetime.now(UTC))
