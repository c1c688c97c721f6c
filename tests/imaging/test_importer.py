"""Import: every kind of file has its outcome, none stops the others, and a second run is a look-up."""

import os
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from server.imaging.dicomdir import dicomdir
from server.imaging.guard import GuardLimits
from server.imaging.import_source import Source, Unreadable, find
from server.imaging.importer import Imported, Importer
from server.imaging.ingest import Ingest
from server.imaging.remove import Remover
from server.security.access import Access
from server.store.database import Database

Make = Callable[..., bytes]


@pytest.fixture
def importer(database: Database, ingest: Ingest) -> Importer:
    return Importer(database, ingest, GuardLimits())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "media"
    made.mkdir()
    return made


def run(importer: Importer, access: Access, *paths: Path) -> dict[str, Imported]:
    """Outcomes by file name."""
    sources = [one for one in find(paths) if isinstance(one, Source)]
    done = importer.take(access, importer.unsettled(access, sources))
    return {one.source.member or Path(one.source.path).name: one for one in done}


def outcomes(done: dict[str, Imported]) -> dict[str, str]:
    return {name: one.outcome for name, one in done.items()}


def count(database: Database) -> int:
    with database.unit_of_work() as uow:
        return int(uow.driver.execute("select count(*) from instance").fetchone()[0])  # type: ignore[index]


def test_each_file_has_its_outcome_and_none_stops_the_others(
    importer: Importer, access: Access, database: Database, folder: Path, make_instance: Make
) -> None:
    good = make_instance(1)
    (folder / "a").write_bytes(good)
    (folder / "b-again").write_bytes(good)
    (folder / "c-other-content").write_bytes(make_instance(1, StudyDescription="Other"))
    (folder / "d-cut").write_bytes(make_instance(2)[:-9])
    (folder / "e.txt").write_text("read me")
    (folder / "f-empty").write_bytes(b"")
    (folder / "g").write_bytes(make_instance(3))
    (folder / os.fsdecode(b"h-\xff")).write_bytes(make_instance(4))
    done = run(importer, access, folder)
    assert outcomes(done) == {
        "a": "stored",
        "b-again": "already",
        "c-other-content": "refused",
        "d-cut": "refused",
        "e.txt": "other",
        "f-empty": "other",
        "g": "stored",
        os.fsdecode(b"h-\xff"): "stored",
    }
    told = {name: one.refused for name, one in done.items() if one.refused}
    assert told["c-other-content"].reason == 0x0111 and told["d-cut"].reason == 0xC000
    assert all(one.details for one in told.values())
    assert count(database) == 3


def test_the_next_run_looks_only_at_what_is_new_changed_refused_or_deleted_since(
    importer: Importer, access: Access, database: Database, folder: Path, make_instance: Make
) -> None:
    for number in (1, 2, 3):
        (folder / f"{number}").write_bytes(make_instance(number))
    (folder / "bad").write_bytes(make_instance(9)[:-9])
    (folder / "text").write_text("x")
    run(importer, access, folder)
    assert outcomes(run(importer, access, folder)) == {"bad": "refused"}
    (folder / "2").write_bytes(make_instance(22))
    (folder / "4").write_bytes(make_instance(4))
    (folder / "bad").write_bytes(make_instance(9))
    Remover(database).remove(access, "1.2.3", "1.2.3.1", "1.2.3.1.3")
    assert outcomes(run(importer, access, folder)) == {"2": "stored", "3": "stored", "4": "stored", "bad": "stored"}
    assert run(importer, access, folder) == {}


def test_a_dicomdir_is_understood_and_what_it_misses_is_told(
    importer: Importer, access: Access, folder: Path, make_instance: Make
) -> None:
    (folder / "dicom").mkdir()
    (folder / "dicom" / "im1").write_bytes(make_instance(1))
    (folder / "dicom" / "unlisted").write_bytes(make_instance(2))
    uid = {"00080018": {"vr": "UI", "Value": ["1.2.3.1.1"]}}
    (folder / "DICOMDIR").write_bytes(dicomdir([(("DICOM", "IM1"), uid), (("DICOM", "IM7"), uid)]))
    done = run(importer, access, folder)
    assert outcomes(done) == {"DICOMDIR": "directory", "im1": "stored", "unlisted": "stored"}
    assert done["DICOMDIR"].missing == ("DICOM/IM7",)
    assert [Path(one.path).name for one in find([folder / "DICOMDIR"])] == ["DICOMDIR", "im1", "unlisted"]


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"])
def test_a_data_set_without_preamble_is_given_one(
    importer: Importer, access: Access, database: Database, folder: Path, make_instance: Make, syntax: str
) -> None:
    file = make_instance(1, syntax=syntax)
    length = int.from_bytes(file[140:144], "little")
    (folder / "bare").write_bytes(file[144 + length :])
    assert outcomes(run(importer, access, folder)) == {"bare": "stored"}
    with database.unit_of_work() as uow:
        assert uow.driver.execute("select instance, transfer_syntax from instance").fetchall() == [
            ("1.2.3.1.1", syntax)
        ]


