"""Subscription/$status and Subscription/[id]/$status: https://hl7.org/fhir/uv/subscriptions-backport/ (R4)."""

from collections.abc import Iterable, Sequence
from typing import Any

from server.errors import NotFound
from server.events import notification
from server.repository import Repository, Transaction
from server.security.access import Access
from server.store import events
from server.store.database import UnitOfWork
from server.store.events import SubscriptionState

Resource = dict[str, Any]


def subscription_status(
    repository: Repository, access: Access, *, ids: Sequence[str] = (), statuses: Iterable[str] = (), base: str
) -> Resource:
    """A searchset with one status for each Subscription: those named, or all, whose status is one of ``statuses``."""
    access.require("read")
    wanted = frozenset(statuses)
    with repository.reading(access) as tx:
        found = [state_of(tx.uow, access, id) for id in ids] if ids else _all(tx)
    states = [state for state in found if not wanted or state.status in wanted]
    return notification.searchset((notification.status(state, "query-status", base=base) for state in states), base)


def _all(tx: Transaction) -> list[SubscriptionState]:
    """Those that were not deleted."""
    states = events.states(tx.uow, tx.access.tenant)
    there = {found.id for found in tx.read_many([("Subscription", state.id) for state in states])}
    return [state for state in states if state.id in there]


def state_of(uow: UnitOfWork, access: Access, id: str) -> SubscriptionState:
    """The standing of one Subscription; NotFound where there is none, or none yet."""
    state = events.state(uow, access.tenant, id)
    if state is None:
        raise NotFound(f"There is no Subscription/{id}, or it was written this very moment; ask again.")
    return state
