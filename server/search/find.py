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
from server.search import cursor, include, match, plan
from server.search.codes import StoredTerminology, Terminology
from server.search.compartment import within
from server.search.index import Indexer
from server.search.query import AnyOf, Ids, Query, Values
from server.search.read import read
from server.search.reference import LITERAL
from server.search.sight import Moment, Sight
from server.search.uri import Operand as Uri
from server.store.database import UnitOfWork
from server.store.resources import Stored, by_reference

#: Longest statement of a search.
SLOWEST_MILLISECONDS = 2_000
#: What PostgreSQL ends a statement with that takes too long, or more room for its temporary files than it may.
_TOO_COSTLY = (QueryCanceled, ConfigurationLimitExceeded, StatementTooComplex)
#: Versions of one value set or code system that are looked through.
_MOST_VERSIONS = 20


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
        terminology: Terminology | None = None,
    ) -> Query:
        """The query that URL parameters make, see ``server.search.read``, within a (type, id)'s compartment."""
        query = read(
            self.definitions, resource_type, parameters, lenient=lenient, base_url=self.base_url, now=now,
            terminology=terminology,
        )  # fmt: skip
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
            found = self._find(uow, tenant, query)
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
            uow.driver.execute("set local statement_timeout to default")
        return found

    def _find(self, uow: UnitOfWork, tenant: int, query: Query) -> SearchResult:
        place = cursor.read(query.cursor, datetime.now(UTC)) if query.cursor else None
        sight = Sight(tenant=tenant, moment=None if place is None else place.moment)
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
            included=include.included(uow, tenant, self.definitions, query.includes, found),
            total=total,
            next=further,
        )

    def _parts(self, uow: UnitOfWork, tenant: int, query: Query, found: Sequence[Stored]) -> dict[int, Parts]:
        """What of the containers is to be given in their place."""
        wanted = query.contained
        if wanted is None:
            return {}

        def resolve(target: str) -> dict[str, Any] | None:
            kind, _, id = target.partition("/")
            there = by_reference(uow, tenant, [(kind, id)])
            return json_format.parse(there[0].body) if there else None

        places: dict[int, Parts] = {}
        for place, one in enumerate(found):
            whole = match.Candidate(resource=json_format.parse(one.body), indexer=self.indexer, resolve=resolve)
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

    def terminology(self, uow: UnitOfWork, tenant: int) -> Terminology:
        """The standard's value sets and those that the tenant's resources define."""

        def fetch(kind: str, url: str) -> Mapping[str, Any] | None:
            literal = LITERAL.fullmatch(url)
            criterion: Ids | Values = Values(
                resource_types=(kind,), code="url", operands=(Uri(how="equal", uri=url.partition("|")[0]),)
            )
            if literal and literal["type"] == kind and literal["base"] in (None, f"{self.base_url}/"):
                criterion = Ids(ids=(literal["id"],))
            query = Query(resource_types=(kind,), criteria=(criterion,), count=_MOST_VERSIONS)
            found = [json_format.parse(one.body) for one in self._find(uow, tenant, query).matches]
            version = url.partition("|")[2]
            return next((one for one in found if not version or one.get("version") == version), None)

        return StoredTerminology(self.definitions, fetch)


def _now(uow: UnitOfWork) -> Moment:
    row = uow.driver.execute("select pg_current_snapshot()::text").fetchone()
    return Moment(snapshot=str(row[0]) if row else "", at=datetime.now(UTC))
