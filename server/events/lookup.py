"""What a resource refers to, and whether a search would find it."""

from collections.abc import Iterator, Sequence
from typing import Any

from server.events.topics import Matches
from server.fhir import json_format
from server.search.find import Search
from server.store import resources
from server.store.database import UnitOfWork

Resource = dict[str, Any]


def related_of(uow: UnitOfWork, tenant: int, resource: Resource, type: str) -> list[Resource]:
    """The resources of a type that a resource refers to, as they stand now."""
    prefix = f"{type}/"
    ids = {reference.removeprefix(prefix).partition("/")[0] for reference in _references(resource, prefix)}
    found = resources.by_reference(uow, tenant, [(type, id) for id in sorted(ids)])
    return [json_format.parse(stored.body) for stored in found]


def matcher(search: Search) -> Matches:
    """Whether a search with the parameters would find a resource, asked in memory."""

    def matches(resource: Resource, parameters: Sequence[tuple[str, str]]) -> bool:
        return search.matches(resource, resource["resourceType"], parameters)

    return matches


def _references(value: Any, prefix: str) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _references(item, prefix)
    elif isinstance(value, dict):
        reference = value.get("reference")
        if isinstance(reference, str) and reference.startswith(prefix):
            yield reference
        for item in value.values():
            yield from _references(item, prefix)
