"""Export: what comes out is what was stored, others read its DICOMDIR, and a second run goes on."""

import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path

import pydicom
import pytest

from server.errors import BadRequest, UnknownParameter
from server.imaging.chosen import chosen, keys
from server.imaging.exporter import LIST, Exporter, FolderTarget, ZipTarget
from server.imaging.guard import GuardLimits
from server.imaging.ingest import Ingest, Received
from server.imaging.pixel_pool import PixelPool
from server.imaging.remove import Remover
from server.imaging.retrieve import Retrieve
from server.security.access import Access
from server.store.database import Database
from server.store.packs import Packs

Make = Callable[..., bytes]
IMPLICIT = "1.2.840.10008.1.2"
J2K = "1.2.840.10008.1.2.4.90"


@pytest.fixture(scope="module")
def pool() -> Iterator[PixelPool]:
    with closing(PixelPool(1, 1 << 30)) as pool:
        yield pool


@pytest.fixture
def exporter(database: Database, packs: Packs, pool: PixelPool) -> Exporter:
    return Exporter(database, Retrieve(database, packs, GuardLimits()), pool.transcode)


@pytest.fixture
def files(ingest: Ingest, access: Access, make_instance: Make) -> dict[str, bytes]:
    """Two patients, three studies; by SOP Instance UID."""
    made = [make_instance(n, PatientName="Wang^Wei", PatientID="P1") for n in (1, 2, 3)]
    made += [make_instance(n, study="1.2.4", StudyDate="20200101", PatientID="P1") for n in (1, 2)]
    made += [make_instance(1, study="1.2.5", PatientID="P2", Modality="MR", syntax=IMPLICIT)]
    assert len(ingest.receive(access, [Received(chunks=[file]) for file in made]).stored) == 6
    return {str(pydicom.dcmread(BytesIO(file)).SOPInstanceUID): file for file in made}


def series(database: Database, access: Access, *texts: str) -> list[tuple[str, ...]]:
    return chosen(database, access, "series", keys(texts))


def directory(folder: Path) -> dict[str, tuple[Path, str]]:
    """SOP Instance UID -> file and transfer syntax, as pydicom reads the DICOMDIR."""
    found = pydicom.dcmread(folder / "DICOMDIR")
    return {
        str(record.ReferencedSOPInstanceUIDInFile): (
            folder.joinpath(*record.ReferencedFileID),
            str(record.ReferencedTransferSyntaxUIDInFile),
        )
        for record in found.DirectoryRecordSequence
        if "ReferencedFileID" in record
    }


def test_every_file_comes_out_as_it_came_in(
    exporter: Exporter, database: Database, access: Access, files: dict[str, bytes], tmp_path: Path
) -> None:
    done = exporter.run(access, series(database, access), FolderTarget(tmp_path))
    assert (done.written, done.already, done.failed) == (6, 0, [])
    found = directory(tmp_path)
    assert {uid: path.read_bytes() for uid, (path, _) in found.items()} == files
    assert found["1.2.5.1.1"][1] == IMPLICIT
    with database.unit_of_work() as uow:
        rows = uow.driver.execute("select who, id from audit where action = 'export' order by id").fetchall()
    assert [row[1] for row in rows] == ["1.2.3", "1.2.4", "1.2.5"]


def test_what_is_chosen_by_keys_alone_comes_out(
    exporter: Exporter, database: Database, access: Access, files: dict[str, bytes], tmp_path: Path
) -> None:
    exporter.run(access, series(database, access, "PatientID=P1", "StudyDate=-20201231"), FolderTarget(tmp_path / "a"))
    assert directory(tmp_path / "a").keys() == {"1.2.4.1.1", "1.2.4.1.2"}
    exporter.run(access, series(database, access, "Modality=MR"), FolderTarget(tmp_path / "b"))
    assert directory(tmp_path / "b").keys() == {"1.2.5.1.1"}
    for text, error in (("PatientID", BadRequest), ("NoSuchKey=1", UnknownParameter)):
        with pytest.raises(error):
            series(database, access, text)


def test_a_second_run_goes_on_and_keeps_every_name(
    exporter: Exporter,
    ingest: Ingest,
    database: Database,
    access: Access,
    files: dict[str, bytes],
    make_instance: Make,
    tmp_path: Path,
) -> None:
    exporter.run(access, series(database, access), FolderTarget(tmp_path))
    before = directory(tmp_path)
    # A run that was killed: a file cut off, a list whose last line is not whole, no DICOMDIR.
    cut = before["1.2.4.1.2"][0]
    cut.write_bytes(cut.read_bytes()[:100])
    with (tmp_path / LIST).open("a") as file:
        file.write('["1.2.')
    (tmp_path / "DICOMDIR").unlink()
    Remover(database).remove(access, "1.2.3", "1.2.3.1", "1.2.3.1.3")
    ingest.receive(access, [Received(chunks=[make_instance(0)])])
    done = exporter.run(access, series(database, access), FolderTarget(tmp_path))
    assert (done.written, done.already) == (2, 4)
    after = directory(tmp_path)
    assert after.keys() == before.keys() - {"1.2.3.1.3"} | {"1.2.3.1.0"}
    kept = after.keys() - {"1.2.3.1.0", "1.2.4.1.2"}
    assert all(after[uid] == before[uid] for uid in kept)
    assert len({path for path, _ in after.values()}) == 6
    assert after["1.2.4.1.2"][0].read_bytes() == files["1.2.4.1.2"]


def test_a_zip_file_holds_the_same(
    exporter: Exporter, database: Database, access: Access, files: dict[str, bytes], tmp_path: Path
) -> None:
    path = tmp_path / "out.zip"
    exporter.run(access, series(database, access), ZipTarget(path))
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        archive.extractall(tmp_path / "x")
    assert {uid: found.read_bytes() for uid, (found, _) in directory(tmp_path / "x").items()} == files
    assert not list(tmp_path.glob("*.part"))


def test_another_transfer_syntax_and_what_cannot_be_given_so(
    exporter: Exporter,
    ingest: Ingest,
    database: Database,
    access: Access,
    files: dict[str, bytes],
    make_instance: Make,
    tmp_path: Path,
) -> None:
    odd = make_instance(9, study="1.2.6", BitsAllocated=13, SOPInstanceUID="1.2.6.9")
    assert ingest.receive(access, [Received(chunks=[odd])]).stored
    done = exporter.run(access, series(database, access), FolderTarget(tmp_path), transfer_syntax=J2K)
    assert done.written == 6
    assert [uid for uid, _ in done.failed] == ["1.2.6.9"] and done.failed[0][1]
    for uid, (path, syntax) in directory(tmp_path).items():
        dataset = pydicom.dcmread(path)
        assert dataset.file_meta.TransferSyntaxUID == syntax == J2K
        assert (dataset.pixel_array == pydicom.dcmread(BytesIO(files[uid])).pixel_array).all()


@pytest.mark.peer
def test_dcmtk_reads_the_medium(
    exporter: Exporter, database: Database, access: Access, files: dict[str, bytes], tmp_path: Path
) -> None:
    program = shutil.which("dcmdump")
    if program is None:
        pytest.skip("dcmtk is not installed")
    exporter.run(access, series(database, access), FolderTarget(tmp_path))
    done = subprocess.run([program, "+P", "0004,1500", str(tmp_path / "DICOMDIR")], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.count("DICOM\\ST") == 6
