"""Websockets: tokens bind them, events arrive in order, and what did not arrive is sent to who comes back."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from sqlalchemy import text
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from server.events import topics
from server.events.dispatch import Dispatcher
from server.events.notify import Notifier
from server.events.subscriber import Subscribers
from server.events.websocket import Websockets
from server.fhir import definitions, xml_format
from server.http import subscriptions_channel
from server.http.fhir import FhirServices, router
from server.operations.served import served
from server.repository import Repository
from server.security import token
from server.security.access import Access
from server.store.database import Database
from tests.events.conftest import ACCESS, Listener, study, subscription
from tests.events.test_channels import BACKPORT, channel, parameters, started

SECONDS = 20


@pytest.fixture
def server(repository: Repository) -> Iterator[str]:
    """The address of a server whose caller is named by the header Who."""
    app = FastAPI()
    websockets = Websockets(repository=repository, topics=topics.load(), subscribers=Subscribers())
    services = FhirServices(
        repository=repository,
        access=lambda request: Access(who=request.headers.get("who", "test"), scopes=frozenset({"read"})),
        operations=served(repository),
        websockets=websockets,
    )
    app.include_router(router(services))
    running = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off"))
    thread = threading.Thread(target=running.run)
    thread.start()
    while not running.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{running.servers[0].sockets[0].getsockname()[1]}/fhir"
    running.should_exit = True
    thread.join()


@pytest.fixture(autouse=True)
def _rights(database: Database) -> None:
    token.create(database, tenant=1, name="test", scopes=frozenset({"read", "write"}))


def websocket(**more: Any) -> dict[str, Any]:
    """A Subscription by websocket."""
    return channel(subscription(""), type="websocket", endpoint=None, header=None, **more)


def binding(server: str, *ids: str) -> dict[str, Any]:
    answer = httpx.get(f"{server}/Subscription/$get-ws-binding-token", params={"id": list(ids)})
    assert answer.status_code == 200, answer.text
    return {item["name"]: item for item in answer.json()["parameter"]}


@contextmanager
def opened(server: str, *ids: str) -> Iterator[ClientConnection]:
    found = binding(server, *ids)
    with connect(found["websocket-url"]["valueUrl"]) as socket:
        socket.send(f"bind-with-token {found['token']['valueString']}")
        yield socket


def bundles(socket: ClientConnection, count: int) -> list[tuple[str, str, list[int]]]:
    """(kind, subscription, event numbers) of the next notifications."""
    found = []
    for _ in range(count):
        bundle = json.loads(socket.recv(SECONDS))
        told = parameters(bundle)
        numbers = [
            int(part["valueString"])
            for item in bundle["entry"][0]["resource"]["parameter"]
            if item["name"] == "notification-event"
            for part in item["part"]
            if part["name"] == "event-number"
        ]
        id = told["subscription"]["valueReference"]["reference"].rpartition("/")[2]
        found.append((told["type"]["valueCode"], id, numbers))
    return found


def test_one_token_binds_several_subscriptions(
    server: str, repository: Repository, dispatcher: Dispatcher, notifier: Notifier, listener: Listener
) -> None:
    one, other = (started(repository, dispatcher, notifier, websocket()) for _ in range(2))
    started(repository, dispatcher, notifier, subscription(listener.url))
    found = binding(server)
    lasts = datetime.fromisoformat(found["expiration"]["valueDateTime"]) - datetime.now().astimezone()
    assert 20 * 60 < lasts.total_seconds() <= 30 * 60
    repository.update(ACCESS, study("a"))
    dispatcher.run()
    with opened(server) as socket:
        told = bundles(socket, 4)
        assert sorted(told[:2]) == sorted([("handshake", one, []), ("handshake", other, [])])
        assert sorted(told[2:]) == sorted([("event-notification", one, [1]), ("event-notification", other, [1])])
        for name in "bc":
            repository.update(ACCESS, study(name))
            dispatcher.run()
        numbers = [(id, number) for _, id, (number,) in bundles(socket, 4)]
        assert [number for id, number in numbers if id == one] == [2, 3]
        assert [number for id, number in numbers if id == other] == [2, 3]


def test_who_comes_back_gets_what_is_not_certain_to_have_arrived(
    server: str, repository: Repository, dispatcher: Dispatcher, notifier: Notifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = started(repository, dispatcher, notifier, websocket())
    for name in "ab":
        repository.update(ACCESS, study(name))
    dispatcher.run()
    with opened(server, id) as socket:
        assert bundles(socket, 3)[1:] == [("event-notification", id, [1]), ("event-notification", id, [2])]
    monkeypatch.setattr(subscriptions_channel, "_SURE", 0.2)
    with opened(server, id) as socket:
        assert bundles(socket, 3)[1:] == [("event-notification", id, [1]), ("event-notification", id, [2])]
        deadline = time.monotonic() + SECONDS
        while delivered(repository, id) != "2" and time.monotonic() < deadline:
            time.sleep(0.05)
    repository.update(ACCESS, study("c"))
    dispatcher.run()
    with opened(server, id) as socket:
        assert bundles(socket, 2) == [("handshake", id, []), ("event-notification", id, [3])]


def delivered(repository: Repository, id: str) -> str:
    with repository.database.reading() as uow:
        return str(uow.execute(text("select delivered from subscription where id = :id"), {"id": id}).scalar_one())


def test_binding_again_goes_on_where_it_was(
    server: str, repository: Repository, dispatcher: Dispatcher, notifier: Notifier
) -> None:
    id = started(repository, dispatcher, notifier, websocket())
    repository.update(ACCESS, study("a"))
    dispatcher.run()
    with opened(server, id) as socket:
        assert bundles(socket, 2)[1] == ("event-notification", id, [1])
        socket.send(f"bind-with-token {binding(server, id)['token']['valueString']}")
        assert bundles(socket, 1) == [("handshake", id, [])]
        repository.update(ACCESS, study("b"))
        dispatcher.run()
        assert bundles(socket, 1) == [("event-notification", id, [2])]


def test_bound_before_it_is_active(
    server: str, repository: Repository, dispatcher: Dispatcher, notifier: Notifier
) -> None:
    id = str(repository.create(ACCESS, websocket()).resource["id"])
    with opened(server, id) as socket:
        dispatcher.run()
        notifier.run(1, id)
        assert bundles(socket, 1) == [("handshake", id, [])]


def test_xml_and_heartbeats(server: str, repository: Repository, dispatcher: Dispatcher, notifier: Notifier) -> None:
    beats = {"url": f"{BACKPORT}backport-heartbeat-period", "valueUnsignedInt": 1}
    id = started(repository, dispatcher, notifier, websocket(payload="application/fhir+xml", extension=[beats]))
    with opened(server, id) as socket:
        kinds = []
        for _ in range(3):
            bundle = xml_format.parse(definitions.load(), str(socket.recv(SECONDS)).encode())
            kinds.append(parameters(bundle)["type"]["valueCode"])
        assert kinds == ["handshake", "heartbeat", "heartbeat"]


def closed(socket: ClientConnection) -> tuple[int, str]:
    with pytest.raises(ConnectionClosed) as caught:
        for _ in range(10):
            socket.recv(SECONDS)
    assert caught.value.rcvd is not None
    return caught.value.rcvd.code, caught.value.rcvd.reason


def test_a_token_that_is_over_binds_nothing(
    server: str, repository: Repository, dispatcher: Dispatcher, notifier: Notifier, database: Database
) -> None:
    id = started(repository, dispatcher, notifier, websocket())
    address = binding(server, id)["websocket-url"]["valueUrl"]
    with connect(address) as socket:
        socket.send("bind-with-token made-up")
        assert closed(socket)[0] == 1008
    found = binding(server, id)
    with database.unit_of_work() as uow:
        uow.execute(text("update subscription_binding set expires = now() + interval '1 second'"))
    with connect(address) as socket:
        socket.send(f"bind-with-token {found['token']['valueString']}")
        assert bundles(socket, 1) == [("handshake", id, [])]
        assert closed(socket) == (1000, "nothing is bound")


def test_a_revoked_reader_is_told_nothing_more(
    server: str, repository: Repository, dispatcher: Dispatcher, notifier: Notifier, database: Database
) -> None:
    id = started(repository, dispatcher, notifier, websocket())
    with opened(server, id) as socket:
        assert bundles(socket, 1) == [("handshake", id, [])]
        with database.unit_of_work() as uow:
            uow.execute(text("update token set revoked = now()"))
        repository.update(ACCESS, study("a"))
        dispatcher.run()
        code, reason = closed(socket)
        assert (code, "revoked" in reason) == (1008, True)


def test_off_ends_it(server: str, repository: Repository, dispatcher: Dispatcher, notifier: Notifier) -> None:
    id = started(repository, dispatcher, notifier, websocket())
    with opened(server, id) as socket:
        assert bundles(socket, 1) == [("handshake", id, [])]
        repository.update(ACCESS, {**repository.read(ACCESS, "Subscription", id), "status": "off"})
        dispatcher.run()
        repository.update(ACCESS, study("a"))
        dispatcher.run()
        time.sleep(1)
        with pytest.raises(TimeoutError):
            socket.recv(0.1)


def test_tokens_that_are_refused(
    server: str, repository: Repository, dispatcher: Dispatcher, notifier: Notifier, listener: Listener
) -> None:
    hook = started(repository, dispatcher, notifier, subscription(listener.url))
    mine = started(repository, dispatcher, notifier, websocket())
    for path, who, code in [
        (f"Subscription/{hook}/$get-ws-binding-token", "test", 400),
        ("Subscription/none/$get-ws-binding-token", "test", 404),
        (f"Subscription/{mine}/$get-ws-binding-token", "stranger", 403),
        ("Subscription/$get-ws-binding-token", "stranger", 404),
        (f"Subscription/{mine}/$get-ws-binding-token", "test", 200),
    ]:
        answer = httpx.get(f"{server}/{path}", headers={"who": who})
        assert answer.status_code == code, path
