"""Subscribers get a handshake, then every event in order, whatever happens in between."""

from typing import Any

import pytest
from sqlalchemy import text

from server.errors import Forbidden, Unprocessable
from server.events.dispatch import Dispatcher
from server.events.notify import FIRST_PAUSE, LONGEST_PAUSE, Notifier
from server.repository import Repository
from server.store import events
from server.store.database import Database
from tests.events.conftest import ACCESS, AVAILABLE, BASE, Listener, study, subscription
from tests.events.test_dispatch import listen


def status(repository: Repository, id: str) -> str:
    return str(repository.read(ACCESS, "Subscription", id)["status"])


def delivered(database: Database, id: str) -> int:
    with database.reading() as uow:
        state = events.state(uow, 1, id)
    assert state is not None
    return state.delivered


def parameters(bundle: dict[str, Any]) -> dict[str, Any]:
    return {item["name"]: item for item in bundle["entry"][0]["resource"]["parameter"]}


def test_handshake_then_events_with_headers(
    repository: Repository, dispatcher: Dispatcher, notifier: Notifier, listener: Listener
) -> None:
    id = listen(repository, dispatcher, notifier, listener.url)
    repository.update(ACCESS, study("a"))
    repository.update(ACCESS, study("b"))
    dispatcher.run()
    notifier.run(1, id)
    assert listener.kinds() == ["handshake", "event-notification", "event-notification"]
    assert listener.numbers() == [1, 2]
    assert listener.headers[1]["X-Token"] == "secret"
    assert listener.headers[1]["Content-Type"].startswith("application/fhir+json")
    first, event = listener.bundles[0], listener.bundles[1]
    assert first["type"] == event["type"] == "history"
    assert parameters(first)["events-since-subscription-start"]["valueString"] == "0"
    assert parameters(event)["topic"]["valueCanonical"] == AVAILABLE
    assert parameters(event)["subscription"]["valueReference"]["reference"] == f"{BASE}/Subscription/{id}"
    parts = {part["name"]: part for part in parameters(event)["notification-event"]["part"]}
    assert parts["focus"]["valueReference"]["reference"] == f"{BASE}/ImagingStudy/a"
    assert all("request" in entry and "response" in entry for entry in event["entry"])
    assert "resource" not in event["entry"][1]


@pytest.mark.parametrize(("content", "entries"), [("empty", 1), ("id-only", 2), ("full-resource", 2)])
def test_content(
    repository: Repository, dispatcher: Dispatcher, notifier: Notifier, listener: Listener, content: str, entries: int
) -> None:
    created = repository.create(ACCESS, subscription(listener.url, content=content))
    id = str(created.resource["id"])
    dispatcher.run()
    notifier.run(1, id)
    dispatcher.run()
    repository.update(ACCESS, study("a", count=5))
    dispatcher.run()
    # The version that made the event is what is sent, not what came after it.
    repository.update(ACCESS, study("a", count=6))
    notifier.run(1, id)
    bundle = listener.bundles[1]
    assert len(bundle["entry"]) == entries
    if content == "full-resource":
        assert bundle["entry"][1]["resource"]["series"][0]["numberOfInstances"] == 5
        assert bundle["entry"][1]["request"] == {"method": "POST", "url": "ImagingStudy"}


def test_a_dead_endpoint_says_error_and_recovers_with_every_event(
    database: Database, repository: Repository, dispatcher: Dispatcher, notifier: Notifier, listener: Listener
) -> None:
    id = listen(repository, dispatcher, notifier, listener.url)
    listener.answer = 503
    for name in "abc":
        repository.update(ACCESS, study(name))
    for _ in range(3):
        dispatcher.run()
        notifier.run(1, id)
    dispatcher.run()
    assert status(repository, id) == "error"
    assert "503" in repository.read(ACCESS, "Subscription", id)["error"]
    assert delivered(database, id) == 0
    # While it fails, events still get their numbers.
    repository.update(ACCESS, study("d"))
    dispatcher.run()
    listener.answer = 200
    notifier.run(1, id)
    dispatcher.run()
    assert listener.numbers() == [1, 2, 3, 4]
    assert delivered(database, id) == 4
    assert status(repository, id) == "active"
    assert "error" not in repository.read(ACCESS, "Subscription", id)


def test_pauses_grow_without_end(
    database: Database, repository: Repository, dispatcher: Dispatcher, notifier: Notifier, listener: Listener
) -> None:
    id = listen(repository, dispatcher, notifier, listener.url)
    pauses = []
    for _ in range(40):
        with database.unit_of_work() as uow:
            events.failed(uow, 1, id, "no", first=FIRST_PAUSE, longest=LONGEST_PAUSE)
            row = uow.execute(text("select extract(epoch from next_try - clock_timestamp()) from subscription"))
            pauses.append(round(float(row.scalar_one()), 1))
    assert pauses == sorted(pauses)
    assert pauses[:4] == [0.5, 1, 2, 4]
    assert pauses[-1] == 600


def test_who_failed_is_not_due_until_its_pause_is_over_or_it_asks_anew(
    database: Database, repository: Repository, dispatcher: Dispatcher, notifier: Notifier, listener: Listener
) -> None:
    id = listen(repository, dispatcher, notifier, listener.url)
    assert due(database) == []
    repository.update(ACCESS, study("a"))
    dispatcher.run()
    assert due(database) == [id]
    listener.answer = 503
    notifier.run(1, id)
    assert due(database) == []
    repository.update(ACCESS, {**repository.read(ACCESS, "Subscription", id), "status": "requested", "reason": "new"})
    dispatcher.run()
    assert due(database) == [id]


def due(database: Database) -> list[str]:
    with database.reading() as uow:
        return [one.id for one in events.due(uow)]


