"""Deletion: the index follows at once, counts stay right, what was deleted is gone and may come again."""

from collections.abc import Callable
from threading import Barrier, Thread
from typing import Any

import pytest

from server.app.archive import keeper
from server.errors import Conflict, Forbidden, Gone, NotFound
from server.imaging.ingest import Ingest, Outcome, Received
from server.imaging.remove import Remover
from server.imaging.transcode_cache import TranscodeCache
from server.security.access import Access
from server.settings import Settings
from server.store import locks
from server.store.database import Database

Make = Callable[..., bytes]


@pytest.fixture
def remover(database: Database) -> Remover:
    return Remover(database)


def rows(database: Database, query: str) -> list[tuple[Any, ...]]:
    with database.unit_of_work() as uow:
        return uow.driver.execute(query).fetchall()  # type: ignore[arg-type]


def send(ingest: Ingest, access: Access, *files: bytes) -> Outcome:
    return ingest.receive(access, [Received(chunks=[file]) for file in files])


@pytest.fixture
def stored(ingest: Ingest, access: Access, make_instance: Make) -> None:
    """Two series of one study, and another study of another patient."""
    ct = [make_instance(n) for n in (1, 2, 3)]
    sr = make_instance(7, SeriesInstanceUID="1.2.3.2", Modality="MR", SOPClassUID="1.2.840.10008.5.1.4.1.1.4")
    other = make_instance(1, study="1.2.9", PatientID="P2")
    assert len(send(ingest, access, *ct, sr, other).stored) == 5


@pytest.mark.usefixtures("stored")
def test_an_instance_goes_and_the_counts_follow(remover: Remover, access: Access, database: Database) -> None:
    removed = remover.remove(access, "1.2.3", "1.2.3.1", "1.2.3.1.2")
    assert removed.instances == ("1.2.3.1.2",) and removed.bytes > 500
    assert rows(database, "select series, instance_count from series where study = '1.2.3' order by 1") == [
        ("1.2.3.1", 2),
        ("1.2.3.2", 1),
    ]
    assert rows(database, "select instance_count, series_count, modalities from study where study = '1.2.3'") == [
        (3, 2, ["CT", "MR"])
    ]
    assert rows(database, "select who, reason from tombstone where instance = '1.2.3.1.2'") == [("system", "")]
    assert rows(database, "select who, id from audit where action = 'delete'") == [("system", "1.2.3.1.2")]
    assert rows(database, "select revision > dispatched from study_activity where study = '1.2.3'") == [(True,)]
    assert rows(database, "select removed from pack") == [(removed.bytes,)]


@pytest.mark.usefixtures("stored")
def test_a_series_goes_with_its_modality(remover: Remover, access: Access, database: Database) -> None:
    remover.remove(access, "1.2.3", "1.2.3.2")
    assert rows(database, "select modalities, sop_classes, series_count from study where study = '1.2.3'") == [
        (["CT"], ["1.2.840.10008.5.1.4.1.1.2"], 1)
    ]
    assert not rows(database, "select 1 from series where series = '1.2.3.2'")


@pytest.mark.usefixtures("stored")
def test_a_study_goes_with_its_patient_and_no_other(remover: Remover, access: Access, database: Database) -> None:
    assert len(remover.remove(access, "1.2.3").instances) == 4
    assert rows(database, "select study from study") == [("1.2.9",)]
    assert rows(database, "select patient_id from patient") == [("P2",)]
    use = rows(database, "select sum(bytes), sum(instances) from storage_use")
    assert use == rows(database, "select sum(length), count(*) from instance")


@pytest.mark.usefixtures("stored")
def test_what_is_gone_is_told_from_what_never_was(remover: Remover, access: Access) -> None:
    remover.remove(access, "1.2.3", "1.2.3.2")
    for path in (("1.2.3", "1.2.3.2"), ("1.2.3", "1.2.3.2", "1.2.3.1.7")):
        with pytest.raises(Gone):
            remover.remove(access, *path)
    for path in (("1.2.3", "1.2.3.1", "1.2.3.1.99"), ("1.2.77",), ("1.2.9", "1.2.3.1")):
        with pytest.raises(NotFound):
            remover.remove(access, *path)


