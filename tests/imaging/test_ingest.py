"""The one door: what is stored, what is already there, what is refused, and what is left on the disk."""

import tracemalloc
from collections.abc import Callable
from datetime import UTC
from pathlib import Path
from threading import Barrier, Thread

import pytest
import xxhash

from server.errors import Forbidden, Unavailable
from server.imaging.guard import GuardLimits
from server.imaging.ingest import Ingest, Outcome, Received
from server.security.access import Access
from server.settings import Settings
from server.store.database import Database
from server.store.packs import Packs

Make = Callable[..., bytes]


def rows(database: Database, query: str) -> list[tuple[object, ...]]:
    with database.unit_of_work() as uow:
        return uow.driver.execute(query).fetchall()  # type: ignore[arg-type]


def pack_files(settings: Settings) -> list[Path]:
    return list(Path(settings.blobs).rglob("*.pack"))


def send(ingest: Ingest, access: Access, *files: bytes) -> Outcome:
    return ingest.receive(access, [Received(chunks=[file]) for file in files])


def test_bytes_are_kept_as_they_came_and_indexed(
    ingest: Ingest, access: Access, database: Database, packs: Packs, make_instance: Make
) -> None:
    files = [make_instance(n) for n in (1, 2, 3)]
    outcome = ingest.receive(access, [Received(chunks=[file[:200], file[200:]]) for file in files])
    assert [a.sop_instance for a in outcome.stored] == ["1.2.3.1.1", "1.2.3.1.2", "1.2.3.1.3"]
    assert not outcome.already and not outcome.refused
    for file, row in zip(
        files, rows(database, "select pack, pack_offset, length, digest from instance order by instance"), strict=True
    ):
        pack, offset, length, digest = row
        assert packs.read(1, str(pack), int(str(offset)), int(str(length))) == file
        assert digest == xxhash.xxh3_128(file).digest()
    assert rows(database, "select modalities, series_count, instance_count, study_date from study") == [
        (["CT"], 1, 3, "20240131")
    ]
    assert rows(database, "select name_folded, patient_id from patient") == [("hu^tong", "P1")]
    assert rows(database, "select revision, dispatched from study_activity") == [(1, 0)]
    assert rows(database, "select who, action, id from audit order by id limit 1") == [
        ("system", "create", "1.2.3.1.1")
    ]


def test_the_same_again_changes_nothing(
    ingest: Ingest, access: Access, database: Database, settings: Settings, make_instance: Make
) -> None:
    send(ingest, access, make_instance())
    before = rows(database, "select * from study_activity")
    outcome = send(ingest, access, make_instance())
    assert [a.sop_instance for a in outcome.already] == ["1.2.3.1.1"]
    assert not outcome.stored and not outcome.refused
    assert rows(database, "select * from study_activity") == before
    assert len(pack_files(settings)) == 1


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99"])
def test_the_same_in_another_native_transfer_syntax_is_the_same(
    ingest: Ingest, access: Access, make_instance: Make, syntax: str
) -> None:
    send(ingest, access, make_instance())
    outcome = send(ingest, access, make_instance(syntax=syntax))
    assert len(outcome.already) == 1 and not outcome.refused


def test_other_content_under_a_known_uid_is_refused_and_the_first_kept(
    ingest: Ingest, access: Access, database: Database, make_instance: Make
) -> None:
    send(ingest, access, make_instance())
    before = rows(database, "select digest from instance")
    outcome = send(ingest, access, make_instance(StudyDescription="Other"))
    assert [(r.reason, r.sop_instance) for r in outcome.refused] == [(0x0111, "1.2.3.1.1")]
    assert rows(database, "select digest from instance") == before


def test_duplicates_within_one_request(ingest: Ingest, access: Access, database: Database, make_instance: Make) -> None:
    outcome = send(
        ingest, access, make_instance(), make_instance(), make_instance(StudyDescription="Other"), make_instance(2)
    )
    assert len(outcome.stored) == 2 and len(outcome.already) == 1
    assert [r.reason for r in outcome.refused] == [0x0111]
    assert rows(database, "select instance_count from study") == [(2,)]


def test_one_bad_instance_does_not_hinder_the_others(
    ingest: Ingest, access: Access, packs: Packs, database: Database, make_instance: Make
) -> None:
    good, last = make_instance(1), make_instance(2)
    outcome = send(ingest, access, good, make_instance(3)[:-5], b"", b"nonsense" * 100, last)
    assert len(outcome.stored) == 2
    assert [r.reason for r in outcome.refused] == [0xC000] * 3
    pack, offset, length = rows(database, "select pack, pack_offset, length from instance order by instance desc")[0]
    assert packs.read(1, str(pack), int(str(offset)), int(str(length))) == last


