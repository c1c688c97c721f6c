"""A case's resources as the sources of a plan's expressions."""

from typing import Any

from server.fhir import definitions
from server.search import url
from server.search.find import Search

SEARCH = Search(definitions.load())


class Given:
    """Resources in memory, found by the same matching as subscriptions."""

    def __init__(self, given: list[dict[str, Any]]) -> None:
        self.by_reference = {f"{one['resourceType']}/{one['id']}": one for one in given}

    def resolve(self, reference: str) -> dict[str, Any] | None:
        return self.by_reference.get(reference)

    def search(self, query: str) -> list[dict[str, Any]]:
        """Newest first."""
        kind, _, text = query.partition("?")
        parameters = [(name, value) for name, value in url.parameters(text) if name != "_sort"]
        resources = [one for one in self.by_reference.values() if one["resourceType"] == kind]
        found = [one for one in resources if SEARCH.matches(one, kind, parameters)]
        return sorted(found, key=lambda one: str(one.get("effectiveDateTime")), reverse=True)
