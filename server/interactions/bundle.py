"""Bundles that the server makes: searchset, history and responses. https://hl7.org/fhir/R4/bundle.html"""

from typing import Any
from urllib.parse import urlencode

from server.fhir import instants, json_format
from server.interactions.request import Answer
from server.store.resources import Stored

REASONS = {200: "OK", 201: "Created", 204: "No Content", 304: "Not Modified", 400: "Bad Request", 401: "Unauthorized",
           403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 406: "Not Acceptable", 409: "Conflict",
           410: "Gone", 412: "Precondition Failed", 413: "Content Too Large", 415: "Unsupported Media Type",
           422: "Unprocessable Content", 500: "Internal Server Error", 503: "Service Unavailable"}  # fmt: skip


def link(relation: str, url: str, parameters: Any) -> dict[str, str]:
    """One Bundle.link."""
    query = urlencode(list(parameters), safe=":/,|$")
    return {"relation": relation, "url": f"{url}?{query}" if query else url}


def entry(base_url: str, found: Stored, resource: Any = None, **more: Any) -> dict[str, Any]:
    """One entry with fullUrl and resource, its stored bytes unless another is given."""
    body = json_format.raw(found.body) if resource is None else resource
    return {"fullUrl": f"{base_url}/{found.type}/{found.id}", "resource": body, **more}


def response(answer: Answer) -> dict[str, Any]:
    """Bundle.entry.response of an answer."""
    found: dict[str, Any] = {"status": f"{answer.status} {REASONS.get(answer.status, '')}".strip()}
    if answer.location:
        found["location"] = answer.location
    if answer.version:
        found["etag"] = f'W/"{answer.version}"'
    if answer.last_modified:
        found["lastModified"] = instants.text(answer.last_modified)
    return found


def bundle(kind: str, entries: list[dict[str, Any]], **more: Any) -> bytes:
    """A Bundle as JSON; empty lists are left out, as FHIR wants it."""
    whole = {"resourceType": "Bundle", "id": instants.new_id(), "type": kind, **more}
    if entries:
        whole["entry"] = entries
    return json_format.write(whole)
