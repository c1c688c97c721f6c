"""``/livez``, ``/readyz`` and ``/metrics``: whether the process runs, whether it can work, and how much it did."""

from collections.abc import Callable

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from server.errors import Unavailable
from server.telemetry.metrics import exposition


def router(check: Callable[[], None]) -> APIRouter:
    """Routes for orchestrators; ``check`` raises when the server can't work, e.g. has no database."""
    routes = APIRouter(tags=["operation"])

    @routes.get("/livez", summary="The process runs.")
    async def livez() -> dict[str, str]:
        # Async on purpose: it answers even while every worker thread is busy.
        return {"status": "alive"}

    @routes.get("/readyz", summary="Requests can be served.")
    def readyz() -> dict[str, str]:
        try:
            check()
        except Exception as error:  # an edge: whatever is wrong with the database, the answer is 'not ready'
            raise Unavailable(f"The database does not answer ({type(error).__name__}).") from error
        return {"status": "ready"}

    @routes.get("/metrics", summary="Counters in Prometheus' text format.")
    def metrics() -> Response:
        return Response(exposition(), media_type=CONTENT_TYPE_LATEST)

    return routes
