"""search by GET and POST _search: https://hl7.org/fhir/R4/http.html#search"""

from typing import Any

from server.errors import Issue, NotFound
from server.fhir import json_format
from server.fhir.definitions import Definitions
from server.fhir.outcome import outcome
from server.fhir.subset import subset
from server.interactions.bundle import bundle, entry, link
from server.interactions.request import Answer, Request
from server.repository import Transaction
from server.search.find import SearchResult
from server.search.query import Query
from server.store.resources import Stored


def search(transaction: Transaction, request: Request) -> Answer:
    """A searchset: one page of matches, what they include, and a note on what was ignored."""
    result = transaction.search(request.resource_type, request.parameters, lenient=request.lenient)
    return _answer(transaction.definitions, request, result, request.resource_type)


def search_system(transaction: Transaction, request: Request) -> Answer:
    """The same over the types that _type names, or over all: https://hl7.org/fhir/R4/http.html#search"""
    result = transaction.search("", request.parameters, lenient=request.lenient)
    return _answer(transaction.definitions, request, result, "")


def _answer(definitions: Definitions, request: Request, result: SearchResult, path: str) -> Answer:
    query = result.query
    entries = []
    for place, found in enumerate(result.matches):
        parts = result.parts.get(place)
        if parts is None or parts.itself:
            entries.append(_match(definitions, request.base_url, query, found))
        entries += [_inside(request.base_url, found, one) for one in (parts.inside if parts else ())]
    entries += [entry(request.base_url, found, search={"mode": "include"}) for found in result.included]
    if query.ignored:
        entries.append(_ignored(query))
    more: dict[str, Any] = {} if result.total is None else {"total": result.total}
    return Answer(
        status=200,
        body=bundle("searchset", entries, **more, link=_links(f"{request.base_url}/{path}".rstrip("/"), result)),
    )


def search_compartment(transaction: Transaction, request: Request) -> Answer:
    """Type/id/Type: the same within a compartment. https://hl7.org/fhir/R4/http.html#vsearch"""
    kind = request.path[2]
    if not transaction.definitions.is_resource(kind):
        raise NotFound(f"There is no resource type '{kind[:64]}' in FHIR R4.")
    result = transaction.search(
        kind, request.parameters, lenient=request.lenient, compartment=(request.resource_type, request.id)
    )
    return _answer(transaction.definitions, request, result, f"{request.resource_type}/{request.id}/{kind}")


def _match(definitions: Definitions, base_url: str, query: Query, found: Stored) -> dict[str, Any]:
    resource = None
    if query.elements or query.summary != "false":
        whole = json_format.parse(found.body)
        resource = subset(definitions, whole, summary=query.summary, elements=query.elements)
    return entry(base_url, found, resource, search={"mode": "match"})


def _inside(base_url: str, container: Stored, contained: dict[str, Any]) -> dict[str, Any]:
    """A contained resource as a match: https://hl7.org/fhir/R4/search.html#contained"""
    found = entry(base_url, container, contained, search={"mode": "match"})
    return {**found, "fullUrl": f"{found['fullUrl']}#{contained.get('id', '')}"}


def _ignored(query: Query) -> dict[str, Any]:
    issues = (Issue(code="not-supported", details=f"Ignored: {text}", severity="warning") for text in query.ignored)
    return {"resource": outcome(issues), "search": {"mode": "outcome"}}


def _links(url: str, result: SearchResult) -> list[dict[str, str]]:
    used = list(result.query.used)
    here = [*used, ("_page", result.query.cursor)] if result.query.cursor else used
    links = [link("self", url, here), link("first", url, used)]
    if result.next:
        links.append(link("next", url, [*used, ("_page", result.next)]))
    return links
