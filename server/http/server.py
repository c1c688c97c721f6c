"""The web application as a whole, and the process that serves it."""

import gc
from collections.abc import Sequence

import uvicorn
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server import __version__
from server.errors import HutongError
from server.http.dicomweb_route import response_of
from server.http.direct import Direct
from server.http.fhir import FhirRouter
from server.http.fhir_direct import FhirDirect
from server.http.uploads import HARDENED, UploadProtocol, Uploads
from server.http.workitems_channel import PING_INTERVAL, PING_TIMEOUT

#: How long requests may take to end after SIGTERM.
_DRAIN_SECONDS = 15
#: Bytes of one message from a WebSocket client; ours have nothing to say.
_LARGEST_FRAME = 1 << 16


#: New objects after which the collector looks for cycles.
_COLLECT_AFTER = 50_000


class Hardened:
    """ASGI middleware that adds headers to every response: no sniffing, no referrer, no foreign frame."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on."""

        async def hardened(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *HARDENED]
            await send(message)

        await self._app(scope, receive, hardened if scope["type"] == "http" else send)


def create(routers: Sequence[APIRouter], uploads: Uploads | None = None) -> FastAPI:
    """One application from the edges' routers; an error that no router translated becomes a plain answer.

    ``uploads`` are attended to by threads, past the application.
    """
    app = FastAPI(title="Hutong", version=__version__, redoc_url=None)
    app.state.uploads = uploads
    app.add_middleware(Direct, routers=routers)
    for router in routers:
        if isinstance(router, FhirRouter):
            app.add_middleware(FhirDirect, router=router)
    app.add_middleware(Hardened)

    @app.exception_handler(HutongError)
    def translate(_: Request, error: HutongError) -> Response:
        return response_of(error)

    for router in routers:
        app.include_router(router)
    return app


def serve(app: FastAPI, host: str, port: int) -> None:
    """Serves until SIGTERM, then lets running requests end."""
    # What is here now stays: walking over it again with every big answer cost 80 ms a time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, 20, 20)
    uvicorn.run(
        app, host=host, port=port, http=UploadProtocol, log_config=None, access_log=False, server_header=False,
        proxy_headers=False, ws_ping_interval=PING_INTERVAL, ws_ping_timeout=PING_TIMEOUT,
        ws_max_size=_LARGEST_FRAME, timeout_graceful_shutdown=_DRAIN_SECONDS, timeout_keep_alive=30,
    )  # fmt: skip
