"""R4 Subscription resources in the Backport IG's profile: what we take, what we refuse, what they say.

https://hl7.org/fhir/uv/subscriptions-backport/ (profile backport-subscription). One channel (rest-hook), one payload
type (application/fhir+json), content empty, id-only or full-resource.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from server.errors import HutongError, Issue, Unprocessable
from server.events.topics import Filter, Topic, parse_filter
from server.outbound.http import Guard, check_url
from server.security.access import Access, system

BACKPORT = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/"
FILTER = f"{BACKPORT}backport-filter-criteria"
CONTENT = f"{BACKPORT}backport-payload-content"
TIMEOUT = f"{BACKPORT}backport-timeout"
MAX_COUNT = f"{BACKPORT}backport-max-count"
HEARTBEAT = f"{BACKPORT}backport-heartbeat-period"
PAYLOAD = "application/fhir+json"
CONTENTS = ("empty", "id-only", "full-resource")
#: Headers that belong to the connection and not to the subscriber.
_OURS = frozenset({"host", "content-length", "content-type", "transfer-encoding", "connection", "upgrade"})
_MOST_EVENTS = 100

Resource = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Subscription:
    """What one Subscription resource asks for."""

    id: str
    #: requested, active, error or off.
    status: str
    topic: Topic
    filters: tuple[Filter, ...]
    filter_texts: tuple[str, ...]
    endpoint: str
    headers: tuple[tuple[str, str], ...]
    #: empty, id-only or full-resource.
    content: str
    #: Most events in one notification.
    max_count: int
    #: Seconds that one POST may take; None for the server's own limit.
    timeout: float | None
    end: datetime | None


def read(resource: Resource, topics: Iterable[Topic]) -> Subscription:
    """The Subscription in a resource; raises Unprocessable that names each thing that is not supported."""
    problems: list[Issue] = []
    channel = resource.get("channel", {})
    topic = _topic(resource, topics, problems)
    filters = _filters(resource, topic, problems)
    _channel(channel, problems)
    content = str(_extension(channel.get("_payload", {}), CONTENT, "valueCode") or "")
    if content not in CONTENTS:
        problems.append(
            _issue(f"Add the extension {CONTENT} with {', '.join(CONTENTS)}.", "Subscription.channel.payload.extension")
        )
    headers = _headers(channel, problems)
    if topic is None or problems:
        raise Unprocessable("This subscription is not supported as it stands.", issues=tuple(problems))
    timeout = _extension(channel, TIMEOUT, "valueUnsignedInt")
    return Subscription(
        id=resource.get("id", ""),
        status=resource.get("status", "requested"),
        topic=topic,
        filters=tuple(item for _, item in filters),
        filter_texts=tuple(text for text, _ in filters),
        endpoint=channel.get("endpoint", ""),
        headers=headers,
        content=content,
        max_count=min(int(_extension(channel, MAX_COUNT, "valuePositiveInt") or 1), _MOST_EVENTS),
        timeout=float(timeout) if timeout else None,
        end=datetime.fromisoformat(resource["end"]) if resource.get("end") else None,
    )


def checking(topics: Iterable[Topic], guard: Guard) -> Callable[[Access, Resource, Resource | None], None]:
    """The rule on writes that refuses Subscriptions which are unsupported, out of bounds, or active by decree."""
    known = tuple(topics)

    def check(access: Access, resource: Resource, before: Resource | None) -> None:
        if resource["resourceType"] != "Subscription" or access == system(access.tenant):
            return
        subscription = read(resource, known)
        check_url(subscription.endpoint, guard)
        if subscription.status not in ("requested", "off") and not _untouched(resource, before):
            raise Unprocessable(
                "Only the server makes a subscription active, once the endpoint has answered the handshake: "
                "send the status 'requested' (or 'off').",
                expression="Subscription.status",
            )

    return check


def _untouched(resource: Resource, before: Resource | None) -> bool:
    """Whether a write leaves alone what the handshake was about."""
    parts = ("status", "criteria", "_criteria", "channel")
    return before is not None and all(resource.get(part) == before.get(part) for part in parts)


def _topic(resource: Resource, topics: Iterable[Topic], problems: list[Issue]) -> Topic | None:
    known = {topic.url: topic for topic in topics}
    topic = known.get(str(resource.get("criteria", "")).partition("|")[0])
    if topic is None:
        problems.append(
            _issue(f"criteria must be the canonical of a topic: {', '.join(sorted(known))}.", "Subscription.criteria")
        )
    return topic


def _filters(resource: Resource, topic: Topic | None, problems: list[Issue]) -> list[tuple[str, Filter]]:
    found: list[tuple[str, Filter]] = []
    for extension in resource.get("_criteria", {}).get("extension", ()):
        if extension.get("url") != FILTER:
            problems.append(
                _issue(f"The extension {extension.get('url')} is not supported.", "Subscription.criteria.extension")
            )
        elif topic is not None:
            text = str(extension.get("valueString", ""))
            try:
                found.append((text, parse_filter(text, topic)))
            except HutongError as error:
                problems.extend(error.issues)
    return found


def _channel(channel: Mapping[str, Any], problems: list[Issue]) -> None:
    if channel.get("type") != "rest-hook" or "_type" in channel:
        problems.append(_issue("The one supported channel is rest-hook.", "Subscription.channel.type"))
    if not channel.get("endpoint"):
        problems.append(_issue("A rest-hook needs the endpoint to POST to.", "Subscription.channel.endpoint"))
    if str(channel.get("payload", "")).partition(";")[0] != PAYLOAD:
        problems.append(_issue(f"The one supported payload is {PAYLOAD}.", "Subscription.channel.payload"))
    if _extension(channel, HEARTBEAT, "valueUnsignedInt"):
        problems.append(_issue("Heartbeats are not supported; use $status instead.", "Subscription.channel.extension"))


def _headers(channel: Mapping[str, Any], problems: list[Issue]) -> tuple[tuple[str, str], ...]:
    found = []
    for header in channel.get("header", ()):
        name, colon, value = str(header).partition(":")
        printable = value.isprintable() and value.isascii() and name.replace("-", "").replace("_", "").isalnum()
        if not colon or not printable or not name.isascii() or name.strip().lower() in _OURS:
            problems.append(
                _issue("A header is written 'Name: value' and is none of the connection's own.",
                       "Subscription.channel.header")
            )  # fmt: skip
        found.append((name.strip(), value.strip()))
    return tuple(found)


def _extension(element: Mapping[str, Any], url: str, value: str) -> Any:
    return next((item.get(value) for item in element.get("extension", ()) if item.get("url") == url), None)


def _issue(details: str, expression: str) -> Issue:
    return Issue(code="not-supported", details=details, expression=expression)
