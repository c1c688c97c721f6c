"""Room: quotas by sender and tenant, and a disk that is never filled to the last byte."""

from collections.abc import Callable
from datetime import UTC
from pathlib import Path

import pytest

from server.errors import Unavailable
from server.imaging import quota
from server.imaging.admission import Admission
from server.imaging.guard import GuardLimits
from server.imaging.ingest import Ingest, Outcome, Received
from server.imaging.remove import Remover
from server.security.access import Access, system
from server.settings.archive import Quota
from server.store import admission
from server.store.database import Database
from server.store.packs import Packs

Make = Callable[..., bytes]
CT = Access(who="ae:CT1", scopes=frozenset({"read", "write"}))
MR = Access(who="ae:MR1", scopes=frozenset({"read", "write"}))


@pytest.fixture(autouse=True)
def always_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures of use are looked up each time."""
    monkeypatch.setattr(quota, "_FRESH", 0.0)


def ingest(database: Database, packs: Packs, *quotas: Quota, reserve: int = 0) -> Ingest:
    rules = Admission(quotas=quotas, reserve=reserve, folder=Path("/"))
    return Ingest(database, packs, GuardLimits(), UTC, rules)


def send(door: Ingest, access: Access, *files: bytes) -> Outcome:
    return door.receive(access, [Received(chunks=[file]) for file in files])


def test_a_sender_beyond_its_quota_is_refused_and_others_are_not(
    database: Database, packs: Packs, make_instance: Make
) -> None:
    door = ingest(database, packs, Quota(sender="ae:CT1", instances=2))
    assert len(send(door, CT, make_instance(1), make_instance(2)).stored) == 2
    refused = send(door, CT, make_instance(3)).refused
    assert [one.reason for one in refused] == [0xA700] and "ae:CT1" in refused[0].details
    assert len(send(door, MR, make_instance(4)).stored) == 1


def test_the_tenant_has_a_quota_in_bytes_and_deleting_makes_room(
    database: Database, packs: Packs, make_instance: Make
) -> None:
    size = len(make_instance(1))
    door = ingest(database, packs, Quota(bytes=2 * size))
    assert len(send(door, CT, make_instance(1)).stored) == 1
    assert len(send(door, MR, make_instance(2)).stored) == 1
    assert [one.reason for one in send(door, MR, make_instance(3)).refused] == [0xA700]
    Remover(database).remove(system(), "1.2.3", "1.2.3.1", "1.2.3.1.1")
    assert len(send(door, MR, make_instance(3)).stored) == 1


def test_use_is_the_same_by_either_way_in_and_after_folding(
    database: Database, packs: Packs, make_instance: Make
) -> None:
    door = ingest(database, packs)
    # The first opens its series, the others arrive in it.
    for number in range(1, 6):
        send(door, CT if number % 2 else MR, make_instance(number))
    with database.unit_of_work() as uow:
        before = admission.use(uow, 1)
        rows = uow.driver.execute(
            "select sender, sum(length)::bigint, count(*) from instance group by 1 order by 1"
        ).fetchall()
    assert [(one.sender, one.bytes, one.instances) for one in before] == rows
    assert {one.sender for one in before} == {"ae:CT1", "ae:MR1"}
    with database.unit_of_work() as uow:
        assert admission.fold_use(uow) == 5
        assert admission.fold_use(uow) == 2
        assert admission.use(uow, 1) == before


def test_a_disk_that_is_nearly_full_takes_nothing_and_says_so(
    database: Database, packs: Packs, make_instance: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quota, "_SHARE", 1)
    with pytest.raises(Unavailable, match="disk_reserve"):
        send(ingest(database, packs, reserve=1 << 60), CT, make_instance(1))
    assert len(send(ingest(database, packs, reserve=1), CT, make_instance(1)).stored) == 1


def test_the_folder_of_packs_need_not_be_there_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quota.refuse_full_disk(tmp_path / "a" / "b", 1)
    monkeypatch.setattr(quota, "_SHARE", 1)
    with pytest.raises(Unavailable):
        quota.refuse_full_disk(tmp_path / "a" / "b", 1 << 60)
