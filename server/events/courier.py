"""Carries notifications over the channels that we call: rest-hook, message, email.

https://hl7.org/fhir/uv/subscriptions-backport/channels.html
"""

from collections.abc import Mapping
from typing import Any, Protocol

from server.errors import Unavailable
from server.events.channel import EMAIL, MESSAGE, Channel
from server.events.notification import message
from server.events.subscriptions import Subscription
from server.fhir import definitions, json_format, xml_format
from server.outbound.guard import Guard
from server.outbound.http import Caller
from server.outbound.smtp import Attachment, Mail, Mailer
from server.telemetry import metrics

Resource = dict[str, Any]
_XML = "application/fhir+xml"


class Courier(Protocol):
    """The way to one subscriber, for a while."""

    def send(self, bundle: Resource, first: int, last: int) -> None:
        """Raises Unavailable or Forbidden unless the notification of these events (0 for none) was taken."""

    def close(self) -> None:
        """Ends what is open."""


def courier(
    subscription: Subscription, headers: Mapping[str, str], *, guard: Guard, mailer: Mailer | None, base: str,
    timeout: float,
) -> Courier:  # fmt: skip
    """The courier of a subscription's channel."""
    channel = subscription.channel
    seconds = min(channel.timeout or timeout, timeout)
    if channel.type == EMAIL:
        if mailer is None:
            raise Unavailable("This server has no mail server to send by; the setting smtp_url names one.")
        return _ByMail(subscription, mailer, seconds)
    if channel.type == MESSAGE:
        return _ByMessage(channel, headers, guard, seconds, subscription.topic.url, base)
    return _ByPost(channel, channel.endpoint, headers, guard, seconds)


def serialised(bundle: Resource, form: str) -> bytes:
    """A notification in JSON or XML, by its media type."""
    return xml_format.write(definitions.load(), bundle) if form == _XML else json_format.write(bundle)


class _ByPost:
    """A rest-hook: the Bundle is POSTed to the endpoint."""

    def __init__(
        self, channel: Channel, url: str, headers: Mapping[str, str], guard: Guard, timeout: float
    ) -> None:  # fmt: skip
        self._form = channel.form
        self._headers = {**headers, "Content-Type": f"{channel.form}; fhirVersion=4.0"}
        self._timeout = timeout
        self._caller = Caller(url, guard)

    def send(self, bundle: Resource, first: int, last: int) -> None:  # noqa: ARG002
        """See ``Courier.send``."""
        answer = self._caller.post(serialised(bundle, self._form), self._headers, timeout=self._timeout)
        metrics.notifications.labels(outcome=str(answer.status)).inc()
        if not answer.accepted:
            raise Unavailable(f"The endpoint answered {answer.status}.")

    def close(self) -> None:
        """See ``Courier.close``."""
        self._caller.close()


class _ByMessage(_ByPost):
    """A message: the Bundle, in one of type message, is POSTed to the endpoint's $process-message."""

    def __init__(
        self, channel: Channel, headers: Mapping[str, str], guard: Guard, timeout: float, topic: str, base: str
    ) -> None:
        endpoint = channel.endpoint.rstrip("/")
        url = endpoint if endpoint.endswith("/$process-message") else f"{endpoint}/$process-message"
        super().__init__(channel, url, headers, guard, timeout)
        self._topic, self._base, self._destination = topic, base, channel.endpoint

    def send(self, bundle: Resource, first: int, last: int) -> None:
        """See ``Courier.send``."""
        wrapped = message(bundle, self._topic, source=self._base, destination=self._destination)
        super().send(wrapped, first, last)


class _ByMail:
    """A mail: a text that says what happened, the Bundle attached if that is asked for."""

    def __init__(self, subscription: Subscription, mailer: Mailer, timeout: float) -> None:
        self._subscription = subscription
        self._mailer = mailer
        self._timeout = timeout

    def send(self, bundle: Resource, first: int, last: int) -> None:
        """See ``Courier.send``."""
        channel = self._subscription.channel
        kind = _kind(bundle)
        name = f"{self._subscription.id}-{kind}-{first}-{last}"
        host = self._mailer.sender.rpartition("@")[2]
        ending = "xml" if channel.form == _XML else "json"
        attached = [Attachment(name=f"{name}.{ending}", media_type=channel.form, body=serialised(bundle, channel.form))]
        mail = Mail(
            to=channel.endpoint,
            subject=f"{self._subscription.topic.title}: {kind}",
            text=_text(self._subscription, bundle, kind, html=channel.body == "text/html"),
            media_type=channel.body,
            # Sent again after a crash it is the same mail; without events it never is.
            message_id=f"<{name if last else bundle['id']}@{host}>",
            attachments=attached if channel.form else (),
        )
        self._mailer.send(mail, timeout=self._timeout)
        metrics.notifications.labels(outcome="mailed").inc()

    def close(self) -> None:
        """See ``Courier.close``."""


def _kind(bundle: Resource) -> str:
    parameters = bundle["entry"][0]["resource"]["parameter"]
    return str(next(one["valueCode"] for one in parameters if one["name"] == "type"))


def _text(subscription: Subscription, bundle: Resource, kind: str, *, html: bool) -> str:
    """What a person reads; no more than the content level allows: numbers, and places where they may be named."""
    parameters = bundle["entry"][0]["resource"]["parameter"]
    events = [{part["name"]: part for part in one["part"]} for one in parameters if one["name"] == "notification-event"]
    lines = [
        f"{kind} of the subscription {subscription.id} to the topic {subscription.topic.title}"
        f" ({subscription.topic.url}).",
        *(_line(event) for event in events),
    ]
    # Nothing in a line comes from a patient's record: ids and the house's own words, without markup.
    return "".join(f"<p>{line}</p>\n" for line in lines) if html else "\n".join(lines) + "\n"


def _line(event: dict[str, Any]) -> str:
    focus = event.get("focus", {}).get("valueReference", {}).get("reference", "")
    moment = event["timestamp"]["valueInstant"]
    return f"Event {event['event-number']['valueString']} at {moment}{f': {focus}' if focus else ''}"
