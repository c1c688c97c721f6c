"""From the outbox to numbered events: one dispatcher per tenant, in an order that no later commit can disturb.

A pass takes the next changes, finds the topics they are events of, numbers the events for every subscription whose
filters they pass, and defers the jobs they cause: a notify job per subscription, and what pathways answer with. All
of that and the new position commit together, so a pass that dies is done again and leaves nothing double.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from server.errors import HutongError
from server.events import subscriptions, topics
from server.events.lookup import related_of
from server.events.topics import Matches, Topic
from server.repository import Repository
from server.store import changes, events
from server.store.changes import Change
from server.store.database import Database, UnitOfWork
from server.telemetry import kill_points, metrics

Resource = dict[str, Any]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """The job that a topic's events cause, besides notifications."""

    task: str
    queue: str


@dataclass(frozen=True, kw_only=True)
class Dispatcher:
    """Everything that a pass needs."""

    database: Database
    repository: Repository
    topics: tuple[Topic, ...]
    matches: Matches
    #: Topic URL -> jobs that answer it.
    answers: Mapping[str, Sequence[Answer]]
    batch: int = 200

    def run(self) -> int:
        """One pass over every tenant; returns how many changes were dispatched."""
        with self.database.reading() as uow:
            tenants = changes.tenants(uow)
        return sum(self.run_tenant(tenant) for tenant in tenants)

    def run_tenant(self, tenant: int) -> int:
        """One pass over one tenant; 0 when there is nothing to do or another dispatcher is at it."""
        with self.database.unit_of_work() as uow:
            if not changes.try_lock(uow, tenant):
                return 0
            found = changes.pending(uow, tenant, changes.position(uow, tenant), self.batch)
            if not found:
                return 0
            now = datetime.now(UTC)
            for change in found:
                self._dispatch(uow, tenant, change)
                metrics.dispatch_lag_seconds.observe(max(0.0, (now - change.recorded).total_seconds()))
            changes.advance(uow, tenant, found[-1].position)
            kill_points.at("before-event")
        return len(found)

    def _dispatch(self, uow: UnitOfWork, tenant: int, change: Change) -> None:
        if change.type == "Subscription":
            self._follow(uow, tenant, change)
        if not any(trigger.resource == change.type for topic in self.topics for trigger in topic.triggers):
            return
        after = self.repository.version_of(uow, tenant, change.type, change.id, change.version)
        before = self.repository.version_of(uow, tenant, change.type, change.id, change.version - 1)
        interaction = topics.interaction(before, after)
        for topic in self._matched(change, before, after):
            self._number(uow, tenant, change, topic, focus=after or before or {}, interaction=interaction)
            for answer in self.answers.get(topic.url, ()):
                uow.defer(
                    answer.task, queue=answer.queue, tenant=tenant, topic=topic.url, type=change.type, id=change.id,
                    version=change.version, recorded=change.recorded.isoformat(),
                )  # fmt: skip

    def _matched(self, change: Change, before: Resource | None, after: Resource | None) -> list[Topic]:
        """The topics; a resource that a topic's criteria can't be asked of (odd data) is no event of any."""
        try:
            return topics.match(before, after, self.topics, self.matches)
        except HutongError as error:
            # It must not stop the events of everybody else; the metric makes it seen.
            metrics.unmatched_changes.labels(type=change.type).inc()
            _log.error("change %s of %s/%s can't be matched: %s", change.seq, change.type, change.id, error.details)
            return []

    def _number(
        self, uow: UnitOfWork, tenant: int, change: Change, topic: Topic, *, focus: Resource, interaction: str
    ) -> None:
        for state in events.listening(uow, tenant):
            if state.topic != topic.url or not self._passes(uow, tenant, state, topic, focus):
                continue
            events.append(
                uow, tenant, state.id, topic=topic.url, type=change.type, id=change.id, version=change.version,
                interaction=interaction, recorded=change.recorded,
            )  # fmt: skip
            metrics.events.labels(topic=topic.title).inc()
            events.schedule(uow, tenant, state.id)

    def _passes(
        self, uow: UnitOfWork, tenant: int, state: events.SubscriptionState, topic: Topic, focus: Resource
    ) -> bool:
        try:
            filters = [topics.parse_filter(text, topic) for text in state.filters.split("\n") if text]
            return topics.passes(
                focus, filters, self.matches, lambda resource, kind: related_of(uow, tenant, resource, kind)
            )
        except HutongError as error:
            # A filter that was taken once and can't be asked any more; $status tells the subscriber.
            events.failed(uow, tenant, state.id, f"A filter can't be evaluated: {error.details}")
            return False

    def _follow(self, uow: UnitOfWork, tenant: int, change: Change) -> None:
        """Takes over a version of a Subscription, at its place among all changes."""
        resource = self.repository.version_of(uow, tenant, change.type, change.id, change.version)
        if resource is None:
            events.remove(uow, tenant, change.id, change.version)
            return
        try:
            found = subscriptions.read(resource, self.topics)
        except HutongError as error:
            # Written by a door that does not check, or before a topic was withdrawn: it gets no events, and
            # $status says why.
            _log.warning("subscription %s is not supported: %s", change.id, error.details)
            events.take_over(
                uow, tenant, id=change.id, version=change.version, status="off", topic=resource.get("criteria", ""),
                filters=(),
            )  # fmt: skip
            return
        events.take_over(
            uow, tenant, id=change.id, version=change.version, status=found.status, topic=found.topic.url,
            filters=found.filter_texts, until=found.end,
        )  # fmt: skip
        if found.status == "requested":
            events.schedule(uow, tenant, change.id, now=True)
