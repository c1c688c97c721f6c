"""R4 Subscription resources in the Backport IG's profile: what we take, what we refuse, what they say.

https://hl7.org/fhir/uv/subscriptions-backport/ (profile backport-subscription)
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from server.errors import HutongError, Issue, Unprocessable
from server.events import channel as channels
from server.events.channel import BACKPORT, EMAIL, Channel, check_endpoint, issue
from server.events.topics import Filter, Topic, parse_filter, read_filter
from server.fhir.definitions import Definitions
from server.outbound.guard import Guard
from server.repository.written import Check, Writing
from server.security.access import system

FILTER = f"{BACKPORT}backport-filter-criteria"

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
    channel: Channel
    end: datetime | None


def read(resource: Resource, topics: Iterable[Topic], known: Definitions | None = None) -> Subscription:
    """The Subscription in a resource; raises Unprocessable that names each thing that is not supported.

    With ``known`` its filters have to be search parameters of these definitions.
    """
    problems: list[Issue] = []
    topic = _topic(resource, topics, problems)
    filters = _filters(resource, topic, known, problems)
    channel = channels.read(resource.get("channel", {}), problems)
    if topic is None or problems:
        raise Unprocessable("This subscription is not supported as it stands.", issues=tuple(problems))
    return Subscription(
        id=resource.get("id", ""),
        status=resource.get("status", "requested"),
        topic=topic,
        filters=tuple(item for _, item in filters),
        filter_texts=tuple(text for text, _ in filters),
        channel=channel,
        end=datetime.fromisoformat(resource["end"]) if resource.get("end") else None,
    )


def checking(topics: Iterable[Topic], guard: Guard, *, mail: bool = False) -> Check:
    """The rule on writes that refuses Subscriptions which are unsupported, out of bounds, or active by decree.

    ``mail`` says whether there is a server to send mail by.
    """
    known = tuple(topics)

    def check(writing: Writing, resource: Resource, before: Resource | None) -> None:
        access = writing.access
        if resource["resourceType"] != "Subscription" or access == system(access.tenant):
            return
        access.require("read")
        subscription = read(resource, known, writing.matching.definitions)
        check_endpoint(subscription.channel, guard)
        if subscription.channel.type == EMAIL and not mail:
            raise Unprocessable(
                "This server has no mail server to send by: the operator names one in the setting smtp_url.",
                expression="Subscription.channel.type",
            )
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
            issue(f"criteria must be the canonical of a topic: {', '.join(sorted(known))}.", "Subscription.criteria")
        )
    return topic


def _filters(
    resource: Resource, topic: Topic | None, known: Definitions | None, problems: list[Issue]
) -> list[tuple[str, Filter]]:
    found: list[tuple[str, Filter]] = []
    for extension in resource.get("_criteria", {}).get("extension", ()):
        if extension.get("url") != FILTER:
            problems.append(
                issue(f"The extension {extension.get('url')} is not supported.", "Subscription.criteria.extension")
            )
        elif topic is not None:
            text = str(extension.get("valueString", ""))
            try:
                found.append((text, parse_filter(text, topic, known) if known else read_filter(text, topic)))
            except HutongError as error:
                problems.extend(error.issues)
    return found
