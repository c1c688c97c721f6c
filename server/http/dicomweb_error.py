"""Errors at the DICOMweb edge: the closed tree as status codes, and a JSON body that a person can read."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from server import errors

_STATUS: tuple[tuple[type[errors.HutongError], int], ...] = (
    (errors.BadRequest, 400),
    (errors.Unauthenticated, 401),
    (errors.Forbidden, 403),
    (errors.NotFound, 404),
    (errors.NotAcceptable, 406),
    (errors.Conflict, 409),
    (errors.Gone, 410),
    (errors.PreconditionFailed, 412),
    (errors.TooLarge, 413),
    (errors.UnsupportedMedia, 415),
    (errors.Unprocessable, 422),
    (errors.Unavailable, 503),
)


def response_of(error: errors.HutongError) -> Response:
    """The answer to a request that failed."""
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
    headers = {"Retry-After": "5"} if status == 503 else {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    issues = [{"code": i.code, "details": i.details, "expression": i.expression} for i in error.issues]
    return JSONResponse({"errors": issues}, status_code=status, headers=headers)


class DicomWebRoute(APIRoute):
    """A route whose HutongErrors become DICOMweb's answers."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wraps the handler that FastAPI makes."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await handler(request)
            except errors.HutongError as error:
                return response_of(error)

        return handle