def test_an_instance_without_patient_id_gets_a_patient_of_its_study(
    ingest: Ingest, access: Access, database: Database, make_instance: Make
) -> None:
    send(ingest, access, make_instance(PatientID=""), make_instance(study="1.2.4", PatientID=None))
    assert len(rows(database, "select * from patient")) == 2


def test_a_study_of_another_patient_is_refused(ingest: Ingest, access: Access, make_instance: Make) -> None:
    send(ingest, access, make_instance(1))
    outcome = send(ingest, access, make_instance(2, PatientID="P2"))
    assert [(r.reason, r.expression) for r in outcome.refused] == [(0x0110, "0020000D")]


def test_a_series_of_another_study_is_refused(ingest: Ingest, access: Access, make_instance: Make) -> None:
    send(ingest, access, make_instance(1))
    outcome = send(ingest, access, make_instance(1, study="1.2.4", SeriesInstanceUID="1.2.3.1"))
    assert [(r.reason, r.expression) for r in outcome.refused] == [(0x0110, "0020000E")]


def test_nothing_is_written_without_the_right(ingest: Ingest, settings: Settings, make_instance: Make) -> None:
    with pytest.raises(Forbidden):
        send(ingest, Access(who="reader"), make_instance())
    assert not pack_files(settings)


def test_a_refused_request_leaves_no_pack(ingest: Ingest, access: Access, settings: Settings) -> None:
    send(ingest, access, b"nonsense")
    assert not pack_files(settings)


def test_two_senders_of_the_same_instances_at_once(
    ingest: Ingest, access: Access, database: Database, make_instance: Make
) -> None:
    files = [make_instance(n) for n in range(1, 9)]
    barrier, outcomes = Barrier(4), list[Outcome]()

    def run(order: list[bytes]) -> None:
        barrier.wait()
        outcomes.append(send(ingest, access, *order))

    threads = [Thread(target=run, args=(files if n % 2 else files[::-1],)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(len(o.stored) for o in outcomes) == 8
    assert sum(len(o.already) for o in outcomes) == 24
    assert not any(o.refused for o in outcomes)
    assert rows(database, "select instance_count from study") == [(8,)]


def test_two_senders_of_different_content_under_one_uid(
    ingest: Ingest, access: Access, database: Database, make_instance: Make
) -> None:
    files = [make_instance(StudyDescription=text) for text in ("One", "Two")]
    barrier, outcomes = Barrier(2), list[Outcome]()

    def run(file: bytes) -> None:
        barrier.wait()
        outcomes.append(send(ingest, access, file))

    threads = [Thread(target=run, args=(file,)) for file in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted((len(o.stored), [r.reason for r in o.refused]) for o in outcomes) == [(0, [0x0111]), (1, [])]
    assert len(rows(database, "select * from instance")) == 1


def test_without_a_database_nothing_is_acknowledged_or_left(
    packs: Packs, settings: Settings, access: Access, tmp_path: Path, make_instance: Make
) -> None:
    away = Database(f"postgresql:///hutong?host={tmp_path}")
    with pytest.raises(Unavailable):
        send(Ingest(away, packs, GuardLimits(), UTC), access, make_instance())
    assert not pack_files(settings)
    away.close()


def test_memory_does_not_grow_with_an_instance(ingest: Ingest, access: Access, make_instance: Make) -> None:
    file = make_instance(Rows=4096, Columns=4096, PixelData=bytes(4096 * 4096 * 2))
    pieces = (file[at : at + 65536] for at in range(0, len(file), 65536))
    send(ingest, access, make_instance(2))
    tracemalloc.start()
    outcome = ingest.receive(access, [Received(chunks=pieces)])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(outcome.stored) == 1 and peak < 6 << 20


def test_a_session_takes_instances_piece_by_piece(ingest: Ingest, access: Access, make_instance: Make) -> None:
    with ingest.session(access, study="1.2.3") as session:
        for number in (1, 2):
            file = make_instance(number)
            session.begin()
            for at in range(0, len(file), 100):
                session.data(file[at : at + 100])
            session.end()
        session.begin("1.2.840.10008.5.1.4.1.1.2", "1.2.3.1.9")
        session.data(make_instance(3))
        session.end()
        outcome = session.finish()
    assert [one.sop_instance for one in outcome.stored] == ["1.2.3.1.1", "1.2.3.1.2"]
    assert [(one.reason, one.sop_instance) for one in outcome.refused] == [(0xA900, "1.2.3.1.9")]


def test_a_session_that_is_left_stores_nothing(
    ingest: Ingest, access: Access, database: Database, make_instance: Make
) -> None:
    with ingest.session(access) as session:
        session.begin()
        session.data(make_instance(1))
        session.end()
    assert rows(database, "select count(*) from instance") == [(0,)]
    assert len(send(ingest, access, make_instance(1)).stored) == 1
