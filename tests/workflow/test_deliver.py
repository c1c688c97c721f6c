"""Deliveries: until the peer confirms, in the order of urgency, whatever other peers do."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text

from server.errors import HutongError, Unavailable, Unprocessable, Unreachable
from server.imaging.guard import GuardLimits
from server.imaging.ingest import Ingest, Received
from server.imaging.retrieve import Retrieve
from server.outbound.dimse.commitment import Report
from server.security.access import Access, system
from server.settings import Forward, Peer, Settings
from server.store import deliveries
from server.store import forward as store
from server.store.database import Database
from server.store.forward import Line
from server.store.packs import Packs
from server.store.studies import Located
from server.telemetry import metrics
from server.workflow.deliver import LONGEST_PEER_PAUSE, Deliverer
from server.workflow.peer_threads import pause
from server.workflow.send import Fate

Make = Callable[..., bytes]
PACS = Peer(name="pacs", ae_title="PACS")
SLOW = Peer(name="slow", ae_title="SLOW")


class Depot:
    """A deliverer whose peers do what they are told to."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.database = database
        packs = Packs(settings.blobs)
        self.ingest = Ingest(database, packs, GuardLimits(), UTC)
        self.retrieve = Retrieve(database, packs, GuardLimits())
        #: What a peer has, in the order of arrival; and what it says of an instance.
        self.has: dict[str, list[str]] = {}
        self.refuses: dict[str, str] = {}
        self.down: HutongError | None = None
        self.breaks_at = ""
        self.reports: list[Report | HutongError | None] = []
        self.transactions: list[str] = []

    def deliverer(self, *peers: Peer, rules: Sequence[Forward] = ()) -> Deliverer:
        return Deliverer(
            database=self.database, retrieve=self.retrieve, peers=peers or (PACS,), rules=tuple(rules),
            zone=ZoneInfo("UTC"), carry=self.carry, commit=self.commit,
        )  # fmt: skip

    def carry(self, _access: Access, peer: Peer, located: Sequence[Located], _rank: int) -> Iterator[list[Fate]]:
        if self.down is not None:
            raise self.down
        if peer.name == "slow":
            time.sleep(3)
        for place in located:
            if place.instance == self.breaks_at:
                yield [Fate(instance=place.instance, arrived=False, note="broke")]
                raise Unavailable("The peer broke off.")
            note = self.refuses.get(place.instance, "")
            if not note:
                self.has.setdefault(peer.name, []).append(place.instance)
            yield [Fate(instance=place.instance, arrived=not note, note=note)]

    def commit(self, _peer: Peer, transaction: str, _located: Sequence[Located]) -> Report | None:
        self.transactions.append(transaction)
        answer = self.reports.pop(0) if self.reports else None
        if isinstance(answer, HutongError):
            raise answer
        return answer

    def queue(self, *files: bytes, study: str = "1.2.3", peer: str = "pacs", rank: int = 1, rule: str = "r") -> None:
        outcome = self.ingest.receive(system(), [Received(chunks=[file]) for file in files])
        with self.database.unit_of_work() as uow:
            store.queue(
                uow, 1, peer=peer, study=study, rule=rule, rank=rank,
                instances=[one.sop_instance for one in (*outcome.stored, *outcome.already)],
            )  # fmt: skip

    def lines(self) -> list[Line]:
        with self.database.reading() as uow:
            return store.lines(uow, 1, everything=True)

    def line(self) -> Line:
        (line,) = self.lines()
        return line

    def later(self) -> None:
        """Time passes: whatever waits is due."""
        with self.database.unit_of_work() as uow:
            uow.execute(text("update delivery set next_try = clock_timestamp()"))
            uow.execute(text("update peer_state set next_try = clock_timestamp()"))


@pytest.fixture
def depot(settings: Settings, database: Database) -> Depot:
    return Depot(settings, database)


def test_what_is_queued_arrives_once(depot: Depot, make_instance: Make) -> None:
    depot.queue(make_instance(1), make_instance(2))
    depot.queue(make_instance(1), make_instance(2))
    deliverer = depot.deliverer()
    assert deliverer.step(PACS)
    assert not deliverer.step(PACS)
    assert depot.has == {"pacs": ["1.2.3.1.1", "1.2.3.1.2"]}
    line = depot.line()
    assert (line.state, line.instances, line.sent, line.last_error) == ("done", 2, 2, "")
    depot.queue(make_instance(3))
    assert depot.line().state == "waiting"
    while deliverer.step(PACS):
        pass
    assert depot.has == {"pacs": ["1.2.3.1.1", "1.2.3.1.2", "1.2.3.1.3"]}


