"""Changes become numbered events in commit-safe order, exactly once, whatever the dispatcher lives through."""

import threading
from typing import Any

import pytest
from sqlalchemy import text

from server.events.dispatch import Dispatcher
from server.events.notify import Notifier
from server.repository import Repository
from server.store import events
from server.store.database import Database
from server.store.events import Event
from tests.events.conftest import ACCESS, Listener, study, subscription


def listen(repository: Repository, dispatcher: Dispatcher, notifier: Notifier, endpoint: str, *filters: str) -> str:
    """An active subscription."""
    id = str(repository.create(ACCESS, subscription(endpoint, *filters)).resource["id"])
    dispatcher.run()
    notifier.run(1, id)
    dispatcher.run()
    assert repository.read(ACCESS, "Subscription", id)["status"] == "active"
    return id


def events_of(database: Database, id: str) -> tuple[Event, ...]:
    with database.reading() as uow:
        return events.between(uow, 1, id, first=0, last=1 << 40, limit=10_000)


def jobs(database: Database, task: str) -> list[dict[str, Any]]:
    with database.reading() as uow:
        rows = uow.execute(text("select args from procrastinate_jobs where task_name = :task"), {"task": task})
        return [dict(row.args) for row in rows]


def test_a_study_becomes_one_event_and_one_job(
    database: Database, repository: Repository, dispatcher: Dispatcher, notifier: Notifier, listener: Listener
) -> None:
    id = listen(repository, dispatcher, notifier, listener.url)
    repository.update(ACCESS, study())
    assert dispatcher.run() == 1
    assert dispatcher.run() == 0
    (event,) = events_of(database, id)
    assert (event.number, event.type, event.id, event.version, event.interaction) == (
        1,
        "ImagingStudy",
        "s",
        1,
        "create",
    )
    (job,) = jobs(database, "plan")
    assert (job["type"], job["id"], job["version"]) == ("ImagingStudy", "s", 1)


def test_what_was_before_the_subscription_is_not_numbered(
    database: Database, repository: Repository, dispatcher: Dispatcher, notifier: Notifier, listener: Listener
) -> None:
    repository.update(ACCESS, study())
    id = listen(repository, dispatcher, notifier, listener.url)
    assert events_of(database, id) == ()


def test_filters_decide_who_gets_a_number(
    database: Database, repository: Repository, dispatcher: Dispatcher, notifier: Notifier, listener: Listener
) -> None:
    ct = listen(repository, dispatcher, notifier, listener.url, "ImagingStudy?modality=CT")
    mine = listen(repository, dispatcher, notifier, listener.url, "modality=CT", "patient=Patient/me")
    for resource in (study("a"), study("b", "MR"), study("c", patient="me")):
        repository.update(ACCESS, resource)
    dispatcher.run()
    assert [event.id for event in events_of(database, ct)] == ["a", "c"]
    assert [(event.id, event.number) for event in events_of(database, mine)] == [("c", 1)]


def test_a_subscription_ends_when_it_said(
    database: Database, repository: Repository, dispatcher: Dispatcher, notifier: Notifier, listener: Listener
) -> None:
    id = listen(repository, dispatcher, notifier, listener.url)
    resource = repository.read(ACCESS, "Subscription", id)
    repository.update(ACCESS, {**resource, "end": "2026-01-01T00:00:00Z"})
    dispatcher.run()
    repository.update(ACCESS, study("a"))
    dispatcher.run()
    assert events_of(database, id) == ()
    with database.reading() as uow:
        state = events.state(uow, 1, id)
    assert state is not None
    assert state.status == "off"


def test_a_later_commit_is_never_overtaken(
    database: Database, repository: Repository, dispatcher: Dispatcher, notifier: Notifier, listener: Listener
) -> None:
    id = listen(repository, dispatcher, notifier, listener.url)
    with repository.transaction(ACCESS) as slow:
        slow.update(study("early"))
        slow.flush()
        # Written later, committed first: it has to wait, or the order would depend on who commits first.
        repository.update(ACCESS, study("late"))
        assert dispatcher.run() == 0
    assert dispatcher.run() == 2
    assert [(event.number, event.id) for event in events_of(database, id)] == [(1, "early"), (2, "late")]


def test_a_rolled_back_write_holds_up_nobody(
    database: Database, repository: Repository, dispatcher: Dispatcher, notifier: Notifier, listener: Listener
) -> None:
    id = listen(repository, dispatcher, notifier, listener.url)
    with pytest.raises(RuntimeError), repository.transaction(ACCESS) as tx:
        tx.update(study("gone"))
        tx.flush()
        raise RuntimeError
    repository.update(ACCESS, study("kept"))
    dispatcher.run()
    assert [(event.number, event.id) for event in events_of(database, id)] == [(1, "kept")]


def test_a_pass_that_dies_leaves_nothing_and_is_done_again(
    database: Database, repository: Repository, dispatcher: Dispatcher, notifier: Notifier, listener: Listener,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    id = listen(repository, dispatcher, notifier, listener.url)
    repository.update(ACCESS, study("a"))
    repository.update(ACCESS, study("b"))

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("server.store.changes.advance", die)
        with pytest.raises(KeyboardInterrupt):
            dispatcher.run()
    assert events_of(database, id) == ()
    assert jobs(database, "plan") == []
    dispatcher.run()
    assert [event.number for event in events_of(database, id)] == [1, 2]
    assert len(jobs(database, "plan")) == 2


def test_many_writers_and_dispatchers_leave_no_gap_and_no_double(
    database: Database, repository: Repository, dispatcher: Dispatcher, notifier: Notifier, listener: Listener
) -> None:
    id = listen(repository, dispatcher, notifier, listener.url)
    writing = threading.Barrier(7)
    done = threading.Event()

    def write(writer: int) -> None:
        writing.wait()
        for number in range(15):
            repository.update(ACCESS, study(f"w{writer}-{number}"))

    def dispatch() -> None:
        writing.wait()
        while not done.is_set():
            dispatcher.run()

    writers = [threading.Thread(target=write, args=(writer,)) for writer in range(5)]
    dispatchers = [threading.Thread(target=dispatch) for _ in range(2)]
    for thread in (*writers, *dispatchers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    for thread in dispatchers:
        thread.join()
    dispatcher.run()
    found = events_of(database, id)
    assert [event.number for event in found] == list(range(1, 76))
    assert len({event.id for event in found}) == 75
    assert len(jobs(database, "plan")) == 75
    for writer in range(5):
        own = [event.id for event in found if event.id.startswith(f"w{writer}-")]
        assert own == [f"w{writer}-{number}" for number in range(15)]
