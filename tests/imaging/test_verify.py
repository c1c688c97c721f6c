"""Verification: every kind of damage is named with its cure, and a sound archive is said to be sound."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from server.imaging.ingest import Ingest, Received
from server.imaging.verify import Verified, Verifier
from server.security.access import Access
from server.settings import Settings
from server.store.database import Database
from server.store.pack_files import PackFiles
from server.store.packs import Packs

Make = Callable[..., bytes]


@pytest.fixture
def files(settings: Settings) -> PackFiles:
    return PackFiles(settings.blobs)


@pytest.fixture
def verifier(database: Database, packs: Packs, files: PackFiles) -> Verifier:
    return Verifier(database, packs, files, grace=0.0)


@pytest.fixture
def places(
    ingest: Ingest, packs: Packs, access: Access, database: Database, make_instance: Make
) -> dict[str, tuple[str, int, int]]:
    """Two packs of three instances; where each is."""
    for study in ("1.2.3", "1.2.4"):
        ingest.receive(access, [Received(chunks=[make_instance(n, study=study)]) for n in (1, 2, 3)])
        packs.close()
    with database.unit_of_work() as uow:
        rows = uow.driver.execute("select instance, pack, pack_offset, length from instance").fetchall()
    return {row[0]: (row[1], row[2], row[3]) for row in rows}


def told(seen: Verified) -> list[tuple[str, str]]:
    assert all(problem.cure for problem in seen.problems)
    return [(problem.kind, problem.uid) for problem in seen.problems]


@pytest.mark.usefixtures("places")
def test_a_sound_archive_is_sound(verifier: Verifier) -> None:
    steps: list[tuple[int, int]] = []
    seen = verifier.run(tell=lambda done, whole: steps.append((done, whole)))
    assert (seen.packs, seen.instances, seen.problems) == (2, 6, [])
    assert steps[-1][0] == steps[-1][1] == seen.bytes


def test_one_changed_byte_is_found(
    verifier: Verifier, files: PackFiles, places: dict[str, tuple[str, int, int]]
) -> None:
    pack, offset, length = places["1.2.3.1.2"]
    with files.path(1, pack).open("r+b") as file:
        file.seek(offset + length - 1)
        byte = file.read(1)
        file.seek(offset + length - 1)
        file.write(bytes([byte[0] ^ 1]))
    assert told(verifier.run()) == [("changed", "1.2.3.1.2")]


def test_a_pack_that_is_cut_off_or_gone_is_found(
    verifier: Verifier, files: PackFiles, places: dict[str, tuple[str, int, int]]
) -> None:
    pack, offset, _length = places["1.2.3.1.3"]
    with files.path(1, pack).open("r+b") as file:
        file.truncate(offset + 10)
    files.path(1, places["1.2.4.1.1"][0]).unlink()
    assert sorted(told(verifier.run())) == [
        ("cut off", "1.2.3.1.3"),
        *(("missing", f"1.2.4.1.{n}") for n in (1, 2, 3)),
    ]


def test_a_file_without_rows_is_found_unless_somebody_writes_it(
    verifier: Verifier, packs: Packs, database: Database, files: PackFiles, access: Access
) -> None:
    with packs.writer(access.tenant) as writer:
        writer.append(b"x")
        writer.sync()
        assert verifier.run().problems == []
    assert verifier.run().problems == []
    for path in files.path(1, writer.pack).parent.iterdir():
        os.utime(path, (time.time() - 30, time.time() - 30))
    assert told(verifier.run()) == [("orphan", "")]
    assert Verifier(database, packs, files, grace=60.0).run().problems == []


@pytest.mark.usefixtures("places")
def test_wrong_counts_are_found_and_counted_again(verifier: Verifier, database: Database) -> None:
    with database.unit_of_work() as uow:
        uow.driver.execute("update study set instance_count = 9 where study = '1.2.3'")
    assert told(verifier.run()) == [("counts", "1.2.3")]
    assert verifier.recount() == 1
    assert verifier.run().problems == []


def test_a_run_goes_on_where_the_last_one_was(
    verifier: Verifier, files: PackFiles, places: dict[str, tuple[str, int, int]]
) -> None:
    pack = places["1.2.4.1.1"][0]
    hidden = files.path(1, pack).rename(files.path(1, pack).with_suffix(".away"))
    assert len(verifier.run().problems) == 3
    Path(hidden).rename(files.path(1, pack))
    seen = verifier.run(since=3600.0)
    assert (seen.packs, seen.instances, seen.problems) == (1, 3, [])
    assert verifier.run(since=3600.0).packs == 0
    assert verifier.run(since=0.0).packs == 2
