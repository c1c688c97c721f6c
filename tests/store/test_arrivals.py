"""Many senders at once: one transaction takes those who wait, and nobody waits for nothing."""

import threading
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
        "digest": bytes(32),
        "dataset_offset": 0,
        "pixel_offset": None,
        "pixel_length": None,
        "sender": "test",
        "metadata": b"{}",
    } | changes
    return Arrival(row=InstanceRow(**values), patient=patient)


def synced() -> None:
    """The bytes are durable already."""


@pytest.fixture
def open_series(database: Database) -> Database:
    """A database with one series of one study."""
    with database.unit_of_work() as uow:
        uow.driver.execute("insert into patient (tenant, patient, attributes) values (1, 'p', '{}')")
        uow.driver.execute("insert into study (tenant, study, patient, attributes) values (1, '1.2', 'p', '{}')")
        uow.driver.execute("insert into series (tenant, series, study, attributes) values (1, '1.2.1', '1.2', '{}')")
        uow.driver.execute("insert into pack (tenant, pack) values (1, repeat('a', 32))")
    return database


def one(database: Database, query: str) -> Any:
    with database.unit_of_work() as uow:
        row = uow.driver.execute(query).fetchone()  # type: ignore[arg-type]
    assert row is not None
    return row[0] if len(row) == 1 else row


def test_what_it_takes_and_what_it_leaves(open_series: Database) -> None:
    arrivals = Arrivals(open_series)
    assert arrivals.add(1, [arrival(1), arrival(2)], synced) == {"1.2.1.1", "1.2.1.2"}
    left = [arrival(2), arrival(3, series="1.2.9"), arrival(4, patient="q"), arrival(5, study="1.3")]
    assert arrivals.add(1, [*left, arrival(6)], synced) == {"1.2.1.6"}
    assert one(open_series, "select instance_count, sop_classes from study") == (3, ["1.2.840.10008.5.1.4.1.1.2"])
    assert one(open_series, "select instance_count from series") == 3
    assert one(open_series, "select count(*) from audit where who = 'test' and action = 'create'") == 3
    assert one(open_series, "select revision from study_activity") == 2
    assert arrivals.add(2, [arrival(7)], synced) == frozenset()


def test_many_senders_lose_and_double_nothing(open_series: Database) -> None:
    arrivals = Arrivals(open_series)

    def send(sender: int) -> int:
        new = 0
        for number in range(30):
            # Every third number is sent by two.
            uid = sender * 30 + number if number % 3 else number
            new += len(arrivals.add(1, [arrival(uid)], synced))
        return new

    with ThreadPoolExecutor(8) as pool:
        taken = sum(pool.map(send, range(8)))
    stored = one(open_series, "select count(*) from instance")
    assert taken == stored == one(open_series, "select instance_count from study")
    # One transaction took several: the study changed fewer times than it got instances.
    assert one(open_series, "select revision from study_activity") < stored


def test_what_is_not_durable_is_not_entered(open_series: Database) -> None:
    arrivals = Arrivals(open_series)

    def fail() -> None:
        raise Unavailable("The disk does not confirm a write.")

    with pytest.raises(Unavailable, match="disk"):
        arrivals.add(1, [arrival(1)], fail)
    assert one(open_series, "select count(*) from instance") == 0
    assert arrivals.add(1, [arrival(1)], synced) == {"1.2.1.1"}


def test_nobody_is_entered_before_all_of_the_transaction_are_durable(open_series: Database) -> None:
    """The first leads alone; the others wait, sync meanwhile, and are one transaction then."""
    arrivals, first, seen = Arrivals(open_series), threading.Event(), threading.Semaphore(0)

    def hold() -> None:
        seen.release()
        first.wait(20)

    with ThreadPoolExecutor(3) as pool:
        leading = pool.submit(arrivals.add, 1, [arrival(1)], hold)
        assert seen.acquire(timeout=20)
        following = [pool.submit(arrivals.add, 1, [arrival(number)], seen.release) for number in (2, 3)]
        assert all(seen.acquire(timeout=20) for _ in following)
        assert one(open_series, "select count(*) from instance") == 0
        first.set()
        assert [future.result() for future in (leading, *following)] == [{"1.2.1.1"}, {"1.2.1.2"}, {"1.2.1.3"}]
    assert one(open_series, "select revision from study_activity") in (1, 2)


def test_a_sender_whose_disk_fails_takes_nobody_s_place(open_series: Database) -> None:
    """It waits behind a leader; whoever comes after it is served."""
    arrivals, hold, begun = Arrivals(open_series), threading.Event(), threading.Event()

    def slow() -> None:
        begun.set()
        hold.wait(20)

    def fail() -> None:
        hold.set()
        raise Unavailable("The disk does not confirm a write.")

    with ThreadPoolExecutor(2) as pool:
        leading = pool.submit(arrivals.add, 1, [arrival(1)], slow)
        assert begun.wait(20)
        failing = pool.submit(arrivals.add, 1, [arrival(2)], fail)
        assert leading.result() == {"1.2.1.1"}
        with pytest.raises(Unavailable):
            failing.result()
    assert arrivals.add(1, [arrival(3)], synced) == {"1.2.1.3"}
    assert one(open_series, "select count(*) from instance") == 2


def test_a_value_that_the_database_refuses_hinders_only_its_sender(open_series: Database) -> None:
    arrivals = Arrivals(open_series)
    assert arrivals.add(1, [arrival(1, frames=1 << 40)], synced) == frozenset()
    assert arrivals.add(1, [arrival(2)], synced) == {"1.2.1.2"}


def test_without_a_database_it_is_unavailable(tmp_path: Any) -> None:
    arrivals = Arrivals(Database(f"postgresql:///hutong?host={tmp_path}"))
    with pytest.raises(Unavailable):
        arrivals.add(1, [arrival(1)], synced)
