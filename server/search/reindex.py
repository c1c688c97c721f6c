"""Index rows built anew from the stored resources.

A run walks over the current versions in the order of their keys, a batch in a transaction, beside a running server; one
that is broken off goes on where it was. At the end stored code systems are taken apart anew.
"""

from collections.abc import Callable
from dataclasses import dataclass

from server.errors import BadRequest
from server.fhir import json_format
from server.fhir.definitions import Definitions
from server.search import check_terminology
from server.search.find import Search
from server.search.index import indexed, numbers_of
from server.store import index_rows
from server.store.database import Database, UnitOfWork

#: Resources in one transaction.
BATCH = 200
#: Told how many resources are done, and of how many.
Tell = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Scope:
    """What is indexed anew: everything, or some types, or some parameters."""

    types: tuple[str, ...] = ()
    #: ``Type.code`` each.
    parameters: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """By which a run that was broken off is known again."""
        return " ".join(sorted({*self.types, *self.parameters})) or "everything"

    @property
    def resource_types(self) -> tuple[str, ...] | None:
        """The types to walk over; None for all."""
        named = {*self.types, *(name.partition(".")[0] for name in self.parameters)}
        return tuple(sorted(named)) or None

    @property
    def takes_apart(self) -> bool:
        """Whether the tables of code systems are built anew too."""
        return not self.parameters and (not self.types or "CodeSystem" in self.types)

    def check(self, definitions: Definitions) -> None:
        """Raises BadRequest for a name that is not known."""
        for kind in self.resource_types or ():
            if not definitions.is_resource(kind):
                raise BadRequest(f"There is no resource type '{kind}' in FHIR R4.", expression=kind)
        for name in self.parameters:
            kind, _, code = name.partition(".")
            if code not in indexed(definitions, kind):
                raise BadRequest(f"'{code}' is no search parameter of {kind}; write Type.code.", expression=name)

    def numbers(self, definitions: Definitions) -> list[int] | None:
        """Under which rows are replaced; None for all."""
        if self.types or not self.parameters:
            return None
        found: set[int] = set()
        for name in self.parameters:
            kind, _, code = name.partition(".")
            found |= set(numbers_of(definitions, kind, indexed(definitions, kind)[code]))
        return sorted(found)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reindexed:
    """What a run came to."""

    resources: int
    #: Of those, what an earlier run with the same scope had done before it was broken off.
    earlier: int


def reindex(database: Database, search: Search, scope: Scope, *, anew: bool = False, tell: Tell) -> Reindexed:
    """Builds index rows anew for all tenants; with ``anew`` from the beginning."""
    with database.unit_of_work() as uow:
        tenants = index_rows.tenants(uow)
        engines = {tenant: search.declarations.engine(uow, tenant, writing=False) for tenant in tenants}
        for engine in engines.values():
            scope.check(engine.definitions)
        if anew:
            for tenant in tenants:
                index_rows.end_run(uow, tenant, scope.text)
        total = sum(index_rows.count(uow, tenant, scope.resource_types) for tenant in tenants)
        earlier = sum(index_rows.run(uow, tenant, scope.text)[1] for tenant in tenants)
    done = earlier
    tell(done, total)
    for tenant in tenants:
        while True:
            with database.unit_of_work() as uow:
                count = _batch(uow, tenant, search, scope)
            if not count:
                break
            done += count
            tell(done, max(done, total))
        if scope.takes_apart:
            check_terminology.rebuild(database, tenant)
    # Only now: a run over several tenants that is broken off must not begin with the first one again.
    with database.unit_of_work() as uow:
        for tenant in tenants:
            index_rows.end_run(uow, tenant, scope.text)
    return Reindexed(resources=done, earlier=earlier)


def _batch(uow: UnitOfWork, tenant: int, search: Search, scope: Scope) -> int:
    engine = search.declarations.engine(uow, tenant, writing=True)
    position, done = index_rows.run(uow, tenant, scope.text)
    batch = index_rows.batch(uow, tenant, position, scope.resource_types, BATCH)
    if not batch:
        return 0
    numbers = scope.numbers(engine.definitions)
    only = None if numbers is None else frozenset(numbers)
    made = [
        (key, [row for row in engine.indexer.rows(json_format.parse(bytes(body))) if only is None or row[1] in only])
        for key, _, _, body in batch
    ]
    index_rows.replace(uow, tenant, made, numbers)
    index_rows.note_run(uow, tenant, scope.text, batch[-1][0], done + len(batch))
    return len(batch)
