"""Compartments: https://hl7.org/fhir/R4/compartmentdefinition.html"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, select, union_all
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

    Types that have no part in it are left out.
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
    target = "/".join(criterion.of)
    keys = [
        select(table.c.key).where(
            table.c.tenant == sight.tenant, table.c.parameter.in_(numbers), table.c.target == target
        )
    ]
    if criterion.itself:
        there, seen = sight.rows()
        kind, id = criterion.of
        keys.append(select(there.c.key).where(seen, there.c.type == kind, there.c.id == id))
    among: ColumnElement[bool] = row["key"].in_(keys[0] if len(keys) == 1 else union_all(*keys))
    return among


def matches(
    criterion: Within, resource: Mapping[str, Any], rows: Mapping[tuple[str, int], Sequence[tuple[int, Any]]]
) -> bool:
    """The same for one resource in memory, by its index rows."""
    own = resource["resourceType"]
    if criterion.itself and (own, resource.get("id")) == criterion.of:
        return True
    codes = [code for kind, code in criterion.parameters if kind == own]
    target = "/".join(criterion.of)
    return any(values == (target,) for code in codes for _, values in rows.get(("reference", number(own, code)), ()))
