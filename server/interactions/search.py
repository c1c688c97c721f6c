"""search by GET and POST _search: https://hl7.org/fhir/R4/http.html#search"""

import json
from typing import Any

from server.errors import BadRequest, Issue, NotFound
from server.fhir import json_format
from server.fhir.definitions import Definitions
from server.fhir.outcome import outcome
from server.fhir.subset import subset
from server.interactions.bundle import bundle, entry, link
from server.interactions.request import Answer, Request
from server.repository import Transaction
from server.search.explain import Explanation
from server.search.find import SearchResult
from server.search.query import Query
from server.store.resources import Stored

#: Ours: how a search would be carried out (true), or was (analyze), instead of what it finds.
EXPLAIN = "_explain"
_EXPLAINED = ("false", "true", "analyze")


def search(transaction: Transaction, request: Request) -> Answer:
    """A searchset: one page of matches, what they include, and a note on what was ignored."""
    return _searched(transaction, request, request.resource_type, request.resource_type)


def search_system(transaction: Transaction, request: Request) -> Answer:
    """The same over the types that _type names, or over all: https://hl7.org/fhir/R4/http.html#search"""
    return _searched(transaction, request, "", "")


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
    """Type/id/Type, or Type/id/* over all types: within a compartment. https://hl7.org/fhir/R4/http.html#vsearch"""
    kind = request.path[2]
    if kind in ("*", "_search"):
        path = f"{request.resource_type}/{request.id}/*"
        return _searched(transaction, request, "", path, compartment=(request.resource_type, request.id))
    if not transaction.definitions.is_resource(kind):
        raise NotFound(f"There is no resource type '{kind[:64]}' in FHIR R4.")
    path = f"{request.resource_type}/{request.id}/{kind}"
    return _searched(transaction, request, kind, path, compartment=(request.resource_type, request.id))


def _searched(
    transaction: Transaction, request: Request, kind: str, path: str, compartment: tuple[str, str] | None = None
) -> Answer:
    explained = [value for name, value in request.parameters if name == EXPLAIN]
    if any(value not in _EXPLAINED for value in explained):
        raise BadRequest(f"{EXPLAIN} is one of {', '.join(_EXPLAINED)}.", expression=EXPLAIN)
    result = transaction.search(
        kind,
        [pair for pair in request.parameters if pair[0] != EXPLAIN],
        lenient=request.lenient,
        compartment=compartment,
        explained=explained[-1] if explained else "false",
    )
    if result.explanation is not None:
        return _explanation(result.explanation)
    return _answer(transaction.definitions, request, result, path)


def _explanation(found: Explanation) -> Answer:
    """How a search is carried out, as Parameters."""
    said = [{"name": "criterion", "valueString": json.dumps(each)} for each in found.criteria]
    said.append({"name": "sql", "valueString": found.sql})
    said.append({"name": "plan", "valueString": json.dumps(found.plan)})
    return Answer(status=200, body=json_format.write({"resourceType": "Parameters", "parameter": said}))


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