def test_a_peer_that_is_away_is_left_alone_and_then_gets_all_by_urgency(depot: Depot, make_instance: Make) -> None:
    for number, rank in ((1, 2), (2, 1), (3, 0)):
        depot.queue(make_instance(number, study=f"1.2.{number}"), study=f"1.2.{number}", rank=rank)
    depot.down = Unreachable("The peer pacs could not be reached (Connection refused).")
    deliverer = depot.deliverer()
    assert deliverer.step(PACS)
    # The circuit is open: nothing is due for this peer, and nobody's attempts are counted.
    assert not deliverer.step(PACS)
    assert [line.attempts for line in depot.lines()] == [0, 0, 0]
    deliverer.measure()
    assert metrics.waiting_deliveries.labels(peer="pacs")._value.get() == 3
    assert metrics.unreached_peers.labels(peer="pacs")._value.get() == 1
    with depot.database.reading() as uow:
        (state,) = store.peers(uow, 1)
    assert (state.failures, state.waiting) == (1, 3) and "refused" in state.last_error
    depot.down = None
    depot.later()
    while deliverer.step(PACS):
        pass
    assert depot.has == {"pacs": ["1.2.3.1.3", "1.2.2.1.2", "1.2.1.1.1"]}
    with depot.database.reading() as uow:
        (state,) = store.peers(uow, 1)
    assert (state.failures, state.waiting, state.last_error) == (0, 0, "")


def test_one_refused_instance_holds_nobody_up(depot: Depot, make_instance: Make) -> None:
    depot.queue(*(make_instance(number) for number in range(1, 6)))
    depot.refuses["1.2.3.1.2"] = "The peer refused it with status C000."
    deliverer = depot.deliverer()
    assert deliverer.step(PACS) and not deliverer.step(PACS)
    line = depot.line()
    assert (line.state, line.sent, line.attempts) == ("waiting", 4, 1)
    assert line.next_try > line.queued and "1 of 5" in line.last_error
    for tries in (2, 3):
        depot.later()
        assert deliverer.step(PACS)
        assert depot.line().attempts == tries
    del depot.refuses["1.2.3.1.2"]
    depot.later()
    assert deliverer.step(PACS)
    assert depot.line().state == "done"
    assert len(depot.has["pacs"]) == 5


def test_an_instance_that_breaks_the_peer_lets_the_others_pass(depot: Depot, make_instance: Make) -> None:
    depot.queue(*(make_instance(number) for number in range(1, 4)))
    depot.breaks_at = "1.2.3.1.1"
    deliverer = depot.deliverer()
    assert deliverer.step(PACS)
    depot.later()
    assert deliverer.step(PACS)
    assert sorted(depot.has["pacs"]) == ["1.2.3.1.2", "1.2.3.1.3"]
    assert depot.line().attempts == 2


def test_what_was_deleted_is_struck_off(depot: Depot, make_instance: Make) -> None:
    depot.queue(make_instance(1))
    with depot.database.unit_of_work() as uow:
        store.queue(uow, 1, peer="pacs", study="1.2.3", rule="r", instances=["1.9"])
        store.queue(uow, 1, peer="pacs", study="1.8", rule="r", instances=["1.8.1"])
    deliverer = depot.deliverer()
    while deliverer.step(PACS):
        pass
    assert {line.state for line in depot.lines()} == {"done"}
    assert depot.has == {"pacs": ["1.2.3.1.1"]}


def test_what_is_gone_is_forgotten_once_it_is_settled(depot: Depot, make_instance: Make) -> None:
    depot.queue(make_instance(1))
    depot.queue(make_instance(1, study="1.5"), study="1.5")
    with depot.database.unit_of_work() as uow:
        store.queue(uow, 1, peer="pacs", study="1.8", rule="r", instances=["1.8.1"])
        assert store.forget(uow) == 0
    deliverer = depot.deliverer()
    while deliverer.step(PACS):
        pass
    with depot.database.unit_of_work() as uow:
        uow.execute(text("delete from instance where study = '1.5'"))
        assert store.forget(uow) == 2
    assert depot.line().study == "1.2.3"


def test_a_report_at_once_commits_and_what_failed_is_sent_again(depot: Depot, make_instance: Make) -> None:
    peer = Peer(name="pacs", ae_title="PACS", commit=True)
    depot.queue(make_instance(1), make_instance(2))
    deliverer = depot.deliverer(peer)
    depot.reports = [Report(transaction="", committed=("1.2.3.1.1",), failed={"1.2.3.1.2": 0x0112})]
    assert deliverer.step(peer)
    line = depot.line()
    assert (line.state, line.sent, line.committed) == ("waiting", 1, 1) and "0112" in line.last_error
    depot.later()
    depot.reports = [Report(transaction="", committed=("1.2.3.1.2",))]
    assert deliverer.step(peer)
    assert (depot.line().state, depot.line().committed) == ("done", 2)
    assert depot.has["pacs"] == ["1.2.3.1.1", "1.2.3.1.2", "1.2.3.1.2"]


