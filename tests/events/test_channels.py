"""Every channel that we call, with the payload that was asked for, and heartbeats."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import text

from server.errors import Forbidden, Unprocessable
from server.events import topics
from server.events.deliver import Delivery
from server.events.dispatch import Dispatcher
from server.events.notify import Notifier
from server.events.subscriber import Subscribers
from server.events.subscriptions import checking
from server.fhir import definitions, json_format, xml_format
from server.outbound.guard import Guard
from server.outbound.smtp import Mailer
from server.repository import Repository
from server.security import token
from server.security.access import Access
from server.store import events
from server.store.database import Database
from tests.events.conftest import ACCESS, Listener, report, study, subscription
from tests.events.mailbox import Mailbox
from tests.events.test_dispatch import listen

RESULT = "https://hutong.example/fhir/SubscriptionTopic/ai-result-available"
BACKPORT = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/"


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    opened = Mailbox()
    yield opened
    opened.close()


def channel(resource: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The subscription with another channel."""
    changed = {**resource["channel"], **more}
    return {**resource, "channel": {name: value for name, value in changed.items() if value is not None}}


def started(repository: Repository, dispatcher: Dispatcher, notifier: Notifier, resource: dict[str, Any]) -> str:
    """An active subscription; gives its id."""
    id = str(repository.create(ACCESS, resource).resource["id"])
    dispatcher.run()
    notifier.run(1, id)
    dispatcher.run()
    assert repository.read(ACCESS, "Subscription", id)["status"] == "active"
    return id


def tell(dispatcher: Dispatcher, notifier: Notifier, id: str) -> None:
    dispatcher.run()
    notifier.run(1, id)


def parameters(bundle: dict[str, Any]) -> dict[str, Any]:
    return {item["name"]: item for item in bundle["entry"][0]["resource"]["parameter"]}


def test_xml(repository: Repository, dispatcher: Dispatcher, notifier: Notifier, listener: Listener) -> None:
    resource = channel(subscription(listener.url, content="full-resource"), payload="application/fhir+xml")
    id = started(repository, dispatcher, notifier, resource)
    repository.update(ACCESS, study("a"))
    tell(dispatcher, notifier, id)
    assert listener.headers[-1]["Content-Type"].startswith("application/fhir+xml")
    bundle = xml_format.parse(definitions.load(), listener.bodies[-1])
    assert bundle["entry"][1]["resource"]["id"] == "a"
    assert parameters(bundle)["type"]["valueCode"] == "event-notification"


def test_the_topic_s_shape_goes_along_as_it_stands(
    repository: Repository, dispatcher: Dispatcher, notifier: Notifier, listener: Listener
) -> None:
    resource = {**subscription(listener.url, content="full-resource"), "criteria": RESULT}
    many = {"url": f"{BACKPORT}backport-max-count", "valuePositiveInt": 10}
    id = started(repository, dispatcher, notifier, channel(resource, extension=[many]))
    for name in ("o1", "o2"):
        repository.update(ACCESS, {"resourceType": "Observation", "id": name, "status": "final", "code": {"text": "x"}})
    repository.update(ACCESS, report("r1", "o1", "o2"))
    repository.update(ACCESS, report("r2", "o2", "absent"))
    tell(dispatcher, notifier, id)
    bundle = listener.bundles[-1]
    assert [entry["resource"]["id"] for entry in bundle["entry"][1:]] == ["r1", "r2", "o1", "o2"]
    assert bundle["entry"][3]["request"] == {"method": "GET", "url": "Observation/o1"}
    first, second = (
        [
            part["valueReference"]["reference"].rpartition("/")[2]
            for part in one["part"]
            if part["name"].startswith("add")
        ]
        for one in bundle["entry"][0]["resource"]["parameter"]
        if one["name"] == "notification-event"
    )
    assert (first, second) == (["o1", "o2"], ["o2"])


def test_a_message(repository: Repository, dispatcher: Dispatcher, notifier: Notifier, listener: Listener) -> None:
    id = started(repository, dispatcher, notifier, channel(subscription(listener.url), type="message"))
    repository.update(ACCESS, study("a"))
    tell(dispatcher, notifier, id)
    assert listener.paths == ["/hook/$process-message"] * 2
    bundle = listener.bundles[-1]
    header, focus = bundle["entry"]
    assert bundle["type"] == "message"
    assert header["resource"]["resourceType"] == "MessageHeader"
    assert header["resource"]["focus"] == [{"reference": focus["fullUrl"]}]
    assert header["resource"]["destination"] == [{"endpoint": listener.url}]
    assert focus["resource"]["type"] == "history"
    assert parameters(focus["resource"])["type"]["valueCode"] == "event-notification"


