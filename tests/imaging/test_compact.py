"""Clearing up packs: bytes come back, nothing alive is lost, whoever writes or reads or dies meanwhile."""

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import xxhash

from server.app.archive import Archive, keeper, open_archive
from server.errors import HutongError, NotFound
from server.imaging.compact import Compactor
from server.imaging.ingest import Ingest, Received
from server.imaging.remove import Remover
from server.security.access import Access
from server.settings import Settings
from server.store.database import Database
from server.store.pack_files import PackFiles
from server.store.packs import Packs
from server.telemetry.kill_points import KEEPING

Make = Callable[..., bytes]


def rows(database: Database, query: str) -> list[tuple[Any, ...]]:
    with database.unit_of_work() as uow:
        return uow.driver.execute(query).fetchall()  # type: ignore[arg-type]


def files(settings: Settings) -> set[str]:
    return {path.stem for path in Path(settings.blobs).rglob("*.pack")}


def age(settings: Settings, seconds: float = 60.0) -> None:
    """Makes every file older."""
    for path in Path(settings.blobs).rglob("*.pack"):
        os.utime(path, (time.time() - seconds, time.time() - seconds))


def sound(database: Database, packs: Packs) -> int:
    """How many instances are stored, each read back and found as it came."""
    found = rows(database, "select pack, pack_offset, length, digest from instance")
    for pack, offset, length, digest in found:
        assert xxhash.xxh3_128(packs.read(1, pack, offset, length)).digest() == digest
    return len(found)


@pytest.fixture
def compactor(database: Database, packs: Packs, settings: Settings) -> Compactor:
    return Compactor(database, packs, PackFiles(settings.blobs), grace=0.0)


@pytest.fixture
def stored(ingest: Ingest, packs: Packs, access: Access, make_instance: Make) -> None:
    """Two final packs of ten instances each."""
    for study in ("1.2.3", "1.2.4"):
        outcome = ingest.receive(access, [Received(chunks=[make_instance(n, study=study)]) for n in range(1, 11)])
        assert len(outcome.stored) == 10
        packs.close()


def thin(database: Database, access: Access, study: str, keep: int) -> None:
    for number in range(keep + 1, 11):
        Remover(database).remove(access, study, f"{study}.1", f"{study}.1.{number}")


@pytest.mark.usefixtures("stored")
def test_sparse_packs_are_copied_together_and_their_files_go(
    database: Database, packs: Packs, settings: Settings, access: Access, compactor: Compactor
) -> None:
    before = files(settings)
    size = sum(path.stat().st_size for path in Path(settings.blobs).rglob("*.pack"))
    thin(database, access, "1.2.3", 2)
    thin(database, access, "1.2.4", 3)
    done = compactor.run()
    assert (done.compacted, done.orphans, done.damaged) == (2, 0, [])
    assert sound(database, packs) == 5
    assert compactor.run().removed + done.removed == 2
    assert len(files(settings)) == 1 and not files(settings) & before
    assert sum(path.stat().st_size for path in Path(settings.blobs).rglob("*.pack")) < size / 3
    assert rows(database, "select count(*) from pack") == [(1,)]
    assert compactor.run() == compactor.run(whole=True)


@pytest.mark.usefixtures("stored")
def test_a_full_pack_is_left_alone(
    database: Database, settings: Settings, access: Access, compactor: Compactor
) -> None:
    before = files(settings)
    thin(database, access, "1.2.3", 8)
    assert compactor.run(whole=True).compacted == 0
    assert files(settings) == before


@pytest.mark.usefixtures("stored")
def test_the_file_of_an_empty_pack_outlives_its_readers(
    database: Database, packs: Packs, settings: Settings, access: Access, compactor: Compactor
) -> None:
    found = rows(database, "select pack, pack_offset, length, digest from instance where study = '1.2.3' limit 1")
    pack, offset, length, digest = found[0]
    patient = Compactor(database, packs, PackFiles(settings.blobs), grace=60.0)
    Remover(database).remove(access, "1.2.3")
    assert patient.run().emptied == 1
    assert patient.run().removed == 0
    assert xxhash.xxh3_128(packs.read(1, pack, offset, length)).digest() == digest
    assert compactor.run().removed == 1
    with pytest.raises(NotFound):
        packs.read(1, pack, offset, length)


def test_a_pack_that_is_being_written_is_no_orphan(
    packs: Packs, settings: Settings, access: Access, compactor: Compactor
) -> None:
    with packs.writer(access.tenant) as writer:
        writer.append(b"x" * 100)
        writer.sync()
        age(settings)
        assert compactor.run().orphans == 0
        assert len(files(settings)) == 1
    # It was cut to its length this moment.
    age(settings)
    assert compactor.run().orphans == 1
    assert not files(settings)


def test_a_young_file_without_a_row_is_left_alone(
    database: Database, packs: Packs, settings: Settings, access: Access
) -> None:
    with packs.writer(access.tenant) as writer:
        writer.append(b"x")
        writer.sync()
    patient = Compactor(database, packs, PackFiles(settings.blobs), grace=60.0)
    assert patient.run().orphans == 0
    age(settings, 61)
    assert patient.run().orphans == 1


