"""Subscription/[id]/$events: past events of one subscription (https://hl7.org/fhir/uv/subscriptions-backport/, R4)."""

from typing import Any

from server.errors import BadRequest
from server.events import notification, topics
from server.events.channel import CONTENTS
from server.events.content import content_of
from server.operations.subscription_status import state_of
from server.repository import Repository, Transaction
from server.security.access import Access
from server.store import events

Resource = dict[str, Any]

#: Most events in one answer; the next ones are asked for by number.
MOST = 1000


def subscription_events(
    repository: Repository, access: Access, id: str, *, since: str = "", until: str = "", content: str = "", base: str
) -> Resource:
    """A notification bundle of type query-event with the events from number ``since`` to ``until``, both included."""
    access.require("read")
    if content not in ("", *CONTENTS):
        raise BadRequest(f"content is one of {', '.join(CONTENTS)}.", expression="content")
    first, last = _number(since, "eventsSinceNumber", 0), _number(until, "eventsUntilNumber", 1 << 62)
    with repository.database.reading() as uow:
        state = state_of(uow, access, id)
        found = events.between(uow, access.tenant, id, first=first, last=last, limit=MOST)
        oldest = events.oldest(uow, access.tenant, id)
        topic = next((one for one in topics.load() if one.url == state.topic), None)
        full = content == "full-resource" and topic is not None
        resources = content_of(Transaction(repository, uow, access), topic, found) if full and topic else {}
    bundle = notification.bundle(
        state, "query-event", base=base, events=found, content=content or "id-only", resources=resources
    )
    oldest = state.events + 1 if oldest is None else oldest
    return _with_gap(bundle, oldest) if max(first, 1) < oldest and state.events else bundle


def _with_gap(bundle: Resource, oldest: int) -> Resource:
    """Says in the status which event is the oldest one kept: the others were deleted after the retention time."""
    text = f"Events before number {oldest} are no longer kept."
    bundle["entry"][0]["resource"]["parameter"].append({"name": "error", "valueCodeableConcept": {"text": text}})
    return bundle


def _number(text: str, name: str, default: int) -> int:
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise BadRequest(f"{name} is the number of an event.", expression=name)
    return int(text)