@pytest.mark.parametrize("uid", [b"1.2.\x80", b"../../..", b"1." * 40_000])
def test_no_uid_of_a_bare_data_set_stops_the_others(
    importer: Importer, access: Access, folder: Path, make_instance: Make, uid: bytes
) -> None:
    element = b"\x08\x00\x18\x00" + len(uid).to_bytes(4, "little") + uid
    (folder / "bare").write_bytes(element)
    (folder / "good").write_bytes(make_instance())
    assert outcomes(run(importer, access, folder)) == {"bare": "refused", "good": "stored"}


def test_zip_files_are_looked_into(importer: Importer, access: Access, folder: Path, make_instance: Make) -> None:
    with zipfile.ZipFile(folder / "study.ZIP", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/1", make_instance(1))
        archive.writestr("a/2", make_instance(2))
        archive.writestr("../../escape", make_instance(3))
        archive.writestr("readme", "x")
        archive.writestr("folder/", "")
    expected = {"a/1": "stored", "a/2": "stored", "../../escape": "stored", "readme": "other"}
    assert outcomes(run(importer, access, folder)) == expected
    assert run(importer, access, folder) == {}


def test_bombs_and_broken_zip_files_are_refused_with_a_reason(
    importer: Importer, access: Access, folder: Path, make_instance: Make
) -> None:
    with zipfile.ZipFile(folder / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(128) + b"DICM" + bytes(100 << 20))
        archive.writestr("good", make_instance(1))
    done = run(importer, access, folder)
    assert outcomes(done) == {"zeros": "refused", "good": "stored"}
    assert done["zeros"].refused is not None and "inflates" in done["zeros"].refused.details
    whole = (folder / "bomb.zip").read_bytes()
    (folder / "cut.zip").write_bytes(whole[:-30])
    (folder / "no.zip").write_bytes(b"PK\x03\x04 nothing")
    found = {Path(one.path).name for one in find([folder]) if isinstance(one, Unreadable)}
    assert found == {"cut.zip", "no.zip"}


def test_members_that_share_their_bytes_are_refused(folder: Path) -> None:
    """A small file that claims a thousand large members by pointing all entries at the same data."""
    path = folder / "overlap.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("one", os.urandom(10_000))
        entry = archive.infolist()[0]
        for number in range(50):
            twin = zipfile.ZipInfo(f"twin{number}")
            for name in ("compress_type", "CRC", "compress_size", "file_size", "header_offset"):
                setattr(twin, name, getattr(entry, name))
            archive.filelist.append(twin)
    assert [type(one) for one in find([path])] == [Unreadable]


def test_a_damaged_member_does_not_stop_the_others(
    importer: Importer, access: Access, folder: Path, make_instance: Make
) -> None:
    path = folder / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in (1, 2, 3):
            archive.writestr(f"{number}", make_instance(number, PixelData=os.urandom(128)))
        place = archive.getinfo("2").header_offset + 60
    data = bytearray(path.read_bytes())
    data[place : place + 8] = b"\xff" * 8
    path.write_bytes(data)
    assert outcomes(run(importer, access, folder)) == {"1": "stored", "2": "refused", "3": "stored"}


def test_what_vanishes_or_may_not_be_read_is_told(importer: Importer, access: Access, folder: Path) -> None:
    gone = Source(path=str(folder / "gone"), size=5, modified=1)
    (done,) = importer.take(access, [gone])
    assert done.outcome == "refused" and done.refused is not None and "can't be read" in done.refused.details
    assert [type(one) for one in find([folder / "not-there"])] == [Unreadable]


def test_a_loop_of_links_ends(folder: Path, make_instance: Make) -> None:
    (folder / "a").write_bytes(make_instance(1))
    (folder / "loop").symlink_to(folder)
    found: list[Any] = list(find([folder]))
    assert [Path(one.path).name for one in found] == ["a"]


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_member_that_is_damaged_stops_no_other(
    importer: Importer, access: Access, folder: Path, make_instance: Make, method: int
) -> None:
    with zipfile.ZipFile(folder / "a.zip", "w", method) as archive:
        archive.writestr("cut", os.urandom(4000))
        archive.writestr("good", make_instance())
    data = bytearray((folder / "a.zip").read_bytes())
    data[2000:2040] = bytes(40)
    (folder / "a.zip").write_bytes(data)
    assert outcomes(run(importer, access, folder)) == {"cut": "refused", "good": "stored"}


def test_folders_may_be_as_deep_as_they_like(folder: Path) -> None:
    here = os.open(folder, os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("d", dir_fd=here)
        deeper = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = deeper
    os.close(here)
    (folder / "z").write_bytes(b"x")
    found = list(find([folder]))
    assert isinstance(found[-1], Source) and found[-1].path == str(folder / "z")
    # Deeper than a path may be long is told, not passed over.
    assert all(isinstance(one, Unreadable) for one in found[:-1])
    subprocess.run(["rm", "-rf", str(folder / "d")], check=True)
