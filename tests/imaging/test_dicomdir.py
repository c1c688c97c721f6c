"""A DICOMDIR of ours as others read it: pydicom's FileSet, and dcmtk."""

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.fileset import FileSet

from server.errors import BadRequest
from server.imaging import guard
from server.imaging.dataset import Attributes
from server.imaging.dicomdir import _KEYS, _RECORD_OF, dicomdir
from server.imaging.guard import GuardLimits


def _header(file: bytes) -> Attributes:
    meta, _reader, attributes = guard.read(file, 0, len(file), GuardLimits())
    return attributes | {"00020010": {"vr": "UI", "Value": [meta.transfer_syntax]}}


def _write(folder: Path, files: list[bytes]) -> Path:
    entries = []
    for number, file in enumerate(files):
        path = ("DICOM", f"IM{number:06d}")
        (folder / "DICOM").mkdir(exist_ok=True)
        folder.joinpath(*path).write_bytes(file)
        entries.append((path, _header(file)))
    (folder / "DICOMDIR").write_bytes(dicomdir(entries))
    return folder / "DICOMDIR"


class _Folder:
    """pydicom makes its temporary folder twice and cleans up once; pytest cleans up these."""

    def __init__(self, where: Path) -> None:
        self.name = tempfile.mkdtemp(dir=where)

    def cleanup(self) -> None:
        """Left to pytest."""


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], FileSet]:
    """Opens file-sets with pydicom."""
    where = tmp_path_factory.mktemp("fileset")
    monkeypatch.setattr("pydicom.fileset.TemporaryDirectory", lambda: _Folder(where))
    return FileSet


Opened = Callable[[Path], FileSet]


def test_pydicom_finds_every_file_and_its_identity(tmp_path: Path, make_instance: Any, opened: Opened) -> None:
    files = [
        make_instance(number, study=study, PatientName="Wang^XiaoDong=王^小东", SpecificCharacterSet="ISO_IR 192")
        for study in ("1.2.3", "1.2.4")
        for number in (1, 2, 3)
    ]
    files.append(make_instance(9, study="1.2.5", PatientID="P2", syntax="1.2.840.10008.1.2"))
    found = opened(_write(tmp_path, files))
    assert sorted(str(one.SOPInstanceUID) for one in found) == sorted(
        str(pydicom.dcmread(BytesIO(file)).SOPInstanceUID) for file in files
    )
    assert found.find_values("PatientID") == ["P1", "P2"]
    assert str(found.find_values("PatientName")[0]) == "Wang^XiaoDong=王^小东"
    assert {one.path for one in found} == {str(tmp_path / "DICOM" / f"IM{n:06d}") for n in range(7)}
    assert {one.load().SOPInstanceUID for one in found} == {one.SOPInstanceUID for one in found}
    assert [one.ReferencedTransferSyntaxUIDInFile for one in found][-1] == "1.2.840.10008.1.2"


def test_missing_keys_have_stand_ins(tmp_path: Path, make_instance: Any, opened: Opened) -> None:
    bare = dict.fromkeys(
        ("PatientID", "StudyDate", "StudyTime", "StudyID", "SeriesNumber", "InstanceNumber", "Modality")
    )
    found = opened(_write(tmp_path, [make_instance(1, **bare)]))
    (one,) = found
    assert (one.PatientID, one.StudyDate, one.Modality) == ("NONE", "19000101", "UNKNOWN")


def test_every_record_type_is_written_as_pydicom_reads_it(tmp_path: Path, make_instance: Any) -> None:
    classes = {kind: uid for uid, kind in _RECORD_OF.items()}
    assert set(classes) <= set(_KEYS)
    assert len(_RECORD_OF) > 60
    files = [
        make_instance(number, SOPClassUID=uid, SeriesInstanceUID=f"1.2.3.{number}")
        for number, uid in enumerate(classes.values(), 1)
    ]
    directory = pydicom.dcmread(_write(tmp_path, files))
    assert [item.DirectoryRecordType for item in directory.DirectoryRecordSequence if "ReferencedFileID" in item] == (
        list(classes)
    )
    for item in directory.DirectoryRecordSequence:
        assert [element.tag for element in item] == sorted(element.tag for element in item)


def test_an_empty_directory_can_be_read() -> None:
    assert list(pydicom.dcmread(BytesIO(dicomdir([]))).DirectoryRecordSequence) == []


@pytest.mark.parametrize("path", [(), ("lower",), ("TOOLONGNAME",), ("A",) * 9, ("A.DCM",), ("",)])
def test_a_file_id_that_no_medium_takes_is_refused(path: tuple[str, ...], make_instance: Any) -> None:
    with pytest.raises(BadRequest):
        dicomdir([(path, _header(make_instance()))])


@pytest.mark.peer
def test_dcmtk_takes_it_as_it_is(tmp_path: Path, make_instance: Any) -> None:
    program = shutil.which("dcmdump")
    if program is None:
        pytest.skip("dcmtk is not installed")
    path = _write(tmp_path, [make_instance(n) for n in (1, 2)])
    done = subprocess.run([program, "+E", str(path)], capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr
    assert done.stdout.count("DirectoryRecordType") == 5


_TEXTS = st.text(max_size=40) | st.text(alphabet="\\^=\0 \ud800é王", max_size=12)
_VALUES: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(("LO", "SH", "CS", "DA", "TM", "ST", "UI", "DT", "LT"), _TEXTS),
    "PN": st.dictionaries(st.sampled_from(["Alphabetic", "Ideographic", "Phonetic"]), _TEXTS, max_size=3),
    "IS": st.integers() | _TEXTS,
    "US": st.integers(0, 65535),
    "UL": st.integers(0, 2**32 - 1),
    "FD": st.floats() | st.sampled_from(["NaN", "inf", "x"]),
    "FL": st.floats(width=32) | st.just(1e300),
    "UV": st.integers(0, 2**64 - 1) | st.just("18446744073709551615"),
    "AT": st.just("00100020"),
}
_TAGS = sorted({key[:8] for keys in _KEYS.values() for key in keys.split()})


def _elements(values: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.one_of(
        [
            st.fixed_dictionaries({"vr": st.just(vr)}, optional={"Value": st.lists(one | st.none(), max_size=3)})
            for vr, one in values.items()
        ]
    )


_ITEMS = st.dictionaries(
    st.sampled_from(["00080100", "00080104", "0040A30A", "00400279"]), _elements(_VALUES), max_size=3
)
_HEADERS = st.dictionaries(st.sampled_from(_TAGS), _elements({**_VALUES, "SQ": _ITEMS}), max_size=12)


@settings(max_examples=300)
@given(st.lists(st.tuples(_HEADERS, st.sampled_from([*_RECORD_OF, "1.2.3"])), max_size=5))
def test_whatever_headers_say_the_directory_can_be_read(headers: list[tuple[Attributes, str]]) -> None:
    entries = [
        (
            (f"F{n}",),
            header | {"00080016": {"vr": "UI", "Value": [uid]}, "00080018": {"vr": "UI", "Value": [f"1.2.{n}"]}},
        )
        for n, (header, uid) in enumerate(headers)
    ]
    data = dicomdir(entries)
    guard.read(data, 0, len(data), GuardLimits())
    records = pydicom.dcmread(BytesIO(data)).DirectoryRecordSequence
    named = [str(r.ReferencedSOPInstanceUIDInFile) for r in records if "ReferencedFileID" in r]
    assert sorted(named) == sorted(f"1.2.{n}" for n in range(len(headers)))
