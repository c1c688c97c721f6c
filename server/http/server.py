"""The web application as a whole, and the process that serves it."""

from collections.abc import Sequence

import uvicorn
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server import __version__
from server.errors import HutongError
from server.http.dicomweb_route import response_of
from server.http.socket_body import SocketBodyProtocol

#: How long requests may take to end after SIGTERM.
_DRAIN_SECONDS = 15


class Hardened:
    """ASGI middleware that adds headers to every response: no sniffing, no referrer, no foreign frame."""

    HEADERS = (
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"x-frame-options", b"SAMEORIGIN"),
    )

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on."""

        async def hardened(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *self.HEADERS]
            await send(message)

        await self._app(scope, receive, hardened if scope["type"] == "http" else send)


def create(routers: Sequence[APIRouter]) -> FastAPI:
    """One application from the edges' routers; an error that no router translated becomes a plain answer."""
    app = FastAPI(title="Hutong", version=__version__, redoc_url=None)
    app.add_middleware(Hardened)

    @app.exception_handler(HutongError)
    def translate(_: Request, error: HutongError) -> Response:
        return response_of(error)

    for router in routers:
        app.include_router(router)
    return app


def serve(app: FastAPI, host: str, port: int) -> None:
    """Serves until SIGTERM, then lets running requests end."""
    uvicorn.run(
        app, host=host, port=port, http=SocketBodyProtocol, log_config=None, access_log=False, server_header=False,
        timeout_graceful_shutdown=_DRAIN_SECONDS, timeout_keep_alive=30,
    )  # fmt: skip
