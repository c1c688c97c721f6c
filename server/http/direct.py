"""The short way for GET and HEAD of DICOMweb: from the path to the endpoint, past what a framework does for others.

A viewer asks for every frame on its own; finding the route, resolving dependencies and changing threads by way of
several layers took longer than the answer.
"""

import asyncio
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from fastapi import APIRouter, Request, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from server.errors import HutongError
from server.http.dicomweb_route import PlainRoute, response_of

Endpoint = Callable[[Request], Response]

#: Endpoints that run at once.
_THREADS = 40
_threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="get")
#: Who waits for a picture keeps nobody else from searching.
_drawing = ThreadPoolExecutor(_THREADS, thread_name_prefix="draw")
_DRAWN = ("/rendered", "/thumbnail", "/wado")


class Direct:
    """ASGI middleware that answers what its endpoints answer, and passes the rest on."""

    def __init__(self, app: ASGIApp, routers: Iterable[APIRouter]) -> None:
        self._app = app
        #: By the number of slashes in the path.
        self._endpoints: dict[int, list[tuple[re.Pattern[str], Endpoint]]] = {}
        for route in (route for router in routers for route in router.routes):
            if isinstance(route, PlainRoute) and route.methods == {"GET"} and ":path}" not in route.path:
                pair = route.path_regex, route.endpoint
                self._endpoints.setdefault(route.path.count("/"), []).append(pair)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers, or passes the request on."""
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        for pattern, endpoint in self._endpoints.get(path.count("/"), ()):
            if match := pattern.fullmatch(path):
                scope["path_params"] = match.groupdict()
                request = Request(scope, receive)
                threads = _drawing if path.endswith(_DRAWN) else _threads
                answer = await asyncio.get_running_loop().run_in_executor(threads, _run, endpoint, request)
                await answer(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _run(endpoint: Endpoint, request: Request) -> Response:
    try:
        return endpoint(request)
    except HutongError as error:
        return response_of(error)
