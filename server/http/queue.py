"""``/queue``: what is on its way to peers, for administrators; docs/api/forwarding.md."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request

from server.errors import Forbidden
from server.http.access import AccessOfRequest
from server.security.access import Access
from server.workflow.delivery_queue import DeliveryQueue


def router(queue: DeliveryQueue, access: AccessOfRequest) -> APIRouter:
    """The queue as JSON, and the two things that people do to a delivery."""
    routes = APIRouter(tags=["operation"], dependencies=[Depends(own_page)])

    @routes.get("/queue", summary="Peers and what waits for them.")
    def listed(
        caller: Annotated[Access, Depends(access)],
        peer: Annotated[str, Query(description="Only this peer.")] = "",
        everything: Annotated[bool, Query(description="Also what is done and dropped.")] = False,
    ) -> dict[str, Any]:
        return queue.list(caller, peer=peer, everything=everything)

    @routes.post("/queue/{number}/retry", summary="Makes a delivery due now.")
    def retried(caller: Annotated[Access, Depends(access)], number: int) -> dict[str, int]:
        return {"retried": queue.retry(caller, number=number)}

    @routes.post("/queue/{number}/drop", summary="Calls a delivery off.")
    def dropped(caller: Annotated[Access, Depends(access)], number: int) -> dict[str, int]:
        return {"dropped": queue.drop(caller, number=number)}

    return routes


def own_page(request: Request) -> None:
    """Refuses what a browser sends for somebody else's page: on loopback nothing else would tell it apart."""
    if request.headers.get("sec-fetch-site", "none") in ("cross-site", "same-site"):
        raise Forbidden("Another site's page may not do this; open the server's own address.")
