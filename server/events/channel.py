"""Channels of Subscriptions: what each needs of endpoint, headers and payload.

https://hl7.org/fhir/R4/subscription.html, https://hl7.org/fhir/uv/subscriptions-backport/ (channels)
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from server.errors import Issue
from server.outbound.guard import Guard
from server.outbound.http import check_url

BACKPORT = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/"
CONTENT = f"{BACKPORT}backport-payload-content"
TIMEOUT = f"{BACKPORT}backport-timeout"
MAX_COUNT = f"{BACKPORT}backport-max-count"
HEARTBEAT = f"{BACKPORT}backport-heartbeat-period"
CONTENTS = ("empty", "id-only", "full-resource")
REST_HOOK, WEBSOCKET, MESSAGE, EMAIL = "rest-hook", "websocket", "message", "email"
CHANNELS = (REST_HOOK, WEBSOCKET, MESSAGE, EMAIL)
#: What stands for a header's value, which only the server and its subscriber know.
MASK = "***"
#: Most events in one notification.
MOST_EVENTS = 100
_FORMATS = ("application/fhir+json", "application/fhir+xml")
_BODIES = ("text/plain", "text/html")
_VERSIONS = ("", "4.0", "4.0.1")
#: Headers that belong to the connection and not to the subscriber.
_OURS = frozenset({"host", "content-length", "content-type", "transfer-encoding", "connection", "upgrade"})
_MAILTO = re.compile(r"mailto:([A-Za-z0-9.!#$%&'*+/=?^_{|}~-]{1,64}@[A-Za-z0-9.-]{1,253})")


@dataclass(frozen=True, kw_only=True, slots=True)
class Channel:
    """How a subscriber is told."""

    type: str
    #: URL; the address alone for email; empty for a websocket.
    endpoint: str
    #: Names and values; the value ``MASK`` stands for one that is kept elsewhere.
    headers: tuple[tuple[str, str], ...]
    #: Media type of the notification: what is sent, or what is attached; empty for a mail without attachment.
    form: str
    #: Media type of a mail's text.
    body: str
    #: empty, id-only or full-resource.
    content: str
    #: Most events in one notification.
    max_count: int
    #: Seconds that one notification may take; None for the server's own limit.
    timeout: float | None
    #: Seconds without a notification after which there is a heartbeat.
    heartbeat: int | None


def read(channel: Mapping[str, Any], problems: list[Issue]) -> Channel:
    """The channel of a Subscription; what is not supported is added to ``problems``."""
    kind = str(channel.get("type", ""))
    if kind not in CHANNELS or "_type" in channel:
        problems.append(issue(f"The supported channels are {', '.join(CHANNELS)}.", "Subscription.channel.type"))
    content = str(_extension(channel.get("_payload", {}), CONTENT, "valueCode") or "")
    if content not in CONTENTS:
        place = "Subscription.channel.payload.extension"
        problems.append(issue(f"Add the extension {CONTENT} with {', '.join(CONTENTS)}.", place))
    form, body = _payload(str(channel.get("payload", "")), kind, content, problems)
    timeout = _extension(channel, TIMEOUT, "valueUnsignedInt")
    heartbeat = _extension(channel, HEARTBEAT, "valueUnsignedInt")
    return Channel(
        type=kind,
        endpoint=_endpoint(str(channel.get("endpoint", "")), kind, problems),
        headers=_headers(channel, kind, problems),
        form=form,
        body=body,
        content=content,
        max_count=min(int(_extension(channel, MAX_COUNT, "valuePositiveInt") or 1), MOST_EVENTS),
        timeout=float(timeout) if timeout else None,
        heartbeat=int(heartbeat) if heartbeat else None,
    )


def check_endpoint(channel: Channel, guard: Guard) -> None:
    """Refuses an endpoint that is out of bounds; raises Unprocessable or Forbidden."""
    if channel.type in (REST_HOOK, MESSAGE):
        check_url(channel.endpoint, guard)


def header(line: str) -> tuple[str, str]:
    """Name and value of a header; raises ValueError for one that can't be sent."""
    name, colon, value = line.partition(":")
    name, value = name.strip(), value.strip()
    sound = value.isprintable() and value.isascii() and name.isascii() and name.replace("-", "").replace("_", "")
    if not colon or not sound or not sound.isalnum() or name.lower() in _OURS:
        raise ValueError(line)
    return name, value


def issue(details: str, expression: str) -> Issue:
    """One thing that is not supported."""
    return Issue(code="not-supported", details=details, expression=expression)


def _payload(text: str, kind: str, content: str, problems: list[Issue]) -> tuple[str, str]:
    """Media type of the notification and, in mail, of the text around it."""
    first, *rest = (part.strip() for part in text.split(";"))
    given = dict(part.split("=", 1) for part in rest if "=" in part)
    place = "Subscription.channel.payload"
    if given.pop("fhirVersion", "").strip('"') not in _VERSIONS:
        problems.append(issue("Notifications are in FHIR 4.0.", place))
    if kind != EMAIL:
        if first not in _FORMATS:
            problems.append(issue(f"The payload is one of {', '.join(_FORMATS)}.", place))
        return first, ""
    attached = given.get("attach", "").strip('"')
    if first not in _BODIES or attached not in ("", *_FORMATS):
        wanted = f"{' or '.join(_BODIES)}, with ;attach={' or ;attach='.join(_FORMATS)} if wanted"
        problems.append(issue(f"The payload of a mail is {wanted}.", place))
    elif not attached and content == "full-resource":
        problems.append(issue("Resources are attached to a mail: add ;attach=application/fhir+json.", place))
    return attached, first


def _endpoint(text: str, kind: str, problems: list[Issue]) -> str:
    place = "Subscription.channel.endpoint"
    if kind in (REST_HOOK, MESSAGE) and not text:
        problems.append(issue(f"A {kind} needs the endpoint to POST to.", place))
    if kind == EMAIL:
        found = _MAILTO.fullmatch(text)
        if found is None:
            problems.append(issue("The endpoint of an email channel is written mailto:name@host.", place))
        return found[1] if found else ""
    return text if kind != WEBSOCKET else ""


def _headers(channel: Mapping[str, Any], kind: str, problems: list[Issue]) -> tuple[tuple[str, str], ...]:
    found = []
    place = "Subscription.channel.header"
    for line in channel.get("header", ()):
        try:
            found.append(header(str(line)))
        except ValueError:
            wording = "A header is written 'Name: value' and is none of the connection's own."
            problems.append(issue(wording, place))
    if found and kind not in (REST_HOOK, MESSAGE):
        problems.append(issue("Headers go with rest-hook and message only.", place))
    return tuple(found)


def _extension(element: Mapping[str, Any], url: str, value: str) -> Any:
    return next((item.get(value) for item in element.get("extension", ()) if item.get("url") == url), None)
