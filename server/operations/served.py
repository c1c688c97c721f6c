"""The operations that this server has, each with its canonical and where it may be called."""

from server.operations import (
    apply,
    document,
    everything,
    expand,
    graphql,
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
from server.repository import Repository, Resource

#: https://hl7.org/fhir/uv/subscriptions-backport/ (R4)
_BACKPORT = "http://hl7.org/fhir/uv/subscriptions-backport/OperationDefinition/backport-subscription-"


def served(repository: Repository) -> tuple[Operation, ...]:
    """Every operation, over one repository."""
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
        *apply.operations(repository),
        graphql.operation(repository),
        _subscription_status(repository),
        _subscription_events(repository),
    )


def _subscription_status(repository: Repository) -> Operation:
    def run(request: OperationRequest) -> Resource:
        ids = [request.id] if request.id else [str(id) for id in request.values("id")]
        statuses = [str(status) for status in request.values("status")]
        return subscription_status(repository, request.access, ids=ids, statuses=statuses, base=request.base_url)

    return Operation(
        name="$status",
        canonical=f"{_BACKPORT}status",
        resource_type="Subscription",
        levels=frozenset({"type", "instance"}),
        run=run,
    )


def _subscription_events(repository: Repository) -> Operation:
    def run(request: OperationRequest) -> Resource:
        return subscription_events(
            repository,
            request.access,
            request.id,
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
