"""How the event system sees resources: their versions, what they refer to, and whether a search would find them."""

from collections.abc import Iterator, Sequence
from typing import Any

from server.events.topics import Matches
from server.fhir import json_format
from server.fhir.definitions import Definitions
from server.search.match import Candidate, holds
from server.search.read import read
from server.store import resources
from server.store.database import UnitOfWork

Resource = dict[str, Any]


def version_of(uow: UnitOfWork, tenant: int, type: str, id: str, version: int) -> Resource | None:
    """One version of a resource; None where there is none or it is a deletion."""
    if version < 1:
        return None
    stored = resources.version(uow, tenant, type, id, version)
    return None if stored is None or stored.deleted else json_format.parse(stored.body)


def related_of(uow: UnitOfWork, tenant: int, resource: Resource, type: str) -> list[Resource]:
    """The resources of a type that a resource refers to, as they stand now."""
    prefix = f"{type}/"
    ids = {reference.removeprefix(prefix).partition("/")[0] for reference in _references(resource, prefix)}
    found = resources.by_reference(uow, tenant, [(type, id) for id in sorted(ids)])
    return [json_format.parse(stored.body) for stored in found]


def matcher(definitions: Definitions, base_url: str = "") -> Matches:
    """Whether a search with the parameters would find a resource, asked in memory."""

    def matches(resource: Resource, parameters: Sequence[tuple[str, str]]) -> bool:
        query = read(definitions, resource["resourceType"], parameters, base_url=base_url)
        return holds(query, Candidate(resource=resource, definitions=definitions, base_url=base_url))

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
