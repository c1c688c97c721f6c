"""Many senders at once: one transaction takes those who wait, and nobody waits for nothing."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from server.errors import Unavailable
from server.store.arrivals import Arrival, Arrivals
from server.store.database import Database
from server.store.instances import InstanceRow


def arrival(number: int, *, series: str = "1.2.1", patient: str = "p", **changes: Any) -> Arrival:
    values: dict[str, Any] = {
        "instance": f"{series}.{number}",
        "series": series,
        "study": "1.2",
        "sop_class": "1.2.840.10008.5.1.4.1.1.2",
        "transfer_syntax": "1.2.840.10008.1.2.1",
        "instance_number": None,
        "frames": 1,
        "rows": 1,
        "columns": 1,
        "bits_allocated": 16,
        "pack": "a" * 32,
        "pack_offset": number,
        "length": 1,
        "sha256": bytes(32),
        "dataset_offset": 0,
        "pixel_offset": None,
        "pixel_length": None,
        "sender": "test",
        "metadata": b"{}",
    } | changes
    return Arrival(row=InstanceRow(**values), patient=patient)


@pytest.fixture
def open_series(database: Database) -> Database:
    """A database with one series of one study."""
    with database.unit_of_work() as uow:
        uow.driver.execute("insert into patient (tenant, patient, attributes) values (1, 'p', '{}')")
        uow.driver.execute("insert into study (tenant, study, patient, attributes) values (1, '1.2', 'p', '{}')")
        uow.driver.execute("insert into series (tenant, series, study, attributes) values (1, '1.2.1', '1.2', '{}')")
    return database


def one(database: Database, query: str) -> Any:
    with database.unit_of_work() as uow:
        row = uow.driver.execute(query).fetchone()  # type: ignore[arg-type]
    assert row is not None
    return row[0] if len(row) == 1 else row


def test_what_it_takes_and_what_it_leaves(open_series: Database) -> None:
    arrivals = Arrivals(open_series)
    assert arrivals.add(1, [arrival(1), arrival(2)]) == {"1.2.1.1", "1.2.1.2"}
    left = [arrival(2), arrival(3, series="1.2.9"), arrival(4, patient="q"), arrival(5, study="1.3")]
    assert arrivals.add(1, [*left, arrival(6)]) == {"1.2.1.6"}
    assert one(open_series, "select instance_count, sop_classes from study") == (3, ["1.2.840.10008.5.1.4.1.1.2"])
    assert one(open_series, "select instance_count from series") == 3
    assert one(open_series, "select count(*) from audit where who = 'test' and action = 'create'") == 3
    assert one(open_series, "select revision from study_activity") == 2
    assert arrivals.add(2, [arrival(7)]) == frozenset()


def test_many_senders_lose_and_double_nothing(open_series: Database) -> None:
    arrivals = Arrivals(open_series)

    def send(sender: int) -> int:
        new = 0
        for number in range(30):
            with arrivals.coming():
                pass
            # Every third number is sent by two.
            uid = sender * 30 + number if number % 3 else number
            new += len(arrivals.add(1, [arrival(uid)]))
        return new

    with ThreadPoolExecutor(8) as pool:
        taken = sum(pool.map(send, range(8)))
    stored = one(open_series, "select count(*) from instance")
    assert taken == stored == one(open_series, "select instance_count from study")
    # One transaction took several: the study changed fewer times than it got instances.
    assert one(open_series, "select revision from study_activity") < stored


def test_who_never_comes_is_not_waited_for_long(open_series: Database) -> None:
    arrivals, stay = Arrivals(open_series), threading.Event()

    def linger() -> None:
        with arrivals.coming():
            stay.wait(20)

    thread = threading.Thread(target=linger)
    thread.start()
    assert arrivals.add(1, [arrival(1)]) == {"1.2.1.1"}
    stay.set()
    thread.join()


def test_a_value_that_the_database_refuses_hinders_only_its_sender(open_series: Database) -> None:
    arrivals = Arrivals(open_series)
    assert arrivals.add(1, [arrival(1, frames=1 << 40)]) == frozenset()
    assert arrivals.add(1, [arrival(2)]) == {"1.2.1.2"}


def test_without_a_database_it_is_unavailable(tmp_path: Any) -> None:
    arrivals = Arrivals(Database(f"postgresql:///hutong?host={tmp_path}"))
    calls: list[Callable[[], Any]] = [lambda: arrivals.add(1, [arrival(1)]), lambda: arrivals.coming().__enter__()]
    for call in calls:
        with pytest.raises(Unavailable):
            call()