def with_mail(repository: Repository, notifier: Notifier, mailbox: Mailbox) -> Notifier:
    checks = (checking(topics.load(), Guard(loopback=True), mail=True),)
    repository.checks = checks
    return dataclasses.replace(notifier, mailer=Mailer(url=mailbox.url, sender="hutong@example.org"))


@pytest.mark.parametrize(
    ("payload", "content", "attached"),
    [
        ("text/plain", "empty", ""),
        ("text/plain", "id-only", ""),
        ("text/html;attach=application/fhir+json", "full-resource", "application/fhir+json"),
        ("text/plain;attach=application/fhir+xml", "id-only", "application/fhir+xml"),
    ],
)
def test_mail(
    repository: Repository, dispatcher: Dispatcher, notifier: Notifier, mailbox: Mailbox, payload: str, content: str,
    attached: str,
) -> None:  # fmt: skip
    posting = with_mail(repository, notifier, mailbox)
    resource = channel(
        subscription("mailto:region@example.org", content=content), type="email", header=None, payload=payload
    )
    id = started(repository, dispatcher, posting, resource)
    repository.update(ACCESS, study("a"))
    tell(dispatcher, posting, id)
    handshake, mail = mailbox.mails
    assert "handshake" in handshake["Subject"]
    assert mail["To"] == "region@example.org"
    body = mail.get_body()
    assert body is not None
    assert body.get_content_type() == payload.partition(";")[0]
    assert ("ImagingStudy/a" in str(body.get_content())) == (content != "empty")
    found = [(part.get_content_type(), part.get_payload(decode=True)) for part in mail.iter_attachments()]
    assert [kind for kind, _ in found] == ([attached] if attached else [])
    for kind, data in found:
        assert isinstance(data, bytes)
        parse = json_format.parse if kind.endswith("json") else lambda body: xml_format.parse(definitions.load(), body)
        bundle = parse(data)
        assert ("resource" in bundle["entry"][1]) == (content == "full-resource")


def test_a_mail_sent_again_is_the_same_mail(
    database: Database, repository: Repository, dispatcher: Dispatcher, notifier: Notifier, mailbox: Mailbox
) -> None:
    posting = with_mail(repository, notifier, mailbox)
    resource = channel(subscription("mailto:a@b.org"), type="email", header=None, payload="text/plain")
    id = started(repository, dispatcher, posting, resource)
    mailbox.answer = 451
    repository.update(ACCESS, study("a"))
    tell(dispatcher, posting, id)
    with database.reading() as uow:
        state = events.state(uow, 1, id)
    assert state is not None
    assert (state.failures, state.delivered) == (1, 0)
    assert "451" in state.last_error
    mailbox.answer = 250
    tell(dispatcher, posting, id)
    with database.unit_of_work() as uow:
        uow.execute(text("update subscription set delivered = 0"))
    tell(dispatcher, posting, id)
    assert mailbox.mails[1]["Message-ID"] == mailbox.mails[2]["Message-ID"] != mailbox.mails[0]["Message-ID"]


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"endpoint": "http://example.org"}, "endpoint"),
        ({"endpoint": "mailto:a@b.org\r\nBcc: c@d.org"}, "endpoint"),
        ({"payload": "application/fhir+json"}, "payload"),
        ({"payload": "text/plain;attach=image/png"}, "payload"),
        ({"header": ["X-A: b"]}, "header"),
    ],
)
def test_mails_that_are_refused(repository: Repository, changes: dict[str, Any], place: str) -> None:
    good = channel(subscription("mailto:a@b.org"), type="email", header=None, payload="text/plain")
    with pytest.raises(Unprocessable) as caught:
        repository.create(ACCESS, channel(good, **changes))
    assert f"Subscription.channel.{place}" in [issue.expression for issue in caught.value.issues]
    with pytest.raises(Unprocessable, match="smtp_url"):
        repository.create(ACCESS, good)


def test_heartbeats_come_in_silence_only(
    database: Database, repository: Repository, dispatcher: Dispatcher, notifier: Notifier, listener: Listener
) -> None:
    beats = {"url": f"{BACKPORT}backport-heartbeat-period", "valueUnsignedInt": 60}
    id = started(repository, dispatcher, notifier, channel(subscription(listener.url), extension=[beats]))
    quiet = started(repository, dispatcher, notifier, subscription(listener.url))

    def pass_a_minute() -> list[str]:
        with database.unit_of_work() as uow:
            uow.execute(text("update subscription set told = told - interval '61 seconds'"))
        with database.reading() as uow:
            return [one.id for one in events.due(uow)]

    assert pass_a_minute() == [id]
    for _ in range(2):
        notifier.run(1, id)
        notifier.run(1, quiet)
    assert listener.kinds() == ["handshake", "handshake", "heartbeat"]
    assert parameters(listener.bundles[-1])["events-since-subscription-start"]["valueString"] == "0"
    pass_a_minute()
    repository.update(ACCESS, study("a"))
    tell(dispatcher, notifier, id)
    assert listener.kinds()[3:] == ["event-notification"]


