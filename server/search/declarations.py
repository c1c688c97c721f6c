"""Search parameters by declaration: which a tenant has, and the job that builds their indexes.

A declaration is searched by when every stored resource is indexed by it; what is written meanwhile is entered with the
resource, in its transaction. The job walks over what is stored, a batch in a transaction, and goes on where it stopped.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from server.fhir import json_format
from server.fhir.definitions import Definitions, SearchParameter
from server.search.declared import facts_of, numbers, parameters_of, types_of
from server.search.index import Indexer
from server.store import index_rows
from server.store import search_parameters as store
from server.store.database import Database, UnitOfWork
from server.store.search_parameters import Declared

#: The resource type that declares: https://hl7.org/fhir/R4/searchparameter.html
RESOURCE = "SearchParameter"
#: Resources that the job looks at in one transaction.
BATCH = 200


class Engine(Protocol):
    """What searches under one set of definitions."""

    @property
    def definitions(self) -> Definitions:
        """What it searches by."""

    @property
    def indexer(self) -> Indexer:
        """What makes its index rows."""


E = TypeVar("E", bound=Engine)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Known(Generic[E]):
    stamp: str
    engine: E


class Declarations(Generic[E]):
    """The engines of all tenants; one that is out of date is found out by the first statement of each transaction."""

    def __init__(self, standard: E, make: Callable[[Definitions], E]) -> None:
        """``standard`` has the standard's parameters only, ``make`` an engine for others."""
        self._standard = standard
        self._make = make
        self._known: dict[int, _Known[E]] = {}
        self._matching: dict[int, _Known[E]] = {}

    def engine(self, uow: UnitOfWork, tenant: int, *, writing: bool) -> E:
        """What a tenant searches by now; who writes holds new declarations off until the transaction ends."""
        stamp = store.stamp(uow, tenant, writing=writing)
        if not stamp:
            return self._standard
        known = self._known.get(tenant)
        if known is None or known.stamp != stamp:
            definitions = extended(self._standard.definitions, store.declared(uow, tenant))
            known = self._known[tenant] = _Known(stamp=stamp, engine=self._make(definitions))
        return known.engine

    def matching(self, uow: UnitOfWork, tenant: int) -> E:
        """What resources in memory are held against: every declaration counts from its commit, indexed or not."""
        stamp = store.stamp(uow, tenant, writing=False)
        if not stamp:
            return self._standard
        known = self._matching.get(tenant)
        if known is None or known.stamp != stamp:
            definitions = extended(self._standard.definitions, store.declared(uow, tenant), indexed=False)
            known = self._matching[tenant] = _Known(stamp=stamp, engine=self._make(definitions))
        return known.engine

    def change(self, uow: UnitOfWork, tenant: int, id: str, resource: dict[str, Any] | None) -> None:
        """Takes over what a SearchParameter declares now, None when it is deleted; Unprocessable when it can't be."""
        # Two never declare one name at the same time.
        uow.lock(RESOURCE, tenant)
        standing = store.declared(uow, tenant)
        before = next((one for one in standing if one.id == id), None)
        others = extended(self._standard.definitions, [one for one in standing if one.id != id])
        facts = facts_of(others, resource) if resource is not None else None
        old = before.facts if before is not None else None
        if facts is None:
            if old is not None:
                store.withdraw(uow, tenant, id, sorted(numbers(others, old)))
        elif before is None or not _same(facts, old):
            store.declare(uow, tenant, id, facts, sorted(numbers(others, old)) if old is not None else [])


def extended(definitions: Definitions, declared: list[Declared], *, indexed: bool = True) -> Definitions:
    """The definitions with what is declared, ready or not; without ``indexed`` all of it is taken for ready."""
    added: dict[str, dict[str, SearchParameter]] = {}
    for one in declared:
        if one.facts is not None:
            for base, parameter in parameters_of(one.facts, _pending(one) if indexed else "").items():
                added.setdefault(base, {})[parameter.code] = parameter
    return definitions.with_parameters(added) if added else definitions


def index_next(database: Database, declarations: Declarations[E]) -> int:
    """One step of the background job; 0 when nothing is left to do, or others have to end first."""
    with database.unit_of_work() as uow:
        found = store.next_to_do(uow)
        if found is None:
            return 0
        tenant, one = found
        if one.state == "declared":
            return int(store.barrier(uow, tenant, one))
        if one.state == "clearing":
            return _clear(uow, tenant, one, declarations)
        return _index(uow, tenant, one, declarations)


def _clear(uow: UnitOfWork, tenant: int, one: Declared, declarations: Declarations[E]) -> int:
    if one.stale and store.clear(uow, tenant, one.stale):
        return 1
    definitions = declarations.engine(uow, tenant, writing=False).definitions
    store.cleared(uow, tenant, one, types_of(definitions, one.facts) if one.facts is not None else ())
    return 1


def _index(uow: UnitOfWork, tenant: int, one: Declared, declarations: Declarations[E]) -> int:
    engine, facts = declarations.engine(uow, tenant, writing=True), one.facts or {}
    own = numbers(engine.definitions, facts)
    batch = index_rows.batch(uow, tenant, one.position, types_of(engine.definitions, facts), BATCH, one.last)
    made = [
        (key, [row for row in engine.indexer.rows(json_format.parse(bytes(body))) if row.parameter in own])
        for key, _, _, body in batch
    ]
    index_rows.replace(uow, tenant, made, sorted(own))
    last = batch[-1][0] if batch else one.position
    store.advance(uow, tenant, one, last, len(batch), active=len(batch) < BATCH)
    return 1


def _same(facts: dict[str, Any], old: dict[str, Any] | None) -> bool:
    return old is not None and facts | {"components": [list(each) for each in facts["components"]]} == old


def _pending(one: Declared) -> str:
    if one.state == "active" or one.facts is None:
        return ""
    how = f"{one.percent} % of what is stored is indexed" if one.state == "indexing" else "its index has not begun"
    return f"'{one.facts['code']}' is declared by {RESOURCE}/{one.id}, but can't be searched by yet: {how}."
