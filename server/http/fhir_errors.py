"""From the closed tree of errors to OperationOutcome, once for all FHIR routes."""

import logging
import traceback
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from server.errors import HutongError, Issue, Unavailable
from server.fhir import json_format
from server.fhir.outcome import outcome, status
from server.http.fhir_format import MEDIA_TYPES, wanted_by_refused, written

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
_log = logging.getLogger(__name__)


class FhirRoute(APIRoute):
    """A route whose errors leave as OperationOutcome."""

    def get_route_handler(self) -> Handler:
        """The route's handler with the translation around it."""
        handle = super().get_route_handler()

        async def translated(request: Request) -> Response:
            try:
                return await handle(request)
            except Exception as error:  # noqa: BLE001 an edge: what nobody foresaw is a 500 that says nothing of the data
                return failed(request, error, self.path)

        return translated


def failed(request: Request, error: Exception, path: str) -> Response:
    """The response for an error of any kind; ``path`` is the shape of the request's."""
    if isinstance(error, HutongError):
        return refusal(error, wanted_by_refused(request))
    # Without the error's own text, which may quote what was sent.
    frames = "".join(traceback.format_tb(error.__traceback__)[-4:])
    _log.error("unforeseen %s at %s %s\n%s", type(error).__name__, request.method, path, frames)
    issue = Issue(code="exception", details="The server failed; its log says where.", severity="fatal")
    return _answer([issue], 500, wanted_by_refused(request))


def refusal(error: HutongError, form: str) -> Response:
    """The response for an error of the tree."""
    headers = {"Retry-After": "5"} if isinstance(error, Unavailable) else {}
    code = status(error)
    if code == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return _answer(error.issues, code, form, headers)


def _answer(issues: Iterable[Issue], code: int, form: str, headers: Mapping[str, str] | None = None) -> Response:
    body = written(json_format.write(outcome(issues)), form)
    return Response(body, code, headers=dict(headers or {}), media_type=MEDIA_TYPES[form])
