"""Entries of a batch or transaction as requests: https://hl7.org/fhir/R4/http.html#transaction"""

import binascii
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from server.errors import BadRequest, TooLarge
from server.fhir import json_format
from server.fhir.merge_patch import MergePatch
from server.interactions.request import Request
from server.search import date, url

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
MOST_ENTRIES = 10_000
_PATCHES = ("application/json-patch+json", "application/merge-patch+json")


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One entry of a Bundle that is to be carried out."""

    #: Its place in the Bundle, from 0.
    place: int
    full_url: str
    request: Request


def entries(bundle: dict[str, Any], request: Request) -> Iterator[Entry]:
    """The Bundle's entries; BadRequest names the one that can't be understood."""
    for place, one in enumerate(listed(bundle)):
        yield read(place, one, request)


def listed(bundle: dict[str, Any]) -> list[dict[str, Any]]:
    """The Bundle's entries as they stand there."""
    found = bundle.get("entry") or []
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise BadRequest("Bundle.entry is a list of objects.", expression="Bundle.entry")
    if len(found) > MOST_ENTRIES:
        raise TooLarge(f"A Bundle has at most {MOST_ENTRIES} entries here.", expression="Bundle.entry")
    return found


def read(place: int, entry: dict[str, Any], outer: Request) -> Entry:
    """One entry, asked for within the request ``outer``."""
    return Entry(place=place, full_url=str(entry.get("fullUrl") or ""), request=_request(place, entry, outer))


def _request(place: int, entry: dict[str, Any], outer: Request) -> Request:
    asked = entry.get("request")
    where = f"Bundle.entry[{place}].request"
    if not isinstance(asked, dict) or asked.get("method") not in METHODS:
        raise BadRequest(f"Every entry needs request.method, one of {', '.join(METHODS)}.", expression=where)
    path, _, query = str(asked.get("url") or "").removeprefix(outer.base_url).partition("?")
    resource = entry.get("resource")
    if resource is not None and not isinstance(resource, dict):
        raise BadRequest("entry.resource is a resource.", expression=f"Bundle.entry[{place}].resource")
    since = date.moment(str(asked["ifModifiedSince"])) if "ifModifiedSince" in asked else None
    return Request(
        method="GET" if asked["method"] == "HEAD" else asked["method"],
        is_head=asked["method"] == "HEAD",
        path=tuple(unquote(step) for step in path.strip("/").split("/") if step),
        parameters=tuple(url.parameters(query)) if query else (),
        resource=resource,
        patch=_patch(resource, place) if asked["method"] == "PATCH" else None,
        if_match=etag(asked.get("ifMatch")),
        if_none_match=etag(asked.get("ifNoneMatch")),
        if_modified_since=since,
        if_none_exist=asked.get("ifNoneExist"),
        prefer_return=outer.prefer_return,
        lenient=outer.lenient,
        base_url=outer.base_url,
    )


def _patch(resource: dict[str, Any] | None, place: int) -> Any:
    """A FHIRPath Patch, or the JSON Patch or Merge Patch that a Binary carries: https://hl7.org/fhir/R4/http.html#patch"""
    if resource and resource.get("resourceType") == "Parameters":
        return resource
    where = f"Bundle.entry[{place}].resource"
    kind = (resource or {}).get("contentType")
    if not resource or kind not in _PATCHES:
        raise BadRequest(
            f"A PATCH entry holds Parameters, or a Binary of type {' or '.join(_PATCHES)}.", expression=where
        )
    try:
        patch = json_format.parse_any(b64decode(str(resource.get("data", "")), validate=True))
    except binascii.Error as error:
        raise BadRequest("Binary.data is no base64.", expression=where) from error
    return MergePatch(changes=patch) if kind == _PATCHES[1] and isinstance(patch, dict) else patch


def etag(text: str | None) -> str | None:
    """The version in ``W/"1"``, those of a list with commas between them; None for none."""
    return None if text is None else ",".join(one.strip().removeprefix("W/").strip('"') for one in text.split(","))
