"""A query's meaning for one resource in memory, as subscriptions ask it: the same as ``plan``, by property test."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from server.errors import BadRequest
from server.search import compartment, date, number, position, prefix, quantity, reference, string, token, uri, words
from server.search.index import Indexer, contained_in
from server.search.numbers import number as parameter_number
from server.search.query import (
    AllOf,
    AnyOf,
    Chain,
    Composite,
    Contains,
    Criterion,
    Has,
    Hierarchy,
    Ids,
    LastUpdated,
    Missing,
    Not,
    OfType,
    Operand,
    Query,
    Values,
    Within,
)

Match = Callable[[Any, tuple[Any, ...]], bool]
#: What a reference ("Type/id") points to; None when there is nothing.
Resolve = Callable[[str], dict[str, Any] | None]
#: The resources of a type that refer to one ("Type/id") by a reference parameter: (type, parameter, target).
Referring = Callable[[str, str, str], Iterable[dict[str, Any]]]
MATCHES: Mapping[str, Match] = {
    "token": token.matches,
    "string": string.matches,
    "reference": reference.matches,
    "date": date.matches,
    "number": number.matches,
    "quantity": quantity.matches,
    "uri": uri.matches,
    "position": position.matches,
    "words": words.matches,
}


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A resource with its index rows, made on first use."""

    resource: dict[str, Any]
    indexer: Indexer = field(repr=False)
    resolve: Resolve | None = field(default=None, repr=False)
    referring: Referring | None = field(default=None, repr=False)
    #: Whether it is contained in another resource: nothing refers to it.
    inside: bool = False

    @cached_property
    def rows(self) -> dict[tuple[str, int], list[tuple[int, tuple[Any, ...]]]]:
        """(index table, parameter number) -> (item, values)."""
        found: dict[tuple[str, int], list[tuple[int, tuple[Any, ...]]]] = {}
        for row in self.indexer.rows(self.resource):
            found.setdefault((row.kind, row.parameter), []).append((row.item, row.values))
        return found

    def values(
        self, criterion: Values | Composite | Missing | Chain | Hierarchy, kind: str, suffix: str = ""
    ) -> list[tuple[int, Any]]:
        """The rows of a criterion's parameter."""
        own = self.resource["resourceType"]
        types = criterion.resource_types if isinstance(criterion, Values | Missing) else (criterion.resource_type,)
        return self.rows.get((kind, parameter_number(own, criterion.code, suffix)), []) if own in types else []

    def contained(self, target: str = "") -> Iterator[tuple[str, "Candidate"]]:
        """The resources contained in this one with their types, all or the one that a reference points to."""
        for _, resource in contained_in(self.resource):
            if target in ("", f"#{resource.get('id')}"):
                yield resource["resourceType"], replace(self, resource=resource, inside=True)

    def follow(self, target: str, code: str) -> "Candidate | None":
        """What a reference points to; BadRequest where nothing can be looked up."""
        if self.resolve is None:
            raise BadRequest(f"The references of '{code}' can't be followed here.", expression=code)
        resource = self.resolve(target)
        if resource is None:
            return None
        return replace(self, resource=resource, inside=False)

    def referred(self, criterion: Has) -> "Iterator[Candidate]":
        """The resources that refer to this one; BadRequest where nothing can be looked up."""
        if self.inside:
            return
        if self.referring is None:
            raise BadRequest(f"What refers by '{criterion.code}' can't be looked up here.", expression=criterion.code)
        target = f"{self.resource['resourceType']}/{self.resource.get('id')}"
        for resource in self.referring(criterion.source_type, criterion.code, target):
            yield replace(self, resource=resource, inside=False)


def holds(query: Query, candidate: Candidate) -> bool:
    """Whether a resource is what the query asks for."""
    of_type = not query.resource_types or candidate.resource["resourceType"] in query.resource_types
    return of_type and all(satisfied(each, candidate) for each in query.criteria)


