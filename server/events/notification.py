"""Notification bundles: https://hl7.org/fhir/uv/subscriptions-backport/ (backport-subscription-notification-r4).

A Bundle of type history whose first entry is a Parameters in the profile backport-subscription-status-r4; every entry
has its request and response, as a history entry must (R4 bdl-3, bdl-4). A message wraps such a Bundle.
"""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from server.events.channel import BACKPORT
from server.store.events import Event, SubscriptionState

STATUS_PROFILE = f"{BACKPORT}backport-subscription-status-r4"
NOTIFICATION_PROFILE = f"{BACKPORT}backport-subscription-notification-r4"

Resource = dict[str, Any]
#: Of an event: the focus in the version that made it, None for a delete, and what its topic's shape adds.
Content = Mapping[int, tuple[Resource | None, Sequence[Resource]]]
_METHODS = {"create": ("POST", "201"), "update": ("PUT", "200"), "delete": ("DELETE", "204")}


def status(
    state: SubscriptionState,
    kind: str,
    *,
    base: str,
    events: Sequence[Event] = (),
    content: str = "empty",
    resources: Content | None = None,
) -> Resource:
    """The status Parameters; ``kind`` is handshake, heartbeat, event-notification, query-status or query-event."""
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
    for event in events:
        _, context = (resources or {}).get(event.number, (None, ()))
        parameters.append({"name": "notification-event", "part": _event_parts(event, base, content, context)})
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
    resources: Content | None = None,
) -> Resource:
    """One notification; ``resources`` has what goes along with each event number for full-resource content."""
    first = status(state, kind, base=base, events=events, content=content, resources=resources)
    entries: list[Resource] = [
        {
            "fullUrl": f"urn:uuid:{first['id']}",
            "resource": first,
            "request": {"method": "GET", "url": f"Subscription/{state.id}/$status"},
            "response": {"status": "200"},
        }
    ]
    if content != "empty":
        entries += [_entry(event, base, (resources or {}).get(event.number, (None, ()))[0]) for event in events]
        entries += _context(base, events, resources or {})
    return {
        "resourceType": "Bundle",
        "id": str(uuid.uuid4()),
        "meta": {"profile": [NOTIFICATION_PROFILE]},
        "type": "history",
        "timestamp": instant(datetime.now(UTC)),
        "entry": entries,
    }


def message(bundle: Resource, topic: str, *, source: str, destination: str) -> Resource:
    """A notification as a FHIR message: https://hl7.org/fhir/R4/messaging.html"""
    header = str(uuid.uuid4())
    focus = f"urn:uuid:{bundle['id']}"
    return {
        "resourceType": "Bundle",
        "id": str(uuid.uuid4()),
        "type": "message",
        "timestamp": bundle["timestamp"],
        "entry": [
            {
                "fullUrl": f"urn:uuid:{header}",
                "resource": {
                    "resourceType": "MessageHeader",
                    "id": header,
                    "eventUri": topic,
                    "destination": [{"endpoint": destination}],
                    "source": {"name": "Hutong", "endpoint": source},
                    "focus": [{"reference": focus}],
                },
            },
            {"fullUrl": focus, "resource": bundle},
        ],
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


def _event_parts(event: Event, base: str, content: str, context: Sequence[Resource]) -> list[Resource]:
    parts: list[Resource] = [
        {"name": "event-number", "valueString": str(event.number)},
        {"name": "timestamp", "valueInstant": instant(event.recorded)},
    ]
    if content != "empty":
        parts.append({"name": "focus", "valueReference": {"reference": f"{base}/{event.type}/{event.id}"}})
    places = (f"{base}/{found['resourceType']}/{found['id']}" for found in context)
    parts += [{"name": "additional-context", "valueReference": {"reference": place}} for place in places]
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


def _context(base: str, events: Sequence[Event], resources: Content) -> list[Resource]:
    """An entry for each resource that goes along with an event and is none's focus, each once."""
    focuses = {(event.type, event.id) for event in events}
    found = {
        (one["resourceType"], one["id"]): one
        for event in events
        for one in resources.get(event.number, (None, ()))[1]
        if (one["resourceType"], one["id"]) not in focuses
    }
    return [
        {
            "fullUrl": f"{base}/{type}/{id}",
            "resource": resource,
            "request": {"method": "GET", "url": f"{type}/{id}"},
            "response": {"status": "200"},
        }
        for (type, id), resource in found.items()
    ]