@pytest.mark.usefixtures("stored")
def test_deleting_needs_its_own_scope(remover: Remover, database: Database) -> None:
    with pytest.raises(Forbidden):
        remover.remove(Access(who="writer", scopes=frozenset({"read", "write"})), "1.2.3")
    assert len(rows(database, "select 1 from instance")) == 5


@pytest.mark.usefixtures("stored")
def test_what_was_deleted_may_come_again(
    remover: Remover, ingest: Ingest, access: Access, database: Database, make_instance: Make
) -> None:
    remover.remove(access, "1.2.3")
    again = send(ingest, access, make_instance(1, StudyDescription="Corrected"))
    assert len(again.stored) == 1
    assert rows(database, "select instance_count, description from study where study = '1.2.3'") == [(1, "Corrected")]
    assert not rows(database, "select 1 from tombstone where instance = '1.2.3.1.1'")


@pytest.mark.usefixtures("stored")
def test_a_locked_study_takes_no_change(
    remover: Remover, ingest: Ingest, access: Access, database: Database, make_instance: Make
) -> None:
    with database.unit_of_work() as uow:
        assert locks.lock(uow, 1, "1.2.3", who="legal", reason="hold")
    with pytest.raises(Conflict, match="locked"):
        remover.remove(access, "1.2.3", "1.2.3.2")
    outcome = send(ingest, access, make_instance(1), make_instance(50), make_instance(2, study="1.2.9", PatientID="P2"))
    assert [one.sop_instance for one in outcome.already] == ["1.2.3.1.1"]
    assert [one.study for one in outcome.stored] == ["1.2.9"]
    assert [(one.reason, one.expression) for one in outcome.refused] == [(0x0124, "0020000D")]
    with database.unit_of_work() as uow:
        assert locks.unlock(uow, 1, "1.2.3", who="legal")
    assert len(send(ingest, access, make_instance(50)).stored) == 1
    remover.remove(access, "1.2.3")


def test_senders_and_deleters_at_once_leave_the_counts_right(
    ingest: Ingest, remover: Remover, access: Access, database: Database, make_instance: Make
) -> None:
    barrier, failures = Barrier(4), list[BaseException]()

    def run(work: Callable[[int], object]) -> None:
        barrier.wait()
        for number in range(12):
            try:
                work(number)
            except (Gone, NotFound):
                continue
            except BaseException as error:
                failures.append(error)
                raise

    def store(start: int) -> Callable[[int], object]:
        return lambda n: send(ingest, access, make_instance(start + n), make_instance(start + n, study="1.2.4"))

    def delete(study: str) -> Callable[[int], object]:
        return lambda _n: remover.remove(access, study)

    work = [store(0), store(100), delete("1.2.3"), delete("1.2.4")]
    threads = [Thread(target=run, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    counted = "select study, count(*) from instance group by study order by 1"
    assert rows(database, "select study, instance_count from study order by 1") == rows(database, counted)
    assert rows(database, "select sum(instance_count) from series") == rows(
        database, "select sum(instance_count) from study"
    )
    assert rows(database, "select sum(instances) from storage_use") == rows(database, "select count(*) from instance")


@pytest.mark.usefixtures("stored")
def test_what_was_made_from_a_deleted_instance_goes_too(
    remover: Remover, access: Access, database: Database, settings: Settings
) -> None:
    cache = TranscodeCache(settings.transcode_cache, settings.transcode_cache_bytes)
    ((digest,),) = rows(database, "select digest from instance where instance = '1.2.3.1.1'")
    ((other,),) = rows(database, "select digest from instance where instance = '1.2.3.1.2'")
    for one in (digest, other):
        cache.put(1, one, "1.2.840.10008.1.2.4.90", b"pixels")
    remover.remove(access, "1.2.3", "1.2.3.1", "1.2.3.1.1")
    keeper(settings, database).run()
    assert cache.get(1, digest, "1.2.840.10008.1.2.4.90") is None
    assert cache.get(1, other, "1.2.840.10008.1.2.4.90") == b"pixels"
    assert rows(database, "select digest from tombstone") == [(None,)]
