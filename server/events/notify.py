"""Notifications to one subscriber, in order: handshake, then every event, each acknowledged before the next.

What was acknowledged is committed after each notification: after a crash the next one repeats at most the
unacknowledged, under the same event numbers. A failing endpoint is tried again for ever, with growing pauses; the
Subscription says ``error`` meanwhile.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from server.errors import Forbidden, Gone, HutongError, NotFound, PreconditionFailed, Unavailable
from server.events import notification, subscriptions
from server.events.channel import EMAIL, WEBSOCKET
from server.events.content import content_of
from server.events.courier import Courier, courier
from server.events.notification import Content
from server.events.subscriber import headers
from server.events.subscriptions import Subscription
from server.events.topics import Topic
from server.outbound.guard import Guard
from server.outbound.smtp import Mailer
from server.repository import Repository
from server.security.access import Access, system
from server.store import events
from server.store.database import Database, UnitOfWork
from server.store.events import SubscriptionState
from server.telemetry import kill_points, metrics

Resource = dict[str, Any]

#: Consecutive failures after which an active Subscription says ``error``.
FAILURES_UNTIL_ERROR = 3
#: Seconds of the pauses after a failure: the first one, doubled each time, and the longest.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 600.0
#: Seconds of notifications to one subscriber before others get their turn.
_TURN = 0.5
#: What a Subscription says before the server makes it say something else.
_BEFORE = {
    "active": frozenset({"error"}),
    "error": frozenset({"requested", "active"}),
    "off": frozenset({"requested", "active", "error"}),
}
_MOST_KNOWN = 10_000


@dataclass(frozen=True, kw_only=True)
class Notifier:
    """Everything that delivering needs."""

    database: Database
    repository: Repository
    topics: tuple[Topic, ...]
    guard: Guard
    #: The FHIR base URL that references in notifications start with.
    base: str
    #: Seconds that one notification may take.
    timeout: float
    #: (transaction, tenant, subscription) -> the rights by which it is told; raises Forbidden.
    rights: Callable[[UnitOfWork, int, str], Access]
    mailer: Mailer | None = None
    #: Notifications a second to one endpoint's host; 0 for any number.
    rate: float = 0.0
    #: Host -> when the next notification may go there.
    _next: dict[str, float] = field(default_factory=dict)
    #: Subscriptions as they were read, by tenant, id and version.
    _known: dict[tuple[int, str, int], Subscription] = field(default_factory=dict)

    def run(self, tenant: int, id: str) -> float:
        """Delivers until nothing is left, or so much that others come first; gives seconds to leave it alone.

        Nobody else may do so for this subscription at the same time.
        """
        try:
            with self.database.reading() as uow:
                state = events.state(uow, tenant, id)
                if state is None or state.status == "off":
                    return 0.0
                subscription = self._subscription(uow, tenant, state)
                access = self.rights(uow, tenant, id)
                secrets = headers(uow, tenant, id, subscription.channel.headers)
            if subscription.channel.type == WEBSOCKET:
                self._become(tenant, state, "active", "")
                return 0.0
            way = courier(
                subscription, secrets, guard=self.guard, mailer=self.mailer, base=self.base, timeout=self.timeout
            )
            try:
                return self._tell(_Turn(tenant=tenant, state=state, subscription=subscription, access=access, way=way))
            finally:
                way.close()
        except HutongError as error:
            self._failed(tenant, id, error)
            return 0.0

    def end(self, tenant: int, id: str) -> None:
        """Makes a Subscription whose end has come say that it is off."""
        with self.database.reading() as uow:
            state = events.state(uow, tenant, id)
        try:
            if state is not None:
                self._become(tenant, state, "off", "")
        except (NotFound, Gone):
            with self.database.unit_of_work() as uow:
                events.remove(uow, tenant, id, state.version if state else 0)
        except PreconditionFailed:
            # A client changed it in this moment; it is looked at again.
            return

    def _subscription(self, uow: UnitOfWork, tenant: int, state: SubscriptionState) -> Subscription:
        """The Subscription in the version that the dispatcher took over."""
        key = (tenant, state.id, state.version)
        if key not in self._known:
            resource = self.repository.version_of(uow, tenant, "Subscription", state.id, state.version)
            if resource is None:
                raise Unavailable("The subscription was deleted.")
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[key] = subscriptions.read(resource, self.topics)
        return self._known[key]

    def _tell(self, turn: "_Turn") -> float:
        """Tells what there is to be told; gives how long to wait for the endpoint's next turn."""
        ending = time.monotonic() + _TURN
        while turn.anything and time.monotonic() < ending:
            wait = self._wait(turn.subscription)
            if wait > 0:
                return wait
            if not turn.state.handshaken:
                self._handshake(turn)
                return 0.0
            if turn.state.delivered < turn.state.events:
                self._deliver(turn)
            else:
                self._heartbeat(turn)
        return 0.0

    def _wait(self, subscription: Subscription) -> float:
        """Takes one of the host's turns; gives the seconds until there is one where there is none now."""
        if not self.rate:
            return 0.0
        endpoint = subscription.channel.endpoint
        host = endpoint if subscription.channel.type == EMAIL else urlsplit(endpoint).netloc
        now = time.monotonic()
        due = self._next.get(host, 0.0)
        if due > now:
            return due - now
        self._next[host] = now + 1.0 / self.rate
        return 0.0

    def _handshake(self, turn: "_Turn") -> None:
        kill_points.at("notifying")
        turn.way.send(notification.bundle(turn.state, "handshake", base=self.base), 0, 0)
        if not self._become(turn.tenant, turn.state, "active", ""):
            raise Unavailable("The subscription was changed during its handshake; the new version comes next.")

    def _heartbeat(self, turn: "_Turn") -> None:
        turn.way.send(notification.bundle(turn.state, "heartbeat", base=self.base), 0, 0)
        self._acknowledged(turn, turn.state.delivered)

    def _deliver(self, turn: "_Turn") -> None:
        state, channel = turn.state, turn.subscription.channel
        turn.access.require("read")
        with self.database.statement() as connection:
            found = events.following(connection, turn.tenant, state.id, state.delivered, channel.max_count)
        resources: Content = {}
        if channel.content == "full-resource":
            with self.repository.reading(turn.access) as tx:
                resources = content_of(tx, turn.subscription.topic, found)
        if not found:
            # They were kept as long as was said, and nobody took them.
            self._acknowledged(turn, state.events)
            return
        body = notification.bundle(
            state, "event-notification", base=self.base, events=found, content=channel.content, resources=resources
        )
        kill_points.at("notifying")
        turn.way.send(body, found[0].number, found[-1].number)
        kill_points.at("notified")
        self._acknowledged(turn, found[-1].number)
        if state.status == "error":
            self._become(turn.tenant, state, "active", "")

    def _acknowledged(self, turn: "_Turn", number: int) -> None:
        with self.database.statement() as connection:
            turn.state = events.acknowledged(connection, turn.tenant, turn.state.id, number)

    def _become(self, tenant: int, state: SubscriptionState, status: str, error: str) -> bool:
        """Writes the Subscription's status; False where a client's change in the meantime wins."""
        with self.repository.transaction(system(tenant)) as tx:
            resource = tx.read("Subscription", state.id)
            current = int(resource["meta"]["versionId"])
            if status == "active" and not state.handshaken:
                if current != state.version:
                    return False
                events.handshaken(tx.uow, tenant, state.id, state.version)
            elif resource["status"] not in _BEFORE[status]:
                return False
            resource.pop("error", None)
            resource |= {"status": status} | ({"error": error} if error else {})
            tx.update(resource, if_match=str(current))
        return True

    def _failed(self, tenant: int, id: str, error: HutongError) -> None:
        metrics.notifications.labels(outcome=error.code).inc()
        with self.database.unit_of_work() as uow:
            state = events.state(uow, tenant, id)
            if state is None:
                return
            failures = events.failed(uow, tenant, id, error.details, first=FIRST_PAUSE, longest=LONGEST_PAUSE)
        if state.status not in ("requested", "active"):
            return
        # Before the handshake, and where nothing may be sent at all, one failure is enough.
        if not state.handshaken or failures >= FAILURES_UNTIL_ERROR or isinstance(error, Forbidden):
            try:
                self._become(tenant, state, "error", error.details)
            except (PreconditionFailed, NotFound, Gone):
                # The client changed the Subscription at this moment; the next attempt starts from what it wrote.
                return


@dataclass(kw_only=True)
class _Turn:
    """What one subscriber is told in one go."""

    tenant: int
    state: SubscriptionState
    subscription: Subscription
    access: Access
    way: Courier

    @property
    def anything(self) -> bool:
        """Whether there is something to be told now."""
        state = self.state
        if state.status == "off":
            return False
        return not state.handshaken or state.delivered < state.events or self._silent

    @property
    def _silent(self) -> bool:
        """Whether a heartbeat is due."""
        state = self.state
        if state.heartbeat is None or state.told is None or state.status != "active":
            return False
        return datetime.now(UTC) - state.told > timedelta(seconds=state.heartbeat)