def satisfied(criterion: Criterion, candidate: Candidate) -> bool:
    """Whether one criterion holds for a resource."""
    if isinstance(criterion, LastUpdated):
        return any(_updated(operand, candidate.resource) for operand in criterion.operands)
    if isinstance(criterion, Ids):
        return (candidate.resource.get("id") in criterion.ids) != criterion.negated
    if isinstance(criterion, OfType):
        return candidate.resource["resourceType"] in criterion.resource_types
    if isinstance(criterion, AllOf):
        return all(satisfied(each, candidate) for each in criterion.criteria)
    if isinstance(criterion, AnyOf):
        return any(satisfied(each, candidate) for each in criterion.criteria)
    if isinstance(criterion, Not):
        return not satisfied(criterion.criterion, candidate)
    if isinstance(criterion, Contains):
        return any(meets(criterion, kind, one) for kind, one in candidate.contained())
    return _indexed(criterion, candidate)


def meets(criterion: Contains, kind: str, contained: Candidate) -> bool:
    """Whether a contained resource is what is looked for."""
    return kind == criterion.resource_type and all(satisfied(each, contained) for each in criterion.criteria)


def _indexed(criterion: Values | Composite | Missing | Chain | Has | Hierarchy | Within, candidate: Candidate) -> bool:
    """A criterion that the index rows answer."""
    if isinstance(criterion, Values):
        return _any_value(criterion, candidate) != criterion.negated
    if isinstance(criterion, Composite):
        return any(_together(criterion, operands, candidate) for operands in criterion.alternatives)
    if isinstance(criterion, Missing):
        present = any(candidate.values(criterion, kind, suffix) for kind, suffix in criterion.places)
        return present != criterion.missing
    if isinstance(criterion, Chain):
        return _chained(criterion, candidate)
    if isinstance(criterion, Hierarchy):
        return _in_hierarchy(criterion, candidate)
    if isinstance(criterion, Within):
        return compartment.matches(criterion, candidate.resource, candidate.rows)
    return _referred(criterion, candidate)


def _any_value(criterion: Values, candidate: Candidate) -> bool:
    """Whether one value is one of the operands, or for ``unequal`` none of those that are looked for beside it."""
    groups: dict[tuple[str, str], list[Operand]] = {}
    for operand in criterion.operands:
        groups.setdefault((operand.kind, operand.suffix), []).append(operand)
    return any(
        any(MATCHES[kind](operand, values) for operand in operands) != criterion.unequal
        for (kind, suffix), operands in groups.items()
        for _, values in candidate.values(criterion, kind, suffix)
    )


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
    inner = dict(criterion.targets)
    for _, (target,) in candidate.values(criterion, "reference", reference.CONTAINED):
        if any(satisfied(inner[kind], one) for kind, one in candidate.contained(target) if kind in inner):
            return True
    for _, (target,) in candidate.values(criterion, "reference"):
        kind = target.partition("/")[0]
        if kind in inner:
            found = candidate.follow(target, criterion.code)
            if found is not None and satisfied(inner[kind], found):
                return True
    return False


def _in_hierarchy(criterion: Hierarchy, candidate: Candidate) -> bool:
    """Whether a reference points to what stands above or below, or to the thing itself."""
    targets = {target for _, (target,) in candidate.values(criterion, "reference")}
    if criterion.above:
        return any(targets & _upwards(criterion, start, candidate) for start in criterion.targets)
    return any(_upwards(criterion, target, candidate) & set(criterion.targets) for target in targets)


def _upwards(criterion: Hierarchy, start: str, candidate: Candidate) -> set[str]:
    """A place in a hierarchy and everything above it."""
    found, fresh = {start}, [start]
    while fresh:
        here = candidate.follow(fresh.pop(), criterion.code)
        if here is None or here.resource["resourceType"] != criterion.target_type:
            continue
        rows = here.rows.get(("reference", parameter_number(criterion.target_type, criterion.parent)), [])
        further = {target for _, (target,) in rows} - found
        found |= further
        fresh += further
    return found


def _referred(criterion: Has, candidate: Candidate) -> bool:
    """Whether something that refers to the resource meets the criterion."""
    if criterion.resource_type not in ("", candidate.resource["resourceType"]):
        return False
    return any(satisfied(criterion.criterion, each) for each in candidate.referred(criterion))
