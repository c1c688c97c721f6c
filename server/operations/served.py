"""The operations that this server has, each with its canonical and where it may be called."""

from server.events import topics
from server.events.subscriber import Subscribers
from server.events.topics import Topic
from server.events.websocket import Websockets
from server.operations import (
    apply,
    closure,
    diff,
    document,
    evaluate_measure,
    everything,
    expand,
    export,
    graphql,
    import_,
    lastn,
    lookup,
    match,
    meta,
    subsumes,
    translate,
    validate,
    validate_code,
)
from server.operations.bulk import BulkRequests
from server.operations.definition import Call, defined
from server.operations.operation import Operation
from server.operations.subscription_events import subscription_events
from server.operations.subscription_status import subscription_status
from server.operations.subscription_ws_binding_token import subscription_ws_binding_token
from server.outbound.guard import Guard
from server.repository import Repository, Resource

#: https://hl7.org/fhir/uv/subscriptions-backport/ (R4)
_BACKPORT = "http://hl7.org/fhir/uv/subscriptions-backport/OperationDefinition/backport-subscription-"


def served(
    repository: Repository,
    requests: BulkRequests | None = None,
    guard: Guard | None = None,
    known: tuple[Topic, ...] | None = None,
) -> tuple[Operation, ...]:
    """Every operation, over one repository; those whose work goes on are there with ``requests``.

    ``guard`` says which addresses may be fetched from, public ones without it; ``known`` are the topics, those of the
    house where none are given.
    """
    known = topics.load() if known is None else known
    return (
        *_lasting(repository, requests, guard or Guard()),
        validate.operation(repository),
        *meta.operations(repository),
        diff.operation(repository),
        *everything.operations(repository),
        lastn.operation(repository),
        match.operation(repository),
        document.operation(repository),
        lookup.operation(repository),
        subsumes.operation(repository),
        *validate_code.operations(repository),
        expand.operation(repository),
        translate.operation(repository),
        closure.operation(repository),
        *apply.operations(repository),
        evaluate_measure.operation(repository),
        graphql.operation(repository),
        _subscription_status(repository),
        _subscription_events(repository, known),
        _subscription_ws_binding_token(repository, known),
    )


def _lasting(repository: Repository, requests: BulkRequests | None, guard: Guard) -> tuple[Operation, ...]:
    if requests is None:
        return ()
    return (*export.operations(repository, requests), import_.operation(repository, requests, guard))


def _subscription_status(repository: Repository) -> Operation:
    def status(call: Call) -> Resource:
        # On an instance the guide has both parameters ignored.
        ids, statuses = ([call.id], ()) if call.id else (call.all("id"), call.all("status"))
        return subscription_status(repository, call.access, ids=ids, statuses=statuses, base=call.base_url)

    return defined(repository, f"{_BACKPORT}status", status)


def _subscription_events(repository: Repository, known: tuple[Topic, ...]) -> Operation:
    def events(call: Call) -> Resource:
        return subscription_events(
            repository,
            call.access,
            call.id,
            topics=known,
            since=call.one("eventsSinceNumber", ""),
            until=call.one("eventsUntilNumber", ""),
            content=call.one("content", ""),
            base=call.base_url,
        )

    return defined(repository, f"{_BACKPORT}events", events)


def _subscription_ws_binding_token(repository: Repository, known: tuple[Topic, ...]) -> Operation:
    websockets = Websockets(repository=repository, topics=known, subscribers=Subscribers())

    def token(call: Call) -> Resource:
        # On an instance the guide has the parameter ignored.
        ids = [call.id] if call.id else call.all("id")
        return subscription_ws_binding_token(websockets, call.access, ids=ids, base=call.base_url)

    return defined(repository, f"{_BACKPORT}get-ws-binding-token", token)