def test_an_end_that_comes_is_written(
    database: Database, repository: Repository, dispatcher: Dispatcher, notifier: Notifier, listener: Listener
) -> None:
    id = started(repository, dispatcher, notifier, {**subscription(listener.url), "end": "2099-01-01T00:00:00Z"})
    with database.unit_of_work() as uow:
        uow.execute(text("update subscription set until = now() - interval '1 second'"))
    Delivery(database=database, notifier=notifier)._end()
    assert repository.read(ACCESS, "Subscription", id)["status"] == "off"
    dispatcher.run()
    with database.reading() as uow:
        assert events.ended(uow) == ()


def test_the_rate_of_one_host_is_kept(
    repository: Repository, dispatcher: Dispatcher, notifier: Notifier, listener: Listener
) -> None:
    limited = dataclasses.replace(notifier, rate=0.01)
    one = started(repository, dispatcher, limited, subscription(listener.url))
    other = str(repository.create(ACCESS, subscription(f"{listener.url}/other")).resource["id"])
    dispatcher.run()
    # A hundred seconds belong to the first handshake; the other path is at the same host.
    assert 50 < limited.run(1, other) <= 100
    repository.update(ACCESS, study("a"))
    dispatcher.run()
    assert limited.run(1, one) > 50
    assert listener.kinds() == ["handshake"]


def test_secrets_are_sent_and_never_shown(
    repository: Repository, dispatcher: Dispatcher, notifier: Notifier, listener: Listener
) -> None:
    id = listen(repository, dispatcher, notifier, listener.url)
    resource = repository.read(ACCESS, "Subscription", id)
    assert resource["channel"]["header"] == ["X-Token: ***"]
    for version in repository.history(ACCESS, "Subscription", id):
        assert b"secret" not in version.body
    # What was read can be written back, by whoever may write, and goes on to the same place only.
    stranger = Access(who="stranger", scopes=frozenset({"read", "write"}))
    assert repository.update(stranger, {**resource, "reason": "renamed"}).changed
    moved = channel(resource, endpoint=f"{listener.url}/mine")
    with pytest.raises(Unprocessable, match="shown"):
        repository.update(stranger, {**moved, "status": "requested"})
    repository.update(ACCESS, study("a"))
    dispatcher.run()
    notifier.run(1, id)
    assert listener.headers[-1]["X-Token"] == "secret"


def test_who_lost_its_rights_is_told_nothing(
    database: Database, repository: Repository, dispatcher: Dispatcher, notifier: Notifier, listener: Listener
) -> None:
    strict = dataclasses.replace(notifier, rights=Subscribers().access)
    token.create(database, tenant=1, name="test", scopes=frozenset({"read", "write"}))
    id = listen(repository, dispatcher, strict, listener.url)
    with database.unit_of_work() as uow:
        uow.execute(text("update token set revoked = now()"))
    repository.update(ACCESS, study("a"))
    tell(dispatcher, strict, id)
    dispatcher.run()
    assert listener.kinds() == ["handshake"]
    resource = repository.read(ACCESS, "Subscription", id)
    assert resource["status"] == "error"
    assert "revoked" in resource["error"]
    # A new token of the same name, and nothing was lost.
    token.create(database, tenant=1, name="test", scopes=frozenset({"read"}))
    tell(dispatcher, strict, id)
    assert listener.numbers() == [1]


def test_on_loopback_nobody_needs_a_token(database: Database, repository: Repository, listener: Listener) -> None:
    caller = Access(who=token.OPEN, scopes=token.SCOPES)
    id = str(repository.create(caller, subscription(listener.url)).resource["id"])
    with database.reading() as uow:
        assert "read" in Subscribers(open=True).access(uow, 1, id).scopes
        with pytest.raises(Forbidden):
            Subscribers(open=False).access(uow, 1, id)


def test_only_who_may_read_can_subscribe(repository: Repository, listener: Listener) -> None:
    with pytest.raises(Forbidden):
        repository.create(Access(who="w", scopes=frozenset({"write"})), subscription(listener.url))
