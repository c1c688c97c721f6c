"""All subscribers at once: who hangs slows nobody, and one process at a time notifies."""

import dataclasses
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from server.events.deliver import Delivery
from server.events.dispatch import Dispatcher
from server.events.notify import Notifier
from server.repository import Repository
from server.store import events
from server.store.database import Database
from tests.events.conftest import ACCESS, Listener, study, subscription
from tests.events.test_dispatch import listen

SECONDS = 30


@pytest.fixture
def silence() -> Iterator[str]:
    """An endpoint that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"


@contextmanager
def delivering(delivery: Delivery, dispatcher: Dispatcher) -> Iterator[None]:
    """Dispatches and delivers meanwhile."""
    stopping = threading.Event()

    def dispatch() -> None:
        while not stopping.wait(0.02):
            dispatcher.run()

    threads = [threading.Thread(target=dispatch), threading.Thread(target=delivery.run, args=(stopping,))]
    for thread in threads:
        thread.start()
    yield
    stopping.set()
    for thread in threads:
        thread.join()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert condition()


def test_many_that_hang_slow_nobody(
    database: Database, repository: Repository, dispatcher: Dispatcher, notifier: Notifier, listener: Listener,
    silence: str,
) -> None:  # fmt: skip
    # More than there are threads of either kind; each takes the whole time that a notification may take.
    bad = [str(repository.create(ACCESS, subscription(silence)).resource["id"]) for _ in range(40)]
    id = listen(repository, dispatcher, notifier, listener.url)
    with delivering(Delivery(database=database, notifier=dataclasses.replace(notifier, timeout=1)), dispatcher):
        until(lambda: all(standing(database, one).failures for one in bad))
        for number in range(10):
            repository.update(ACCESS, study(f"s{number}"))
            until(lambda: len(listener.numbers()) > number)  # noqa: B023
    assert listener.numbers() == list(range(1, 11))
    assert standing(database, id).delivered == 10
    assert {standing(database, one).handshaken for one in bad} == {False}


def standing(database: Database, id: str) -> events.SubscriptionState:
    with database.reading() as uow:
        found = events.state(uow, 1, id)
    assert found is not None
    return found


def test_two_processes_tell_everything_once(
    database: Database, repository: Repository, dispatcher: Dispatcher, notifier: Notifier, listener: Listener
) -> None:
    listen(repository, dispatcher, notifier, listener.url)
    one, other = Delivery(database=database, notifier=notifier), Delivery(database=database, notifier=notifier)
    with delivering(one, dispatcher), delivering(other, dispatcher):
        for number in range(20):
            repository.update(ACCESS, study(f"s{number}"))
        until(lambda: len(listener.numbers()) >= 20)
        time.sleep(0.5)
    assert listener.numbers() == list(range(1, 21))


def test_a_steady_stream_to_one_leaves_the_others_their_turn(
    database: Database, repository: Repository, dispatcher: Dispatcher, notifier: Notifier, listener: Listener
) -> None:
    ids = [listen(repository, dispatcher, notifier, listener.url) for _ in range(30)]
    with delivering(Delivery(database=database, notifier=notifier), dispatcher):
        for number in range(5):
            repository.update(ACCESS, study(f"s{number}"))
        until(lambda: all(standing(database, id).delivered == 5 for id in ids))
    assert len(listener.numbers()) == 150
