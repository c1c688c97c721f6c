"""Compartments: https://hl7.org/fhir/R4/compartmentdefinition.html"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, func, select, union_all
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from server.errors import NotFound
from server.fhir.definitions import Definitions
from server.search.numbers import number
from server.search.query import Within
from server.search.sight import Sight
from server.store.tables.resources import INDEX_TABLES

#: In the tables a resource of the compartment's own type is named by this.
ITSELF = "{def}"


def within(definitions: Definitions, compartment: str, id: str, resource_types: Iterable[str]) -> Within:
    """What holds for the resources of some types in the compartment of ``compartment/id``; NotFound where none can be.

    Without ``id`` those of all compartments of the kind are meant. Types that have no part in it are left out.
    """
    types = tuple(resource_types)
    known = definitions.compartment(compartment)
    found = [(kind, code) for kind in types for code in known.get(kind, ()) if code != ITSELF]
    itself = bool(known) and compartment in types
    if not found and not itself:
        named = types[0] if len(types) == 1 else "such resource"
        raise NotFound(f"There is no {named} in the compartment of a {compartment}.")
    return Within(parameters=tuple(found), of=(compartment, id), itself=itself)


def types_of(criterion: Within) -> tuple[str, ...]:
    """The types that it finds resources of."""
    own = (criterion.of[0],) if criterion.itself else ()
    return tuple(sorted({*own, *(kind for kind, _ in criterion.parameters)}))


def clause(sight: Sight, criterion: Within, row: ReadOnlyColumnCollection[str, Any]) -> ColumnElement[bool]:
    """The criterion over a row of resources: one list of keys, however many parameters there are."""
    table = INDEX_TABLES["reference"].alias()
    numbers = [number(kind, code) for kind, code in criterion.parameters]
    kind, id = criterion.of
    target = table.c.target == f"{kind}/{id}" if id else func.starts_with(table.c.target, f"{kind}/")
    keys = [select(table.c.key).where(table.c.tenant == sight.tenant, table.c.parameter.in_(numbers), target)]
    if criterion.itself:
        there, seen = sight.rows()
        own = select(there.c.key).where(seen, there.c.type == kind)
        keys.append(own.where(there.c.id == id) if id else own)
    among: ColumnElement[bool] = row["key"].in_(keys[0] if len(keys) == 1 else union_all(*keys))
    return among


def matches(
    criterion: Within, resource: Mapping[str, Any], rows: Mapping[tuple[str, int], Sequence[tuple[int, Any]]]
) -> bool:
    """The same for one resource in memory, by its index rows."""
    own, (kind, id) = resource["resourceType"], criterion.of
    if criterion.itself and own == kind and id in ("", resource.get("id")):
        return True
    targets = (
        target
        for named, code in criterion.parameters
        if named == own
        for _, (target,) in rows.get(("reference", number(own, code)), ())
    )
    return any(target == f"{kind}/{id}" if id else target.startswith(f"{kind}/") for target in targets)
