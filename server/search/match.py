"""A query's meaning for one resource in memory, as subscriptions ask it: the same as ``plan``, by property test."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from server.errors import BadRequest
from server.search import date, number, position, prefix, quantity, reference, string, token, uri
from server.search.index import Indexer
from server.search.numbers import number as parameter_number
from server.search.query import (
    AnyOf,
    Chain,
    Composite,
    Criterion,
    Has,
    Ids,
    LastUpdated,
    Missing,
    Operand,
    Query,
    Values,
)

Match = Callable[[Any, tuple[Any, ...]], bool]
#: What a reference ("Type/id") points to; None when there is nothing.
Resolve = Callable[[str], dict[str, Any] | None]
MATCHES: Mapping[str, Match] = {
    "token": token.matches,
    "string": string.matches,
    "reference": reference.matches,
    "date": date.matches,
    "number": number.matches,
    "quantity": quantity.matches,
    "uri": uri.matches,
    "position": position.matches,
}


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A resource with its index rows, made on first use."""

    resource: dict[str, Any]
    indexer: Indexer = field(repr=False)
    resolve: Resolve | None = field(default=None, repr=False)

    @cached_property
    def rows(self) -> dict[tuple[str, int], list[tuple[int, tuple[Any, ...]]]]:
        """(index table, parameter number) -> (item, values)."""
        found: dict[tuple[str, int], list[tuple[int, tuple[Any, ...]]]] = {}
        for row in self.indexer.rows(self.resource):
            found.setdefault((row.kind, row.parameter), []).append((row.item, row.values))
        return found

    def values(self, criterion: Values | Composite | Missing | Chain, kind: str, suffix: str) -> list[tuple[int, Any]]:
        """The rows of a criterion's parameter."""
        return self.rows.get((kind, parameter_number(criterion.resource_type, criterion.code, suffix)), [])


def holds(query: Query, candidate: Candidate) -> bool:
    """Whether a resource is what the query asks for."""
    return candidate.resource["resourceType"] == query.resource_type and all(
        satisfied(each, candidate) for each in query.criteria
    )


def satisfied(criterion: Criterion, candidate: Candidate) -> bool:
    """Whether one criterion holds for a resource."""
    if isinstance(criterion, Values):
        return any(_found(criterion, operand, candidate) for operand in criterion.operands) != criterion.negated
    if isinstance(criterion, Composite):
        return any(_together(criterion, operands, candidate) for operands in criterion.alternatives)
    if isinstance(criterion, Missing):
        present = any(candidate.values(criterion, kind, suffix) for kind, suffix in criterion.places)
        return present != criterion.missing
    if isinstance(criterion, Ids):
        return (candidate.resource.get("id") in criterion.ids) != criterion.negated
    if isinstance(criterion, LastUpdated):
        return any(_updated(operand, candidate.resource) for operand in criterion.operands)
    if isinstance(criterion, Chain):
        return _chained(criterion, candidate)
    if isinstance(criterion, AnyOf):
        return any(satisfied(each, candidate) for each in criterion.criteria)
    return _refuse_has(criterion)


def _found(criterion: Values, operand: Operand, candidate: Candidate) -> bool:
    rows = candidate.values(criterion, operand.kind, operand.suffix)
    return any(MATCHES[operand.kind](operand, values) for _, values in rows)


def _together(criterion: Composite, operands: tuple[Operand, ...], candidate: Candidate) -> bool:
    """Whether some one item has a match for every component."""
    items: set[int] | None = None
    for operand in operands:
        rows = candidate.values(criterion, operand.kind, operand.suffix)
        here = {item for item, values in rows if MATCHES[operand.kind](operand, values)}
        items = here if items is None else items & here
    return bool(items)


def _updated(operand: date.Operand, resource: dict[str, Any]) -> bool:
    found = date.bounds(str((resource.get("meta") or {}).get("lastUpdated", "")))
    return found is not None and prefix.matches(operand.prefix, found[0], found[0], operand.low, operand.high)


def _chained(criterion: Chain, candidate: Candidate) -> bool:
    if candidate.resolve is None:
        raise BadRequest(f"The chain over '{criterion.code}' can't be followed here.", expression=criterion.code)
    inner = dict(criterion.targets)
    for _, (target,) in candidate.values(criterion, "reference", ""):
        kind = target.partition("/")[0]
        resource = candidate.resolve(target) if kind in inner else None
        if resource is not None and satisfied(
            inner[kind],
            Candidate(
                resource=resource,
                indexer=candidate.indexer,
                resolve=candidate.resolve,
            ),
        ):
            return True
    return False


def _refuse_has(criterion: Has) -> bool:
    raise BadRequest(f"_has:{criterion.source_type} needs the database and can't be asked of one resource.")
