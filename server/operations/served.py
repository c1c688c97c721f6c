"""The operations that this server has, each with its canonical and where it may be called."""

from server.events import topics
from server.events.subscriber import Subscribers
from server.events.topics import Topic
from server.events.websocket import Websockets
from server.operations import (
    document,
    everything,
    expand,
    lastn,
    lookup,
    meta,
    subsumes,
    translate,
    validate,
    validate_code,
)
from server.operations.operation import Operation, OperationRequest
from server.operations.subscription_events import subscription_events
from server.operations.subscription_status import subscription_status
from server.operations.subscription_ws_binding_token import subscription_ws_binding_token
from server.repository import Repository, Resource

#: https://hl7.org/fhir/uv/subscriptions-backport/ (R4)
_BACKPORT = "http://hl7.org/fhir/uv/subscriptions-backport/OperationDefinition/backport-subscription-"


def served(repository: Repository, known: tuple[Topic, ...] | None = None) -> tuple[Operation, ...]:
    """Every operation, over one repository; ``known`` are the topics, those of the house where none are given."""
    known = topics.load() if known is None else known
    return (
        validate.operation(repository),
        *meta.operations(repository),
        *everything.operations(repository),
        lastn.operation(repository),
        document.operation(repository),
        lookup.operation(repository),
        subsumes.operation(repository),
        *validate_code.operations(repository),
        expand.operation(repository),
        translate.operation(repository),
        _subscription_status(repository),
        _subscription_events(repository, known),
        _subscription_ws_binding_token(repository, known),
    )


def _subscription_status(repository: Repository) -> Operation:
    def run(request: OperationRequest) -> Resource:
        # On an instance the parameters are ignored.
        ids = [request.id] if request.id else [str(id) for id in request.values("id")]
        statuses = [] if request.id else [str(status) for status in request.values("status")]
        return subscription_status(repository, request.access, ids=ids, statuses=statuses, base=request.base_url)

    return Operation(
        name="$status",
        canonical=f"{_BACKPORT}status",
        resource_type="Subscription",
        levels=frozenset({"type", "instance"}),
        run=run,
    )


def _subscription_events(repository: Repository, known: tuple[Topic, ...]) -> Operation:
    def run(request: OperationRequest) -> Resource:
        return subscription_events(
            repository,
            request.access,
            request.id,
            topics=known,
            since=str(request.value("eventsSinceNumber", "")),
            until=str(request.value("eventsUntilNumber", "")),
            content=str(request.value("content", "")),
            base=request.base_url,
        )

    return Operation(
        name="$events",
        canonical=f"{_BACKPORT}events",
        resource_type="Subscription",
        levels=frozenset({"instance"}),
        run=run,
    )


def _subscription_ws_binding_token(repository: Repository, known: tuple[Topic, ...]) -> Operation:
    websockets = Websockets(repository=repository, topics=known, subscribers=Subscribers())

    def run(request: OperationRequest) -> Resource:
        ids = [request.id] if request.id else [str(id) for id in request.values("id")]
        return subscription_ws_binding_token(websockets, request.access, ids=ids, base=request.base_url)

    return Operation(
        name="$get-ws-binding-token",
        canonical=f"{_BACKPORT}get-ws-binding-token",
        resource_type="Subscription",
        levels=frozenset({"type", "instance"}),
        run=run,
    )
