"""From an HTTP request to FHIR's: media types, Prefer, conditional headers, body. https://hl7.org/fhir/R4/http.html"""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import parse_qsl

from fastapi import Request

from server.errors import BadRequest, TooLarge, UnsupportedMedia
from server.fhir import json_format
from server.fhir.definitions import Definitions
from server.fhir.merge_patch import MergePatch
from server.http import fhir_format
from server.interactions.entries import etag
from server.interactions.request import Request as FhirRequest

_FHIR = ("application/fhir+json", "application/fhir+xml")
_JSON_PATCH = "application/json-patch+json"
_MERGE_PATCH = "application/merge-patch+json"
_FORM = "application/x-www-form-urlencoded"
#: Largest body of a FHIR request, bytes.
LARGEST_BODY = 128 << 20


async def body_of(request: Request) -> bytes:
    """The body, read up to the limit."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > LARGEST_BODY:
            raise TooLarge(f"A FHIR request's body has at most {LARGEST_BODY} bytes.")
        parts.append(part)
    return b"".join(parts)


def fhir_request(
    definitions: Definitions, request: Request, path: tuple[str, ...], body: bytes, base_url: str
) -> FhirRequest:
    """The FHIR request; raises for a body in a format that is not spoken here or a header that can't be read."""
    parameters = [(name, value) for name, value in request.query_params.multi_items()]
    is_search = path[-1:] == ("_search",)
    if is_search:
        parameters += _form(request, body)
    preferences = _preferences(request)
    return FhirRequest(
        method="GET" if request.method == "HEAD" else request.method,
        path=path,
        parameters=tuple(parameters),
        resource=None if is_search or request.method == "PATCH" else _resource(definitions, request, body),
        patch=_patch(definitions, request, body) if request.method == "PATCH" else None,
        if_match=etag(request.headers.get("if-match")),
        if_none_match=etag(request.headers.get("if-none-match")),
        if_modified_since=_date(request.headers.get("if-modified-since")),
        if_none_exist=request.headers.get("if-none-exist"),
        prefer_return=preferences.get("return", ""),
        lenient=preferences.get("handling") == "lenient",
        respond_async="respond-async" in preferences,
        base_url=base_url,
    )


def _content_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _resource(definitions: Definitions, request: Request, body: bytes) -> dict[str, object] | None:
    if not body or request.method in ("GET", "HEAD", "DELETE"):
        return None
    return fhir_format.resource_in(definitions, request, body)


def _patch(definitions: Definitions, request: Request, body: bytes) -> object:
    media_type = _content_type(request)
    if media_type in _FHIR:
        return fhir_format.resource_in(definitions, request, body)
    if media_type not in (_JSON_PATCH, _MERGE_PATCH, "application/json"):
        details = (
            f"Send a JSON Patch as {_JSON_PATCH}, a Merge Patch as {_MERGE_PATCH}, a FHIRPath Patch as {_FHIR[0]}."
        )
        raise UnsupportedMedia(details, expression="Content-Type")
    patch = json_format.parse_any(body)
    if media_type == _MERGE_PATCH and not isinstance(patch, dict):
        raise BadRequest("A Merge Patch is an object.")
    return MergePatch(changes=patch) if media_type != _JSON_PATCH and isinstance(patch, dict) else patch


def _form(request: Request, body: bytes) -> list[tuple[str, str]]:
    if body and _content_type(request) != _FORM:
        raise UnsupportedMedia(f"The parameters of _search are sent as {_FORM}.", expression="Content-Type")
    try:
        return parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=1000, errors="strict")
    except ValueError as error:
        raise BadRequest("The form can't be read: it is no UTF-8, or too long.") from error


def _preferences(request: Request) -> dict[str, str]:
    """The Prefer headers (RFC 7240) that FHIR knows."""
    found: dict[str, str] = {}
    for header in request.headers.getlist("prefer"):
        for part in re.split(r"[,;]", header):
            name, _, value = part.partition("=")
            found.setdefault(name.strip().lower(), value.strip().strip('"'))
    return found


def _date(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        found = parsedate_to_datetime(text)
    except ValueError as error:
        raise BadRequest("If-Modified-Since is no HTTP date.", expression="If-Modified-Since") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)
