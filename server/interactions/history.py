"""history of a resource, a type and the system: https://hl7.org/fhir/R4/http.html#history"""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

from server.errors import BadRequest, UnknownParameter
from server.fhir import instants
from server.interactions.bundle import bundle, entry, link
from server.interactions.request import Answer, Request
from server.repository import Transaction
from server.search import date
from server.store.history import Place, Span
from server.store.resources import Stored

_DEFAULT_COUNT = 50
_LARGEST_COUNT = 1000
_PARAMETERS = ("_count", "_since", "_at", "_format", "_pretty")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def history(transaction: Transaction, request: Request) -> Answer:
    """Versions of one resource, newest first; each entry says by which request it came about."""
    asked, count = _asked(request, "_before"), _count(request)
    before = _number(asked.get("_before"), "_before")
    found = transaction.history(request.resource_type, request.id, count=count + 1, before=before, span=_span(asked))
    following = ("_before", str(found[count - 1].version)) if 0 < count < len(found) else None
    return _answer(request, found[:count], following)


def history_of_all(transaction: Transaction, request: Request) -> Answer:
    """The same for all resources of a type, or of the system."""
    asked, count = _asked(request, "_page"), _count(request)
    resource_type = request.path[0] if len(request.path) > 1 else ""
    after = _place(asked["_page"]) if "_page" in asked else None
    found = transaction.history_of_all(resource_type, count=count + 1, after=after, span=_span(asked))
    following = ("_page", _cursor(found[count - 1])) if 0 < count < len(found) else None
    return _answer(request, found[:count], following)


def _answer(request: Request, shown: tuple[Stored, ...], following: tuple[str, str] | None) -> Answer:
    url = f"{request.base_url}/{'/'.join(request.path)}"
    links = [link("self", url, request.parameters)]
    if following:
        kept = [(name, value) for name, value in request.parameters if name != following[0]]
        links.append(link("next", url, [*kept, following]))
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
        "lastModified": instants.text(version.last_updated),
    }
    more: dict[str, Any] = {"request": {"method": method, "url": place}, "response": response}
    if version.deleted:
        return {"fullUrl": f"{base_url}/{place}", **more}
    return entry(base_url, version, **more)


def _asked(request: Request, turning: str) -> dict[str, str]:
    """The parameters; ``turning`` is the one that next links carry."""
    asked, known = dict(request.parameters), (*_PARAMETERS, turning)
    for name in asked:
        if name not in known and not request.lenient:
            raise UnknownParameter(f"history knows {', '.join(known)}, not '{name[:64]}'.", expression=name[:64])
    return asked


def _count(request: Request) -> int:
    count = _number(dict(request.parameters).get("_count"), "_count")
    return _DEFAULT_COUNT if count is None else min(count, _LARGEST_COUNT)


def _span(asked: dict[str, str]) -> Span:
    at = date.bounds(asked["_at"]) if "_at" in asked else None
    if "_at" in asked and at is None:
        raise BadRequest("_at is a date or an instant, e.g. 2024-02-29 or 2024-02-29T12:00:00Z.", expression="_at")
    low, high = (_EPOCH + timedelta(microseconds=moment) for moment in at or (0, 0))
    return Span(since=date.moment(asked["_since"]) if "_since" in asked else None, at=(low, high) if at else None)


def _number(text: str | None, name: str) -> int | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise BadRequest(f"{name} is a whole number.", expression=name)
    return int(text)


def _cursor(last: Stored) -> str:
    """Where the next page goes on."""
    place = f"{date.microseconds(last.last_updated)} {last.type} {last.id} {last.version}"
    return urlsafe_b64encode(place.encode()).decode().rstrip("=")


def _place(cursor: str) -> Place:
    try:
        text = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        moment, type, id, version = text.split(" ")
        return Place(moment=_EPOCH + timedelta(microseconds=int(moment)), type=type, id=id, version=int(version))
    except (binascii.Error, ValueError, OverflowError) as error:
        raise BadRequest("_page is what a next link says, unchanged.", expression="_page") from error
