"""Retention: rules let go what is old enough and nothing else, after the peer has it where they say so."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from server.errors import BadRequest
from server.imaging.ingest import Ingest, Received
from server.imaging.remove import Remover
from server.imaging.retention import Expired, Retainer
from server.security.access import Access
from server.settings import Peer
from server.settings.archive import Retention
from server.store import locks
from server.store.database import Database

Make = Callable[..., bytes]
PEER = Peer(name="vault", ae_title="VAULT")


def retainer(database: Database, *rules: Retention, peers: Iterable[Peer] = (PEER,)) -> Retainer:
    return Retainer(database, Remover(database), rules, list(peers))


def told(found: list[Expired]) -> list[tuple[str, str, str]]:
    return sorted((one.study, one.rule, one.step) for one in found)


def rows(database: Database, query: str) -> list[tuple[Any, ...]]:
    with database.unit_of_work() as uow:
        return uow.driver.execute(query).fetchall()  # type: ignore[arg-type]


@pytest.fixture
def stored(ingest: Ingest, access: Access, database: Database, make_instance: Make) -> None:
    """An old CT, an old MR, a study without a date, and a new CT; all of them quiet for two days."""
    made = [
        make_instance(1, study="1.2.1", StudyDate="20100101"),
        make_instance(2, study="1.2.1", StudyDate="20100101"),
        make_instance(1, study="1.2.2", StudyDate="20100101", Modality="MR"),
        make_instance(1, study="1.2.3", StudyDate=""),
        make_instance(1, study="1.2.4", StudyDate="29990101"),
    ]
    assert len(ingest.receive(access, [Received(chunks=[file]) for file in made]).stored) == 5
    with database.unit_of_work() as uow:
        uow.driver.execute("update study_activity set last_seen = last_seen - interval '2 days'")


OLD_CT = Retention(name="ct", match="ModalitiesInStudy=CT", days=3650)


@pytest.mark.usefixtures("stored")
def test_a_rule_deletes_what_matches_and_is_old_enough(database: Database) -> None:
    assert told(retainer(database, OLD_CT).run(dry=True)) == [("1.2.1", "ct", "delete")]
    assert rows(database, "select count(*) from study") == [(4,)]
    assert told(retainer(database, OLD_CT).run()) == [("1.2.1", "ct", "delete")]
    assert rows(database, "select study from study order by 1") == [("1.2.2",), ("1.2.3",), ("1.2.4",)]
    assert rows(database, "select distinct who, reason from tombstone") == [("retention:ct", "113039")]
    assert rows(database, "select distinct who from audit where action = 'delete'") == [("retention:ct",)]
    assert retainer(database, OLD_CT).run() == []


@pytest.mark.usefixtures("stored")
def test_days_count_from_receipt_where_the_rule_or_the_lack_of_a_date_says_so(database: Database) -> None:
    assert retainer(database, Retention(name="r", days=30, since="receipt")).run(dry=True) == []
    assert told(retainer(database, Retention(name="s", days=30)).run(dry=True)) == [
        ("1.2.1", "s", "delete"),
        ("1.2.2", "s", "delete"),
    ]
    with database.unit_of_work() as uow:
        uow.driver.execute("update study set created = created - interval '31 days' where study in ('1.2.3', '1.2.4')")
    assert told(retainer(database, Retention(name="r", days=30, since="receipt")).run(dry=True)) == [
        ("1.2.3", "r", "delete"),
        ("1.2.4", "r", "delete"),
    ]
    assert "1.2.3" in {one.study for one in retainer(database, Retention(name="s", days=30)).run(dry=True)}


@pytest.mark.usefixtures("stored")
def test_what_is_locked_or_has_just_come_stays(
    database: Database, ingest: Ingest, access: Access, make_instance: Make
) -> None:
    with database.unit_of_work() as uow:
        locks.lock(uow, 1, "1.2.1", who="legal", reason="hold")
    ingest.receive(access, [Received(chunks=[make_instance(7, study="1.2.2", StudyDate="20100101")])])
    assert retainer(database, Retention(name="s", days=30)).run() == []
    assert rows(database, "select count(*) from study") == [(4,)]


@pytest.mark.usefixtures("stored")
def test_the_first_rule_that_fits_decides(database: Database) -> None:
    mr = Retention(name="mr", match="ModalitiesInStudy=MR&PatientID=P1", days=3650)
    found = retainer(database, mr, Retention(name="rest", days=3650)).run(dry=True)
    assert told(found) == [("1.2.1", "rest", "delete"), ("1.2.2", "mr", "delete")]


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize("commit", [False, True])
def test_a_study_goes_only_when_the_peer_has_every_instance(database: Database, commit: bool) -> None:
    rule = Retention(name="away", match="ModalitiesInStudy=CT", days=3650, action="forward", to="vault")
    peer = Peer(name="vault", ae_title="VAULT", commit=commit)
    for _ in range(2):
        (found,) = retainer(database, rule, peers=[peer]).run()
        assert (found.step, found.waiting) == ("forward", 2)
    assert rows(database, "select peer, study, rule, state from delivery") == [
        ("vault", "1.2.1", "retention:away", "waiting")
    ]
    with database.unit_of_work() as uow:
        uow.driver.execute("update sending set sent = now() where instance = '1.2.1.1.1'")
    assert retainer(database, rule, peers=[peer]).run()[0].waiting == (2 if commit else 1)
    with database.unit_of_work() as uow:
        uow.driver.execute("update sending set sent = now()")
    assert told(retainer(database, rule, peers=[peer]).run())[0][2] == ("forward" if commit else "delete")
    with database.unit_of_work() as uow:
        uow.driver.execute("update sending set committed = now()")
    retainer(database, rule, peers=[peer]).run()
    assert rows(database, "select 1 from study where study = '1.2.1'") == []


@pytest.mark.parametrize(
    "rule",
    [
        Retention(name="x", days=0),
        Retention(name="x", days=5, action="burn"),
        Retention(name="x", days=5, since="birth"),
        Retention(name="x", days=5, action="forward", to="nobody"),
        Retention(name="x", days=5, match="PatientID"),
    ],
)
def test_a_rule_that_can_not_be_is_refused_by_name(database: Database, rule: Retention) -> None:
    with pytest.raises(BadRequest):
        retainer(database, rule)
