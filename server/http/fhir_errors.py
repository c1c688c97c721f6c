"""From the closed tree of errors to OperationOutcome, once for all FHIR routes."""

import logging
import traceback
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from server.errors import HutongError, Issue, Unavailable
from server.fhir import json_format
from server.fhir.outcome import outcome, status

MEDIA_TYPE = "application/fhir+json; charset=utf-8"
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
            except HutongError as error:
                return refusal(error)
            except Exception as error:  # noqa: BLE001 an edge: what nobody foresaw is a 500 that says nothing of the data
                # Without the error's own text, which may quote what was sent.
                frames = "".join(traceback.format_tb(error.__traceback__)[-4:])
                _log.error("unforeseen %s at %s %s\n%s", type(error).__name__, request.method, self.path, frames)
                issue = Issue(code="exception", details="The server failed; its log says where.", severity="fatal")
                return Response(json_format.write(outcome([issue])), 500, media_type=MEDIA_TYPE)

        return translated


def refusal(error: HutongError) -> Response:
    """The response for an error of the tree."""
    headers = {"Retry-After": "5"} if isinstance(error, Unavailable) else {}
    code = status(error)
    if code == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(json_format.write(outcome(error.issues)), code, headers=headers, media_type=MEDIA_TYPE)
