"""Routes of the DICOMweb edge: errors become status codes and a JSON body that a person can read."""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from server import errors
from server.http.status import status_of


def response_of(error: errors.HutongError) -> Response:
    """The answer to a request that failed."""
    status, headers = status_of(error)
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


class PlainRoute(DicomWebRoute):
    """A route whose endpoint takes the request and nothing else; see ``direct``."""


def add_get(
    api: APIRouter,
    path: str,
    endpoint: Callable[[Request], Response],
    name: str,
    *,
    gives: Sequence[str] = (),
    takes: Sequence[str] = (),
) -> None:
    """A route for GET, and for HEAD (RFC 9110 9.3.2).

    ``gives`` are the media types of its answers and ``takes`` its query parameters, for the capabilities.
    """
    more = {"x-gives": list(gives), "x-takes": list(takes)}
    api.add_api_route(path, endpoint, methods=["GET"], name=name, openapi_extra=more, route_class_override=PlainRoute)
    api.add_api_route(path, endpoint, methods=["HEAD"], name=f"{name} (head)", include_in_schema=False)
