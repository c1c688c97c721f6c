"""history of one resource: https://hl7.org/fhir/R4/http.html#history"""

from typing import Any

from server.errors import BadRequest, UnknownParameter
from server.interactions.bundle import bundle, entry, link
from server.interactions.request import Answer, Request
from server.repository import Transaction
from server.search import date
from server.store.resources import Stored

_DEFAULT_COUNT = 50
_LARGEST_COUNT = 1000
_PARAMETERS = ("_count", "_since", "_before", "_format", "_pretty")


def history(transaction: Transaction, request: Request) -> Answer:
    """Versions, newest first; each entry says by which request it came about."""
    asked = dict(request.parameters)
    for name in asked:
        if name not in _PARAMETERS and not request.lenient:
            raise UnknownParameter(f"history knows {', '.join(_PARAMETERS)}, not '{name}'.", expression=name)
    count = min(_number(asked.get("_count"), "_count") or _DEFAULT_COUNT, _LARGEST_COUNT)
    since = date.moment(asked["_since"]) if "_since" in asked else None
    before = _number(asked.get("_before"), "_before")
    found = transaction.history(request.resource_type, request.id, count=count + 1, before=before, since=since)
    shown = found[:count]
    url = f"{request.base_url}/{request.resource_type}/{request.id}/_history"
    links = [link("self", url, request.parameters)]
    if len(found) > count:
        kept = [(name, value) for name, value in request.parameters if name != "_before"]
        links.append(link("next", url, [*kept, ("_before", str(shown[-1].version))]))
    entries = [_entry(request.base_url, version) for version in shown]
    return Answer(status=200, body=bundle("history", entries, link=links))


def _entry(base_url: str, version: Stored) -> dict[str, Any]:
    """A version with the request that made it; a tombstone has no resource."""
    place = f"{version.type}/{version.id}"
    method = "DELETE" if version.deleted else "PUT"
    status = "204" if version.deleted else "201" if version.version == 1 else "200"
    response = {
        "status": status,
        "etag": f'W/"{version.version}"',
        "lastModified": version.last_updated.isoformat(timespec="milliseconds"),
    }
    more: dict[str, Any] = {"request": {"method": method, "url": place}, "response": response}
    if version.deleted:
        return {"fullUrl": f"{base_url}/{place}", **more}
    return entry(base_url, version, **more)


def _number(text: str | None, name: str) -> int | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise BadRequest(f"{name} is a whole number.", expression=name)
    return int(text)
