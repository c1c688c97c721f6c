"""Subscription/$get-ws-binding-token: https://hl7.org/fhir/uv/subscriptions-backport/ (R4)."""

from collections.abc import Sequence
from typing import Any

from server.events.websocket import Websockets
from server.security.access import Access

Resource = dict[str, Any]

#: Below the FHIR base.
PATH = "websocket"


def subscription_ws_binding_token(
    websockets: Websockets, access: Access, *, ids: Sequence[str] = (), base: str
) -> Resource:
    """Parameters with a token that binds a websocket to the Subscriptions named, or to all of the caller's."""
    token, binding = websockets.token(access, ids)
    parameters: list[Resource] = [
        {"name": "token", "valueString": token},
        {"name": "expiration", "valueDateTime": binding.expires.isoformat()},
        *({"name": "subscription", "valueString": id} for id in binding.subscriptions),
        {"name": "websocket-url", "valueUrl": f"ws{base.removeprefix('http')}/{PATH}"},
    ]
    return {"resourceType": "Parameters", "parameter": parameters}
