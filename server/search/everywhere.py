"""Criteria of a search over several types at once: https://hl7.org/fhir/R4/http.html#search

What every resource has is asked of all together; any other parameter is read for each type that ``_type`` names.
"""

from dataclasses import replace

from server.errors import UnknownParameter
from server.search.criteria import Reader
from server.search.index import searchable
from server.search.query import AllOf, AnyOf, Criterion, Missing, Not, OfType, Values

#: The type whose parameters every resource type has.
_ROOTS = ("Resource", "DomainResource")


def everywhere(reader: Reader, types: tuple[str, ...], name: str, value: str) -> Criterion | None:
    """The criterion for ``types``, empty meaning all; UnknownParameter for what not all of them know."""
    definitions = reader.definitions
    all_types = types or definitions.resource_types
    code = name.partition(".")[0].partition(":")[0]
    if any(code in searchable(definitions, root) for root in _ROOTS) and "." not in name:
        knowing = tuple(kind for kind in all_types if code in searchable(definitions, kind))
        found = reader.criterion(knowing[0] if knowing else all_types[0], name, value)
        return None if found is None else _widened(found, all_types)
    if not types:
        raise UnknownParameter(
            f"'{name[:100]}' can't be asked of every type; name types by _type.", expression=name[:100]
        )
    parts: list[Criterion] = []
    for kind in types:
        criterion = reader.criterion(kind, name, value)
        if criterion is None:
            return None
        parts.append(AllOf(criteria=(OfType(resource_types=(kind,)), criterion)))
    return AnyOf(criteria=tuple(parts))


def _widened(criterion: Criterion, types: tuple[str, ...]) -> Criterion:
    """The same, asked of several types."""
    if isinstance(criterion, Values | Missing):
        return replace(criterion, resource_types=types)
    if isinstance(criterion, AnyOf | AllOf):
        return replace(criterion, criteria=tuple(_widened(each, types) for each in criterion.criteria))
    if isinstance(criterion, Not):
        return Not(criterion=_widened(criterion.criterion, types))
    return criterion
