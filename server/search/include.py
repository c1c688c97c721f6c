"""_include and _revinclude: https://hl7.org/fhir/R4/search.html#include"""

from collections.abc import Iterable, Sequence

from sqlalchemy import ARRAY, and_, func, literal, select

from server.errors import TooLarge
from server.fhir.definitions import Definitions
from server.search.index import kind_of, searchable
from server.search.numbers import number
from server.search.plan import ROW
from server.search.query import Include
from server.search.sight import Sight
from server.store.database import UnitOfWork
from server.store.resources import Stored, by_reference
from server.store.tables.resources import TEXT_C, index_reference

#: Included resources of one page; more is refused rather than cut off silently.
MOST_INCLUDED = 10_000
#: Rounds of :iterate.
MOST_ROUNDS = 10


def included(
    uow: UnitOfWork, sight: Sight, definitions: Definitions, includes: Sequence[Include], matches: Sequence[Stored]
) -> tuple[Stored, ...]:
    """The resources that a page's matches refer to or are referred to by, each once and no match among them.

    They are of the moment that the matches are of.
    """
    known = {(found.type, found.id) for found in matches}
    gathered: list[Stored] = []
    fresh: Sequence[Stored] = matches
    for turn in range(MOST_ROUNDS if includes and matches else 0):
        wanted = [each for each in includes if turn == 0 or each.iterate]
        found = [one for each in wanted for one in _once(uow, sight, definitions, each, fresh)]
        fresh = tuple({(one.type, one.id): one for one in found if (one.type, one.id) not in known}.values())
        known |= {(one.type, one.id) for one in fresh}
        gathered += fresh
        if len(gathered) > MOST_INCLUDED:
            raise TooLarge("Too many resources would be included; ask for smaller pages by _count.")
        if not fresh:
            break
    return tuple(gathered)


def _once(
    uow: UnitOfWork, sight: Sight, definitions: Definitions, include: Include, sources: Sequence[Stored]
) -> Iterable[Stored]:
    if include.reverse:
        return _referring(uow, sight, definitions, include, sources)
    able = [one for one in sources if include.source_type in ("", one.type)]
    numbers = {number_of for kind in {one.type for one in able} for number_of in _numbers(definitions, kind, include)}
    if not able or not numbers:
        return ()
    statement = (
        select(index_reference.c.target)
        .distinct()
        .where(
            index_reference.c.tenant == sight.tenant,
            index_reference.c.key.in_([one.key for one in able]),
            index_reference.c.parameter.in_(sorted(numbers)),
        )
        .limit(MOST_INCLUDED + 1)
    )
    targets = [target.partition("/") for target in uow.execute(statement).scalars()]
    wanted = [
        (kind, id) for kind, _, id in targets if include.target_type in ("", kind) and definitions.is_resource(kind)
    ]
    return by_reference(uow, sight.tenant, wanted) if sight.moment is None else _then(uow, sight, wanted)


def _then(uow: UnitOfWork, sight: Sight, places: Sequence[tuple[str, str]]) -> Iterable[Stored]:
    """The versions of (type, id) pairs that were current at an earlier moment."""
    rows, seen = sight.rows()
    types, ids = (literal([place[n] for place in places], ARRAY(TEXT_C)) for n in (0, 1))
    wanted = func.unnest(types, ids).table_valued("type", "id").render_derived()
    found = select(*(rows.c[name] for name in ROW)).join(
        wanted, and_(seen, rows.c.type == wanted.c.type, rows.c.id == wanted.c.id)
    )
    return [Stored(**row._asdict()) for row in uow.execute(found)]


def _referring(
    uow: UnitOfWork, sight: Sight, definitions: Definitions, include: Include, sources: Sequence[Stored]
) -> Iterable[Stored]:
    types = [include.source_type] if include.source_type else definitions.resource_types
    numbers = {number_of for kind in types for number_of in _numbers(definitions, kind, include)}
    targets = [f"{one.type}/{one.id}" for one in sources if include.target_type in ("", one.type)]
    if not targets:
        return ()
    keys = select(index_reference.c.key).where(
        index_reference.c.tenant == sight.tenant,
        index_reference.c.parameter.in_(sorted(numbers)),
        index_reference.c.target.in_(targets),
    )
    rows, seen = sight.rows()
    statement = (
        select(*(rows.c[name] for name in ROW))
        .where(seen, rows.c.key.in_(keys))
        .order_by(rows.c.key)
        .limit(MOST_INCLUDED + 1)
    )
    return [Stored(**row._asdict()) for row in uow.execute(statement)]


def _numbers(definitions: Definitions, resource_type: str, include: Include) -> set[int]:
    """The parameters' numbers that an include follows from one resource type."""
    parameters = searchable(definitions, resource_type)
    if include.code != "*":
        return {number(resource_type, include.code)} if include.code in parameters else set()
    return {number(resource_type, code) for code, found in parameters.items() if kind_of(found) == "reference"}