def test_a_commitment_that_comes_later_or_never(depot: Depot, make_instance: Make) -> None:
    peer = Peer(name="pacs", ae_title="PACS", commit=True)
    depot.queue(make_instance(1))
    deliverer = depot.deliverer(peer)
    depot.reports = [None, Unprocessable("The peer pacs refused storage commitment with status 0110."), None]
    assert deliverer.step(peer)
    assert depot.line().state == "committing"
    assert not deliverer.step(peer)
    depot.later()
    assert deliverer.step(peer)
    assert (depot.line().state, depot.line().attempts) == ("committing", 1)
    depot.later()
    assert deliverer.step(peer)
    with depot.database.unit_of_work() as uow:
        assert not deliveries.commitment_result(uow, 1, depot.transactions[0], ["1.2.3.1.1"], {})
        assert deliveries.commitment_result(uow, 1, depot.transactions[2], ["1.2.3.1.1"], {})
    assert (depot.line().state, depot.line().committed) == ("done", 1)
    assert depot.has["pacs"] == ["1.2.3.1.1"]


def test_hours_are_kept(depot: Depot, make_instance: Make) -> None:
    closed = Forward(name="r", peer="pacs", window="00:00-00:00")
    depot.queue(make_instance(1))
    assert not depot.deliverer(rules=[closed]).step(PACS)
    assert depot.deliverer().step(PACS)


def test_people_may_hurry_and_call_off(depot: Depot, make_instance: Make) -> None:
    depot.queue(make_instance(1))
    depot.down = Unreachable("away")
    deliverer = depot.deliverer()
    assert deliverer.step(PACS) and not deliverer.step(PACS)
    with depot.database.unit_of_work() as uow:
        assert store.retry(uow, 1, peer="pacs") == 1
    assert deliverer.step(PACS)
    number = depot.line().number
    with depot.database.unit_of_work() as uow:
        assert store.drop(uow, 1, number=number) == 1
        assert store.drop(uow, 1, number=number) == 0
    depot.down = None
    depot.later()
    assert not deliverer.step(PACS)
    assert depot.line().state == "dropped"
    depot.queue(make_instance(1))
    assert depot.line().state == "dropped"
    with depot.database.unit_of_work() as uow:
        assert store.retry(uow, 1, number=number) == 1
    assert deliverer.step(PACS)
    assert depot.has["pacs"] == ["1.2.3.1.1"]


def test_a_slow_peer_slows_nobody_and_one_process_at_a_time_works(depot: Depot, make_instance: Make) -> None:
    for number in range(1, 6):
        study = f"1.2.{number}"
        depot.queue(make_instance(number, study=study), study=study)
        depot.queue(make_instance(number, study=study), study=study, peer="slow")
    stopping = threading.Event()
    first, second = depot.deliverer(PACS, SLOW), depot.deliverer(PACS, SLOW)
    threads = [threading.Thread(target=one.run, args=(stopping,)) for one in (first, second)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    try:
        while len(depot.has.get("pacs", ())) < 5:
            assert time.monotonic() - began < 30
            time.sleep(0.02)
        assert len(depot.has.get("slow", ())) < 2
    finally:
        stopping.set()
        for thread in threads:
            thread.join()


def test_a_dead_process_leaves_its_work_to_the_next(depot: Depot, make_instance: Make) -> None:
    depot.queue(make_instance(1))
    with depot.database.unit_of_work() as uow:
        assert deliveries.claim(uow, "pacs", 0, []) is not None
    assert not depot.deliverer().step(PACS)
    stopping = threading.Event()
    thread = threading.Thread(target=depot.deliverer().run, args=(stopping,))
    thread.start()
    deadline = time.monotonic() + 20
    while not depot.has and time.monotonic() < deadline:
        time.sleep(0.02)
    stopping.set()
    thread.join()
    assert depot.has == {"pacs": ["1.2.3.1.1"]}


def test_pauses_grow_and_end_nowhere() -> None:
    assert 0.7 < pause(0, LONGEST_PEER_PAUSE) < 1.3
    assert 6 <= pause(3, LONGEST_PEER_PAUSE) <= 10
    assert 22 <= pause(1000, LONGEST_PEER_PAUSE) <= 38
    assert len({pause(3, 60) for _ in range(10)}) > 1


def test_the_queue_tells_no_patient_data(depot: Depot, make_instance: Make) -> None:
    depot.queue(make_instance(1))
    assert isinstance(vars(Line), Mapping)
    assert "Hu^Tong" not in str(depot.lines()) and "P1" not in str(depot.lines())