def test_a_failed_handshake_is_an_error_and_is_tried_again(
    repository: Repository, dispatcher: Dispatcher, notifier: Notifier, listener: Listener
) -> None:
    listener.answer = 404
    id = str(repository.create(ACCESS, subscription(listener.url)).resource["id"])
    dispatcher.run()
    notifier.run(1, id)
    dispatcher.run()
    assert status(repository, id) == "error"
    listener.answer = 200
    notifier.run(1, id)
    dispatcher.run()
    assert status(repository, id) == "active"
    assert listener.kinds() == ["handshake"]


def test_what_happens_during_the_handshake_is_told_after_it(
    repository: Repository, dispatcher: Dispatcher, notifier: Notifier, listener: Listener
) -> None:
    # The endpoint has the handshake before we know that it was taken.
    id = str(repository.create(ACCESS, subscription(listener.url)).resource["id"])
    repository.update(ACCESS, study("a"))
    dispatcher.run()
    listener.answer = 404
    notifier.run(1, id)
    repository.update(ACCESS, study("b"))
    dispatcher.run()
    listener.answer = 200
    notifier.run(1, id)
    notifier.run(1, id)
    assert listener.kinds() == ["handshake", "event-notification", "event-notification"]
    assert listener.numbers() == [1, 2]


def test_killed_after_the_post_repeats_the_same_number(
    database: Database, repository: Repository, dispatcher: Dispatcher, notifier: Notifier, listener: Listener,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    id = listen(repository, dispatcher, notifier, listener.url)
    repository.update(ACCESS, study("a"))
    dispatcher.run()

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("server.store.events.acknowledged", die)
        with pytest.raises(KeyboardInterrupt):
            notifier.run(1, id)
    notifier.run(1, id)
    assert listener.numbers() == [1, 1]
    assert delivered(database, id) == 1


def test_off_and_deleted_get_nothing_more(
    repository: Repository, dispatcher: Dispatcher, notifier: Notifier, listener: Listener
) -> None:
    off = listen(repository, dispatcher, notifier, listener.url)
    deleted = listen(repository, dispatcher, notifier, listener.url)
    repository.update(ACCESS, {**repository.read(ACCESS, "Subscription", off), "status": "off"})
    repository.delete(ACCESS, "Subscription", deleted)
    dispatcher.run()
    repository.update(ACCESS, study("a"))
    dispatcher.run()
    notifier.run(1, off)
    notifier.run(1, deleted)
    assert listener.numbers() == []


def test_a_new_endpoint_gets_its_own_handshake_and_the_numbers_go_on(
    repository: Repository, dispatcher: Dispatcher, notifier: Notifier, listener: Listener
) -> None:
    id = listen(repository, dispatcher, notifier, listener.url)
    repository.update(ACCESS, study("a"))
    dispatcher.run()
    notifier.run(1, id)
    changed = repository.read(ACCESS, "Subscription", id)
    changed["status"] = "requested"
    changed["channel"] |= {"endpoint": listener.url + "/second", "header": ["X-Token: new"]}
    repository.update(ACCESS, changed)
    repository.update(ACCESS, study("b"))
    dispatcher.run()
    notifier.run(1, id)
    dispatcher.run()
    repository.update(ACCESS, study("c"))
    dispatcher.run()
    notifier.run(1, id)
    assert listener.kinds() == ["handshake", "event-notification", "handshake", *["event-notification"] * 2]
    assert listener.numbers() == [1, 2, 3]


def refused(repository: Repository, resource: dict[str, Any]) -> list[str]:
    with pytest.raises((Unprocessable, Forbidden)) as caught:
        repository.create(ACCESS, resource)
    return [issue.expression for issue in caught.value.issues]


def test_what_is_not_supported_is_refused_by_its_place(repository: Repository, listener: Listener) -> None:
    good = subscription(listener.url)
    channel = good["channel"]
    cases: list[tuple[dict[str, Any], str]] = [
        ({**good, "criteria": "Patient?active=true"}, "Subscription.criteria"),
        ({**good, "channel": {**channel, "type": "sms"}}, "Subscription.channel.type"),
        ({**good, "channel": {**channel, "payload": "application/pdf"}}, "Subscription.channel.payload"),
        ({**good, "channel": {**channel, "header": ["Host: elsewhere"]}}, "Subscription.channel.header"),
        ({**good, "channel": {**channel, "header": ["X-A: b\r\nX-C: d"]}}, "Subscription.channel.header"),
        ({**good, "channel": {**channel, "endpoint": "http://169.254.169.254/"}}, "Subscription.channel.endpoint"),
        ({**good, "channel": {**channel, "endpoint": "file:///etc/passwd"}}, "Subscription.channel.endpoint"),
        ({**good, "status": "active"}, "Subscription.status"),
        (subscription(listener.url, "ImagingStudy?colour=red"), "Subscription.criteria.extension"),
    ]
    for resource, place in cases:
        assert place in refused(repository, resource), place
    bare = {name: value for name, value in channel.items() if name != "_payload"}
    assert "Subscription.channel.payload.extension" in refused(repository, {**good, "channel": bare})


def test_a_subscription_that_is_active_can_be_renamed(
    repository: Repository, dispatcher: Dispatcher, notifier: Notifier, listener: Listener
) -> None:
    id = listen(repository, dispatcher, notifier, listener.url)
    resource = repository.read(ACCESS, "Subscription", id)
    assert repository.update(ACCESS, {**resource, "reason": "another"}).changed
    dispatcher.run()
    repository.update(ACCESS, study("a"))
    dispatcher.run()
    notifier.run(1, id)
    assert listener.numbers() == [1]
    resource["channel"]["endpoint"] = f"{listener.url}/elsewhere"
    with pytest.raises(Unprocessable):
        repository.update(ACCESS, resource)
