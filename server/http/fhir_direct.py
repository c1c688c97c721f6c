"""The short way for FHIR's most used requests: from the path to the interaction, past what a framework does for others.

Finding the route among all, resolving its dependencies and changing threads by way of several layers took longer than
a read. What is short is the way, not the work: the same function answers.
"""

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor

from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from server.http.fhir import FhirRouter
from server.http.fhir_errors import failed
from server.http.fhir_request import body_of

#: Requests that run at once, and Bundles beside them; each holds a connection to the database. More of them would only
#: take the interpreter from each other: with 24 it answered a tenth less.
_THREADS = 8
#: Type, or Type/id, with what POST may follow it; anything else has a route of its own.
_PATH = re.compile(r"/([A-Z][A-Za-z]{2,63})(?:/([A-Za-z0-9.-]{1,64}|_search))?")
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"))


class FhirDirect:
    """ASGI middleware that answers what it knows the shape of, and passes the rest on."""

    def __init__(self, app: ASGIApp, router: FhirRouter) -> None:
        self._app = app
        self._answer = router.answer
        self._prefix = router.prefix
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="fhir")
        #: A Bundle may take seconds; who reads does not wait for it.
        self._bundles = ThreadPoolExecutor(_THREADS, thread_name_prefix="bundle")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers, or passes the request on."""
        path = self._steps(scope) if scope["type"] == "http" else None
        if path is None:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            body = await body_of(request)
        except ClientDisconnect:
            return
        except Exception as error:  # noqa: BLE001 an edge: what nobody foresaw is a 500 that says nothing of the data
            answer = failed(request, error, "/".join(path[:1]))
        else:
            threads = self._threads if path else self._bundles
            answer = await asyncio.get_running_loop().run_in_executor(threads, self._answer, request, path, body)
        await answer(scope, receive, send)

    def _steps(self, scope: Scope) -> tuple[str, ...] | None:
        """The steps of the path below the base, none for a Bundle; None for what is not answered here."""
        whole: str = scope["path"]
        if scope["method"] not in _METHODS or not whole.startswith(self._prefix):
            return None
        path = whole[len(self._prefix) :]
        if path in ("", "/"):
            return () if scope["method"] == "POST" else None
        found = _PATH.fullmatch(path)
        if found is None or (found[2] == "_search") != (scope["method"] == "POST" and found[2] is not None):
            return None
        return (found[1],) if found[2] is None else (found[1], found[2])
