"""Old events go when they were acknowledged, never before."""

from sqlalchemy import text

from server.events.dispatch import Dispatcher
from server.events.notify import Notifier
from server.events.retention import forget
from server.repository import Repository
from server.store.database import Database
from tests.events.conftest import Listener, study, subscription
from tests.events.test_dispatch import ACCESS, events_of, listen


def test_only_what_was_delivered_is_forgotten(
    database: Database, repository: Repository, dispatcher: Dispatcher, notifier: Notifier, listener: Listener
) -> None:
    id = listen(repository, dispatcher, notifier, listener.url)
    repository.update(ACCESS, study("a"))
    dispatcher.run()
    notifier.run(1, id)
    repository.update(ACCESS, study("b"))
    dispatcher.run()
    with database.unit_of_work() as uow:
        uow.execute(text("update event set recorded = now() - interval '100 days'"))
        uow.execute(text("update change set recorded = now() - interval '100 days'"))
    repository.update(ACCESS, study("c"))
    assert forget(database, 90) > 0
    assert [event.id for event in events_of(database, id)] == ["b"]
    # A change that nobody has dispatched yet stays, whatever its age.
    dispatcher.run()
    notifier.run(1, id)
    assert listener.numbers() == [1, 2, 3]


def test_who_never_took_a_handshake_is_not_waited_for(
    database: Database, repository: Repository, dispatcher: Dispatcher, notifier: Notifier, listener: Listener
) -> None:
    id = str(repository.create(ACCESS, subscription(listener.url)).resource["id"])
    for name, days in (("old", 100), ("new", 10)):
        repository.update(ACCESS, study(name))
        dispatcher.run()
        with database.unit_of_work() as uow:
            uow.execute(text(f"update event set recorded = now() - interval '{days} days' where id = '{name}'"))
    forget(database, 90)
    assert [event.id for event in events_of(database, id)] == ["new"]
    notifier.run(1, id)
    notifier.run(1, id)
    assert listener.numbers() == [2]
