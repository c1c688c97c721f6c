"""Notifications to one subscriber, in order: handshake, then every event, each acknowledged before the next.

One notify job exists per subscription at a time (its lock), so a slow subscriber holds up nobody else. What was
acknowledged is committed after each POST: after a crash the next one repeats at most the unacknowledged, under the
same event numbers. A failing endpoint is tried again for ever, with growing pauses; the Subscription says ``error``
meanwhile.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from server.errors import Gone, HutongError, NotFound, PreconditionFailed, Unavailable
from server.events import notification, subscriptions
from server.events.subscriptions import PAYLOAD, Subscription
from server.events.topics import Topic
from server.fhir import json_format
from server.outbound import http
from server.outbound.http import Guard
from server.repository import Repository
from server.security.access import system
from server.store import events
from server.store.database import Database, UnitOfWork
from server.store.events import Event, SubscriptionState
from server.telemetry import kill_points, metrics

Resource = dict[str, Any]

#: Consecutive failures after which an active Subscription says ``error``.
FAILURES_UNTIL_ERROR = 3
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 600.0


def pause(failures: int) -> float:
    """Seconds until the next attempt: doubling from half a second up to ten minutes, without end."""
    return float(min(_FIRST_PAUSE * 2 ** min(failures - 1, 20), _LONGEST_PAUSE))


@dataclass(frozen=True, kw_only=True)
class Notifier:
    """Everything that delivering needs."""

    database: Database
    repository: Repository
    topics: tuple[Topic, ...]
    guard: Guard
    #: The FHIR base URL that references in notifications start with.
    base: str
    #: Seconds that one POST may take.
    timeout: float

    def run_job(self, tenant: int, subscription: str) -> None:
        """``run`` by the job's own argument names."""
        self.run(tenant, subscription)

    def run(self, tenant: int, id: str) -> None:
        """Delivers until nothing is left, or defers itself after a failure.

        The advisory lock keeps out a second run of the job, should the queue take this one for dead; its transaction
        writes nothing, so that it does not hold up the dispatcher.
        """
        with self.database.unit_of_work() as alone:
            alone.lock("notify", tenant, id)
            try:
                while not self._step(tenant, id):
                    pass
            except HutongError as error:
                self._failed(tenant, id, error)

    def _step(self, tenant: int, id: str) -> bool:
        """One POST; True when the job is over."""
        with self.database.unit_of_work() as uow:
            if events.rest(uow, tenant, id):
                return True
            state = events.state(uow, tenant, id)
        subscription = self._subscription(tenant, id)
        if state is None or subscription is None:
            return True
        if not state.handshaken:
            self._handshake(tenant, state, subscription)
        else:
            self._deliver(tenant, state, subscription)
        return False

    def _subscription(self, tenant: int, id: str) -> Subscription | None:
        """The Subscription as it stands; None when it was deleted, which the dispatcher is about to see."""
        try:
            return subscriptions.read(self.repository.read(system(tenant), "Subscription", id), self.topics)
        except (NotFound, Gone):
            with self.database.unit_of_work() as uow:
                state = events.state(uow, tenant, id)
                if state is not None:
                    events.remove(uow, tenant, id, state.version)
                    events.rest(uow, tenant, id)
            return None

    def _handshake(self, tenant: int, state: SubscriptionState, subscription: Subscription) -> None:
        self._post(subscription, notification.bundle(state, "handshake", base=self.base))
        if not self._become(tenant, state, "active", ""):
            raise Unavailable("The subscription was changed during its handshake; the new version comes next.")

    def _deliver(self, tenant: int, state: SubscriptionState, subscription: Subscription) -> None:
        first, last = state.delivered + 1, state.events
        with self.database.reading() as uow:
            found = events.between(uow, tenant, state.id, first=first, last=last, limit=subscription.max_count)
            resources = self._focuses(uow, tenant, found) if subscription.content == "full-resource" else {}
        body = notification.bundle(
            state, "event-notification", base=self.base, events=found, content=subscription.content,
            resources=resources,
        )  # fmt: skip
        self._post(subscription, body)
        with self.database.unit_of_work() as uow:
            events.acknowledged(uow, tenant, state.id, found[-1].number)
        if state.status == "error":
            self._become(tenant, state, "active", "")

    def _focuses(self, uow: UnitOfWork, tenant: int, found: tuple[Event, ...]) -> Mapping[int, Resource | None]:
        return {
            event.number: self.repository.version_of(uow, tenant, event.type, event.id, event.version)
            for event in found
        }

    def _post(self, subscription: Subscription, bundle: Resource) -> None:
        headers = {**dict(subscription.headers), "Content-Type": f"{PAYLOAD}; fhirVersion=4.0"}
        timeout = min(subscription.timeout or self.timeout, self.timeout)
        kill_points.at("notifying")
        answer = http.post(subscription.endpoint, json_format.write(bundle), headers, timeout=timeout, guard=self.guard)
        metrics.notifications.labels(outcome=str(answer.status)).inc()
        if not answer.accepted:
            raise Unavailable(f"The endpoint answered {answer.status}.")

    def _become(self, tenant: int, state: SubscriptionState, status: str, error: str) -> bool:
        """Writes the Subscription's status; False where a client's change in the meantime wins."""
        access = system(tenant)
        with self.repository.transaction(access) as tx:
            resource = tx.read("Subscription", state.id)
            current = int(resource["meta"]["versionId"])
            if status == "active" and not state.handshaken:
                if current != state.version:
                    return False
                events.handshaken(tx.uow, tenant, state.id, state.version)
            resource.pop("error", None)
            resource |= {"status": status} | ({"error": error} if error else {})
            tx.update(resource, if_match=str(current))
        return True

    def _failed(self, tenant: int, id: str, error: HutongError) -> None:
        metrics.notifications.labels(outcome=error.code).inc()
        with self.database.unit_of_work() as uow:
            failures = events.failed(uow, tenant, id, error.details)
            state = events.state(uow, tenant, id)
            events.defer_notify(uow, tenant, id, seconds=pause(failures))
        if state is None or state.status not in ("requested", "active"):
            return
        if not state.handshaken or failures >= FAILURES_UNTIL_ERROR:
            try:
                self._become(tenant, state, "error", error.details)
            except PreconditionFailed:
                # The client changed the Subscription at this moment; the next attempt starts from what it wrote.
                return
