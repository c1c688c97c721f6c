"""From the outbox to numbered events: one dispatcher per tenant, in an order that no later commit can disturb.

A pass takes the next changes, finds the topics they are events of, numbers the events for every subscription whose
filters they pass, and defers the jobs that pathways answer them with. All of that and the new position commit
together, so a pass that dies is done again and leaves nothing double.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from server.errors import HutongError
from server.events import subscriptions, topics
from server.events.lookup import Lookup, Queries
from server.events.topics import Filter, Topic
from server.repository import Repository
from server.search.find import Search
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
    #: Topic URL -> jobs that answer it.
    answers: Mapping[str, Sequence[Answer]]
    batch: int = 200
    _filters: dict[tuple[str, str], Filter] = field(default_factory=dict)

    @cached_property
    def queries(self) -> Queries:
        """What was asked of resources before."""
        return Queries(self.repository.search_engine)

    def filter(self, text: str, topic: Topic) -> Filter:
        """A filter of a subscription, read once; raises Unprocessable."""
        key = (topic.url, text)
        if key not in self._filters:
            self._filters[key] = topics.read_filter(text, topic)
        return self._filters[key]

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
            turn = _Pass(self, uow, tenant)
            for change in found:
                turn.dispatch(change)
                metrics.dispatch_lag_seconds.observe(max(0.0, (now - change.recorded).total_seconds()))
            events.number(uow, tenant, turn.numbered)
            changes.advance(uow, tenant, found[-1].position)
            kill_points.at("before-event")
        return len(found)


class _Pass:
    """One pass over one tenant's changes."""

    def __init__(self, dispatcher: Dispatcher, uow: UnitOfWork, tenant: int) -> None:
        self._dispatcher = dispatcher
        self._uow = uow
        self._tenant = tenant
        #: Events in their order, to be given their numbers at the end.
        self.numbered: list[events.Unnumbered] = []
        self._listening: dict[str, list[events.SubscriptionState]] | None = None

    @cached_property
    def _engine(self) -> Search:
        return self._dispatcher.queries.engine(self._uow, self._tenant)

    def dispatch(self, change: Change) -> None:
        """Finds what the change is an event of, and for whom."""
        topics_of_all = self._dispatcher.topics
        if change.type == "Subscription":
            self._follow(change)
        if not any(trigger.resource == change.type for topic in topics_of_all for trigger in topic.triggers):
            return
        version_of = self._dispatcher.repository.version_of
        after = version_of(self._uow, self._tenant, change.type, change.id, change.version)
        before = version_of(self._uow, self._tenant, change.type, change.id, change.version - 1)
        lookup = Lookup(self._dispatcher.queries, self._engine, self._uow, self._tenant)
        for topic in self._matched(change, before, after, lookup):
            self._number(change, topic, after or before or {}, topics.interaction(before, after), lookup)
            for answer in self._dispatcher.answers.get(topic.url, ()):
                self._uow.defer(
                    answer.task, queue=answer.queue, tenant=self._tenant, topic=topic.url, type=change.type,
                    id=change.id, version=change.version, recorded=change.recorded.isoformat(),
                )  # fmt: skip

    def _matched(self, change: Change, before: Resource | None, after: Resource | None, lookup: Lookup) -> list[Topic]:
        """The topics; a resource that a topic's criteria can't be asked of (odd data) is no event of any."""
        try:
            return topics.match(before, after, self._dispatcher.topics, lookup.matches)
        except HutongError as error:
            # It must not stop the events of everybody else; the metric makes it seen.
            metrics.unmatched_changes.labels(type=change.type).inc()
            _log.error("change %s of %s/%s can't be matched: %s", change.seq, change.type, change.id, error.details)
            return []

    def _number(self, change: Change, topic: Topic, focus: Resource, interaction: str, lookup: Lookup) -> None:
        passed: dict[str, bool] = {}
        for state in self._subscribed(topic):
            if state.filters not in passed:
                passed[state.filters] = self._passes(state, topic, focus, lookup)
            if passed[state.filters]:
                event = events.Unnumbered(
                    subscription=state.id, topic=topic.url, type=change.type, id=change.id, version=change.version,
                    interaction=interaction, recorded=change.recorded,
                )  # fmt: skip
                self.numbered.append(event)
                metrics.events.labels(topic=topic.title).inc()

    def _subscribed(self, topic: Topic) -> Sequence[events.SubscriptionState]:
        """The subscriptions to a topic that get numbers, as they stand at this place among the changes."""
        if self._listening is None:
            self._listening = {}
            for state in events.listening(self._uow, self._tenant):
                self._listening.setdefault(state.topic, []).append(state)
        return self._listening.get(topic.url, ())

    def _passes(self, state: events.SubscriptionState, topic: Topic, focus: Resource, lookup: Lookup) -> bool:
        try:
            filters = [self._dispatcher.filter(text, topic) for text in state.filters.split("\n") if text]
            return topics.passes(focus, filters, lookup.matches, lookup.related)
        except HutongError as error:
            # A filter that was taken once and can't be asked any more; $status tells the subscriber.
            events.complain(self._uow, self._tenant, state.id, f"A filter can't be evaluated: {error.details}")
            return False

    def _follow(self, change: Change) -> None:
        """Takes over a version of a Subscription, at its place among all changes."""
        uow, tenant, dispatcher = self._uow, self._tenant, self._dispatcher
        self._listening = None
        resource = dispatcher.repository.version_of(uow, tenant, change.type, change.id, change.version)
        if resource is None:
            events.remove(uow, tenant, change.id, change.version)
            return
        try:
            found = subscriptions.read(resource, dispatcher.topics)
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
            filters=found.filter_texts, until=found.end, channel=found.channel.type, heartbeat=found.channel.heartbeat,
        )  # fmt: skip
