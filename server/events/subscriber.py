"""Whose a Subscription is: its secrets, which nobody reads again, and the rights by which it is told.

https://hl7.org/fhir/R4/subscription.html#safety: notifications carry what their subscriber may see, and credentials in
channel.header are not shown.
"""

from collections.abc import Iterable
from typing import Any

from server.errors import Forbidden, Unprocessable
from server.events import channel
from server.events.channel import MASK
from server.repository import Transaction
from server.security import token
from server.security.access import Access, system
from server.store import subscribers
from server.store.database import UnitOfWork

Resource = dict[str, Any]
_PLACE = "Subscription.channel.header"


class Subscribers:
    """Who subscribed, and what they may see now."""

    def __init__(self, *, open: bool = False) -> None:
        """``open`` servers, on loopback, let everybody do everything."""
        self._open = open

    def kept(self, transaction: Transaction, resource: Resource, before: Resource | None) -> Resource:
        """A Subscription as it is stored: it is the writer's from now on, and its headers have their names only."""
        access = transaction.access
        if resource["resourceType"] != "Subscription" or access == system(access.tenant):
            return resource
        asked = resource.get("channel")
        lines = asked.get("header", []) if isinstance(asked, dict) else []
        if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
            # What is no Subscription at all is refused by its structure.
            return resource
        pairs = _pairs(lines)
        id = resource["id"]
        there = subscribers.subscriber(transaction.uow, access.tenant, id)
        known = dict(_pairs(there.headers)) if there and before and _same_endpoint(resource, before) else {}
        secrets = [(name, known.get(name, MASK) if value == MASK else value) for name, value in pairs]
        if any(value == MASK for _, value in secrets):
            raise Unprocessable(
                "Headers are not shown again: send the value of each anew, above all for another endpoint.",
                expression=_PLACE,
            )
        headers = [f"{name}: {value}" for name, value in secrets]
        subscribers.belongs(transaction.uow, access.tenant, id, access.who, headers)
        if not pairs:
            return resource
        return {**resource, "channel": {**resource["channel"], "header": [f"{name}: {MASK}" for name, _ in pairs]}}

    def access(self, uow: UnitOfWork, tenant: int, subscription: str) -> Access:
        """The rights by which notifications of a subscription are made; Forbidden when there are none any more."""
        found = subscribers.subscriber(uow, tenant, subscription)
        return system(tenant) if found is None else self.rights(uow, tenant, found.who)

    def rights(self, uow: UnitOfWork, tenant: int, who: str) -> Access:
        """What somebody may do now; Forbidden when that is not even reading."""
        found = token.access_of(uow, tenant, who, open=self._open)
        if not found.scopes & {"read", "admin"}:
            raise Forbidden("Whoever wrote this subscription may not read here any more: the token was revoked.")
        return found


def headers(uow: UnitOfWork, tenant: int, subscription: str, shown: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The headers of a subscription's notifications, with their values."""
    found = subscribers.subscriber(uow, tenant, subscription)
    known = dict(_pairs(found.headers)) if found else {}
    return {name: known.get(name, "") if value == MASK else value for name, value in shown}


def _pairs(lines: Iterable[str]) -> list[tuple[str, str]]:
    try:
        return [channel.header(line) for line in lines]
    except ValueError as error:
        raise Unprocessable(
            "A header is written 'Name: value' and is none of the connection's own.", expression=_PLACE
        ) from error


def _same_endpoint(one: Resource, other: Resource) -> bool:
    return bool(one["channel"].get("endpoint") == other["channel"].get("endpoint"))
