"""Notification bundles: https://hl7.org/fhir/uv/subscriptions-backport/ (backport-subscription-notification-r4).

A Bundle of type history whose first entry is a Parameters in the profile backport-subscription-status-r4; every entry
has its request and response, as a history entry must (R4 bdl-3, bdl-4).
"""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from server.events.subscriptions import BACKPORT
from server.store.events import Event, SubscriptionState

STATUS_PROFILE = f"{BACKPORT}backport-subscription-status-r4"
NOTIFICATION_PROFILE = f"{BACKPORT}backport-subscription-notification-r4"

Resource = dict[str, Any]
_METHODS = {"create": ("POST", "201"), "update": ("PUT", "200"), "delete": ("DELETE", "204")}


def status(
    state: SubscriptionState, kind: str, *, base: str, events: Sequence[Event] = (), content: str = "empty"
) -> Resource:
    """The status Parameters; ``kind`` is handshake, event-notification, query-status or query-event."""
    parameters: list[Resource] = [
        {"name": "subscription", "valueReference": {"reference": f"{base}/Subscription/{state.id}"}},
    ]
    if content != "empty" or not events:
        parameters.append({"name": "topic", "valueCanonical": state.topic})
    parameters += [
        {"name": "status", "valueCode": state.status},
        {"name": "type", "valueCode": kind},
        {"name": "events-since-subscription-start", "valueString": str(state.events)},
    ]
    parameters += [{"name": "notification-event", "part": _event_parts(event, base, content)} for event in events]
    if state.last_error:
        parameters.append({"name": "error", "valueCodeableConcept": {"text": state.last_error}})
    return {
        "resourceType": "Parameters",
        "id": str(uuid.uuid4()),
        "meta": {"profile": [STATUS_PROFILE]},
        "parameter": parameters,
    }


def bundle(
    state: SubscriptionState,
    kind: str,
    *,
    base: str,
    events: Sequence[Event] = (),
    content: str = "empty",
    resources: Mapping[int, Resource | None] | None = None,
) -> Resource:
    """One notification; ``resources`` gives the focus of each event number for full-resource content."""
    first = status(state, kind, base=base, events=events, content=content)
    entries: list[Resource] = [
        {
            "fullUrl": f"urn:uuid:{first['id']}",
            "resource": first,
            "request": {"method": "GET", "url": f"Subscription/{state.id}/$status"},
            "response": {"status": "200"},
        }
    ]
    if content != "empty":
        entries += [_entry(event, base, (resources or {}).get(event.number)) for event in events]
    return {
        "resourceType": "Bundle",
        "id": str(uuid.uuid4()),
        "meta": {"profile": [NOTIFICATION_PROFILE]},
        "type": "history",
        "timestamp": instant(datetime.now(UTC)),
        "entry": entries,
    }


def searchset(statuses: Iterable[Resource], base: str) -> Resource:
    """What $status answers: a searchset of status Parameters."""
    entries = [
        {"fullUrl": f"urn:uuid:{found['id']}", "resource": found, "search": {"mode": "match"}} for found in statuses
    ]
    found: Resource = {"resourceType": "Bundle", "id": str(uuid.uuid4()), "type": "searchset", "total": len(entries)}
    return {**found, "link": [{"relation": "self", "url": f"{base}/Subscription/$status"}], "entry": entries}


def instant(moment: datetime) -> str:
    """A FHIR instant in UTC, to the millisecond."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _event_parts(event: Event, base: str, content: str) -> list[Resource]:
    parts: list[Resource] = [
        {"name": "event-number", "valueString": str(event.number)},
        {"name": "timestamp", "valueInstant": instant(event.recorded)},
    ]
    if content != "empty":
        parts.append({"name": "focus", "valueReference": {"reference": f"{base}/{event.type}/{event.id}"}})
    return parts


def _entry(event: Event, base: str, resource: Resource | None) -> Resource:
    method, code = _METHODS[event.interaction]
    url = event.type if method == "POST" else f"{event.type}/{event.id}"
    entry: Resource = {
        "fullUrl": f"{base}/{event.type}/{event.id}",
        "request": {"method": method, "url": url},
        "response": {"status": code, "etag": f'W/"{event.version}"', "lastModified": instant(event.recorded)},
    }
    # R4 bdl-5: an entry that has a request may go without a resource.
    return {**entry, "resource": resource} if resource is not None else entry
