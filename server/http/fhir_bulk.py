"""Where the state and the files of asynchronous requests are: https://hl7.org/fhir/R4/async.html"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse

from server.errors import Issue
from server.fhir import json_format
from server.fhir.outcome import information, outcome
from server.http.conditional import CACHE
from server.http.content_coding import coded_stream, coding
from server.operations.bulk import PATH, BulkRequests, State, manifest
from server.security.access import Access
from server.store.bulk import BulkRequest

_JSON = "application/json"
_FHIR_JSON = "application/fhir+json"
_NDJSON = "application/fhir+ndjson"
_PIECE = 1 << 20
#: Seconds that a client is told to wait: a tenth of what it has waited, between these.
_SHORTEST, _LONGEST = 1, 60


def add(
    routes: APIRouter, requests: BulkRequests, access: Callable[[Request], Access], base: Callable[[Request], str]
) -> None:
    """The routes; before those of the resource types."""

    @routes.get(f"/{PATH}/{{request_id}}", summary="state of an asynchronous request", operation_id="async-state")
    def state(request: Request, request_id: str) -> Response:
        found = requests.state(access(request), request_id)
        if found.request.state == "failed":
            return Response(_failure(found.request), 500, media_type=_FHIR_JSON)
        if found.request.state != "done":
            return _wait(found.request)
        body = json_format.write(manifest(found, f"{base(request)}/{PATH}/{request_id}"))
        return Response(body, 200, _expiry(found), media_type=_JSON)

    @routes.delete(f"/{PATH}/{{request_id}}", summary="ends an asynchronous request", operation_id="async-end")
    def cancel(request: Request, request_id: str) -> Response:
        requests.cancel(access(request), request_id)
        return Response(json_format.write(information("It is ended and removed.")), 202, media_type=_FHIR_JSON)

    @routes.get(
        f"/{PATH}/{{request_id}}/{{file}}", summary="file of an asynchronous request", operation_id="async-file"
    )
    def file(request: Request, request_id: str, file: str) -> Response:
        path = requests.file(access(request), request_id, file)
        if coding(request, ("gzip",)) and "range" not in request.headers:
            return coded_stream(request, _pieces(path), media_type=_NDJSON)
        return FileResponse(path, headers={**CACHE, "Vary": "Accept-Encoding"}, media_type=_NDJSON)


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            yield piece


def _wait(request: BulkRequest) -> Response:
    """It goes on; how far it is, and when to ask again."""
    waited = (datetime.now(UTC) - request.requested).total_seconds()
    seconds = max(_SHORTEST, min(_LONGEST, int(waited / 10)))
    progress = request.progress or request.state
    return Response(None, 202, {"X-Progress": progress, "Retry-After": str(seconds)})


def _expiry(state: State) -> dict[str, str]:
    expires = state.request.expires
    return {"Expires": format_datetime(expires.astimezone(UTC), usegmt=True)} if expires else {}


def _failure(request: BulkRequest) -> bytes:
    return json_format.write(outcome([Issue(code="exception", details=request.reason, severity="fatal")]))
