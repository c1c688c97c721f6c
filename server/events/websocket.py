"""Notifications over websockets: tokens that bind one to subscriptions, and what is sent to whom.

https://hl7.org/fhir/uv/subscriptions-backport/channels.html#websockets
"""

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from server.errors import BadRequest, Forbidden, Gone, NotFound
from server.events import notification, subscriptions
from server.events.channel import WEBSOCKET
from server.events.content import content_of
from server.events.courier import serialised
from server.events.subscriber import Subscribers
from server.events.topics import Topic
from server.repository import Repository
from server.security.access import Access
from server.store import events, subscribers
from server.store.database import UnitOfWork
from server.store.events import SubscriptionState
from server.store.subscribers import Binding

#: How long a token binds.
TOKEN_LASTS = timedelta(minutes=30)

Key = tuple[int, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """One notification for a websocket."""

    text: str
    #: Number of the newest event in it, or before it where it has none.
    number: int
    #: Seconds without a notification after which there is a heartbeat.
    heartbeat: int | None


@dataclass(frozen=True, kw_only=True)
class Websockets:
    """What websockets are told."""

    repository: Repository
    topics: tuple[Topic, ...]
    subscribers: Subscribers

    def token(self, access: Access, ids: Sequence[str]) -> tuple[str, Binding]:
        """A token for the caller's websocket subscriptions, those named or all; it is shown once."""
        access.require("read")
        with self.repository.database.unit_of_work() as uow:
            wanted = tuple(dict.fromkeys(ids)) or self._all(uow, access)
            for id in wanted:
                self._check(uow, access, id)
            if not wanted:
                raise NotFound("There is no Subscription of yours whose channel is websocket.")
            text = secrets.token_urlsafe(32)
            expires = datetime.now(UTC).replace(microsecond=0) + TOKEN_LASTS
            binding = Binding(tenant=access.tenant, who=access.who, subscriptions=wanted, expires=expires)
            subscribers.bind(uow, _digest(text), binding)
        return text, binding

    def bound(self, token: str) -> Binding:
        """What a token binds to; Forbidden where it is unknown or over."""
        with self.repository.database.reading() as uow:
            found = subscribers.bound(uow, _digest(token))
        if found is None:
            raise Forbidden("The token is unknown or over; call $get-ws-binding-token.")
        return found

    def newest(self) -> Mapping[Key, tuple[int, int, str]]:
        """How every websocket subscription stands; changes when there is something to be told."""
        with self.repository.database.reading() as uow:
            return {
                (tenant, state.id): (state.events, state.version, state.status)
                for tenant, state in events.of_channel(uow, WEBSOCKET)
            }

    def handshake(self, binding: Binding, id: str, base: str) -> Told | None:
        """The first thing that is told; None while the subscription is not active. Gone when it is over."""
        with self.repository.database.reading() as uow:
            self.subscribers.rights(uow, binding.tenant, binding.who)
            state = events.state(uow, binding.tenant, id)
            if state is None or (not state.handshaken and state.status != "off"):
                return None
            form = self._subscription(uow, binding.tenant, state).channel.form
        bundle = notification.bundle(state, "handshake", base=base)
        return _told(bundle, form, state.delivered, state)

    def after(self, binding: Binding, id: str, number: int, base: str) -> Told | None:
        """The notification that follows event ``number``; None where there is none. Forbidden, Gone when it is over."""
        with self.repository.reading(self._rights(binding)) as tx:
            state = self._active(tx.uow, binding, id)
            subscription = self._subscription(tx.uow, binding.tenant, state)
            channel = subscription.channel
            found = events.between(
                tx.uow, binding.tenant, id, first=number + 1, last=state.events, limit=channel.max_count
            )
            if not found:
                return None
            full = channel.content == "full-resource"
            resources = content_of(tx, subscription.topic, found) if full else {}
        bundle = notification.bundle(
            state, "event-notification", base=base, events=found, content=channel.content, resources=resources
        )
        return _told(bundle, channel.form, found[-1].number, state)

    def heartbeat(self, binding: Binding, id: str, number: int, base: str) -> Told:
        """A heartbeat; Forbidden, Gone when it is over."""
        self._rights(binding)
        with self.repository.database.reading() as uow:
            state = self._active(uow, binding, id)
            form = self._subscription(uow, binding.tenant, state).channel.form
        return _told(notification.bundle(state, "heartbeat", base=base), form, number, state)

    def acknowledge(self, binding: Binding, id: str, number: int) -> None:
        """What was sent up to an event has arrived."""
        with self.repository.database.statement() as connection:
            events.acknowledged(connection, binding.tenant, id, number)

    def _rights(self, binding: Binding) -> Access:
        with self.repository.database.reading() as uow:
            return self.subscribers.rights(uow, binding.tenant, binding.who)

    def _active(self, uow: UnitOfWork, binding: Binding, id: str) -> SubscriptionState:
        state = events.state(uow, binding.tenant, id)
        if state is None or state.status == "off" or state.channel != WEBSOCKET:
            raise Gone("The subscription is off.")
        return state

    def _subscription(self, uow: UnitOfWork, tenant: int, state: SubscriptionState) -> subscriptions.Subscription:
        resource = self.repository.version_of(uow, tenant, "Subscription", state.id, state.version)
        if resource is None:
            raise Gone("The subscription was deleted.")
        return subscriptions.read(resource, self.topics)

    def _all(self, uow: UnitOfWork, access: Access) -> tuple[str, ...]:
        """The caller's active websocket subscriptions."""
        found = [state.id for tenant, state in events.of_channel(uow, WEBSOCKET) if tenant == access.tenant]
        return tuple(id for id in found if _owns(uow, access, id))

    def _check(self, uow: UnitOfWork, access: Access, id: str) -> None:
        resource = self.repository.read(access, "Subscription", id)
        if resource["channel"]["type"] != WEBSOCKET:
            raise BadRequest(f"The channel of Subscription/{id} is no websocket.", expression="id")
        if not _owns(uow, access, id):
            raise Forbidden(f"Subscription/{id} is somebody else's.", expression="id")


def _owns(uow: UnitOfWork, access: Access, id: str) -> bool:
    found = subscribers.subscriber(uow, access.tenant, id)
    return "admin" in access.scopes or (found is not None and found.who == access.who)


def _told(bundle: dict[str, object], form: str, number: int, state: SubscriptionState) -> Told:
    return Told(text=serialised(bundle, form).decode(), number=number, heartbeat=state.heartbeat)


def _digest(text: str) -> bytes:
    """SHA-256 is enough: the token itself carries 256 bits of chance."""
    return hashlib.sha256(text.encode()).digest()