@pytest.mark.usefixtures("stored")
def test_a_damaged_pack_is_named_and_not_touched(
    database: Database, packs: Packs, settings: Settings, access: Access, compactor: Compactor
) -> None:
    thin(database, access, "1.2.3", 2)
    ((pack, offset),) = rows(database, "select pack, pack_offset from instance where instance = '1.2.3.1.2'")
    path = PackFiles(settings.blobs).path(1, pack)
    with path.open("r+b") as file:
        file.seek(offset + 200)
        file.write(b"\xff\xff")
    done = compactor.run()
    assert done.damaged == [pack] and done.compacted == 0
    assert path.exists()
    assert rows(database, "select count(*) from instance where study = '1.2.3'") == [(2,)]


@pytest.mark.usefixtures("stored")
def test_a_disk_without_room_loses_nothing_and_leaves_nothing_behind(
    database: Database, packs: Packs, settings: Settings, access: Access, compactor: Compactor
) -> None:
    before = files(settings)
    thin(database, access, "1.2.3", 2)
    Remover(database).remove(access, "1.2.4")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # A file that may grow no further fails as one on a full disk does.
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        done = compactor.run()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert done.no_room and (done.compacted, done.emptied, done.removed) == (0, 1, 1)
    assert sound(database, packs) == 2
    assert len(files(settings)) == 1 and files(settings) <= before
    assert compactor.run().compacted == 1
    assert sound(database, packs) == 2


@pytest.mark.usefixtures("stored")
def test_two_keepers_do_not_meet(database: Database, compactor: Compactor) -> None:
    with database.unit_of_work() as uow:
        uow.driver.execute("select pg_advisory_xact_lock(hashtextextended('keeping', 0))")
        assert compactor.run().busy
    assert not compactor.run().busy


@pytest.fixture
def archive(settings: Settings, database_url: str) -> Iterator[Archive]:
    opened = open_archive(_settings(settings, database_url))
    yield opened
    opened.close()


def _settings(settings: Settings, database_url: str) -> Settings:
    return Settings(data=settings.data, database_url=database_url, gc_grace=0.0, disk_reserve=0)


_RUN = """
import sys
from pathlib import Path
from server.app.archive import keeper, open_archive
from server.settings import Settings
settings = Settings(data=Path(sys.argv[1]), database_url=sys.argv[2], gc_grace=0.0, kill_at=sys.argv[3])
archive = open_archive(settings)
for _ in range(int(sys.argv[4])):
    keeper(settings, archive.database).run(whole=True)
archive.close()
"""


def _keeping(settings: Settings, database_url: str, kill_at: str = "", rounds: int = 2) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", _RUN, str(settings.data), database_url, kill_at, str(rounds)])


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize("point", [*KEEPING, "gc-copied:2", "gc-repointed:2"])
def test_killed_anywhere_nothing_is_lost(
    settings: Settings, database_url: str, archive: Archive, access: Access, point: str
) -> None:
    database = archive.database
    thin(database, access, "1.2.3", 2)
    thin(database, access, "1.2.4", 3)
    assert _keeping(settings, database_url, point).wait(60) == -signal.SIGKILL
    assert sound(database, archive.packs) == 5
    age(settings)
    assert _keeping(settings, database_url).wait(60) == 0
    assert sound(database, archive.packs) == 5
    assert files(settings) == {row[0] for row in rows(database, "select distinct pack from instance")}
    assert rows(database, "select count(*) from pack") == [(len(files(settings)),)]


def test_senders_readers_and_deleters_in_other_processes_lose_nothing(
    settings: Settings, database_url: str, archive: Archive, access: Access, make_instance: Make
) -> None:
    """A keeper without grace runs again and again in a process of its own, the worst case for whoever reads."""
    database, stop, wrong = archive.database, threading.Event(), list[str]()
    process = _keeping(settings, database_url, rounds=60)
    sent: set[str] = set()
    removed: set[str] = set()

    def send(base: int) -> None:
        for number in range(base, base + 60):
            outcome = archive.ingest.receive(access, [Received(chunks=[make_instance(number)])])
            if not outcome.stored:
                wrong.append(f"{number} was not stored")
            sent.update(one.sop_instance for one in outcome.stored)
            if number % 8 == 0:
                archive.packs.close()

    def delete() -> None:
        while not stop.is_set():
            for uid in sorted(sent - removed)[: len(sent) * 3 // 4]:
                if int(uid.rpartition(".")[2]) % 4:
                    Remover(database).remove(access, "1.2.3", "1.2.3.1", uid)
                    removed.add(uid)
            time.sleep(0.02)

    def read() -> None:
        while not stop.is_set():
            try:
                found = archive.retrieve.locate(access, "1.2.3")
            except HutongError:
                continue
            for place in found[-5:]:
                try:
                    data = archive.retrieve.file(access, place)
                except NotFound:
                    # Moved or deleted since the look: what no grace time means.
                    continue
                if xxhash.xxh3_128(data).digest() != place.digest:
                    wrong.append(f"{place.instance} came back changed")

    senders = [threading.Thread(target=send, args=(base,)) for base in (0, 1000)]
    others = [threading.Thread(target=delete), threading.Thread(target=read)]
    for thread in [*senders, *others]:
        thread.start()
    for thread in senders:
        thread.join()
    stop.set()
    for thread in others:
        thread.join()
    assert process.wait(120) == 0
    archive.packs.close()
    keeper(archive.settings, database).run(whole=True)
    assert not wrong
    assert {row[0] for row in rows(database, "select instance from instance")} == sent - removed
    assert sound(database, archive.packs) == len(sent) - len(removed)
    assert len(sent) == 120
