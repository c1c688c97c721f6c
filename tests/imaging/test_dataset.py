"""The one-pass reader: equal to pydicom on sound data sets, a typed refusal on every other bytes."""

import json
import struct
import warnings
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pydicom.data
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence

from server.errors import BadInstance
from server.imaging import guard
from server.imaging.guard import GuardLimits
from server.imaging.memo import Memo

Make = Callable[..., bytes]
LIMITS = GuardLimits()
MEMO = Memo()
#: The files that pydicom brings along.
FILES = Path(pydicom.data.__file__).parent / "test_files"
SYNTAXES = ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"]


def encoded(dataset: Dataset, syntax: str) -> bytes:
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset.file_meta.TransferSyntaxUID = syntax
    out = BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


def theirs(file: bytes) -> dict[str, Any]:
    """pydicom's DICOM JSON, without what the standard leaves open: empty sequences and empty places."""
    read = pydicom.dcmread(BytesIO(file)).to_json_dict(
        bulk_data_element_handler=lambda _: "x", bulk_data_threshold=2000
    )
    return plain(json.loads(json.dumps(read)))


def plain(header: dict[str, Any]) -> dict[str, Any]:
    out = {}
    for key, element in header.items():
        values = element.get("Value")
        if values:
            values = [plain(v) if element["vr"] == "SQ" else v or None if isinstance(v, str) else v for v in values]
            values = [v.rstrip(" ") or None if isinstance(v, str) else v for v in values]
        out[key] = {"vr": element["vr"]} | ({"Value": values} if values else {})
        if "InlineBinary" in element:
            out[key]["InlineBinary"] = element["InlineBinary"]
    return out


words = st.text(
    st.characters(codec="utf-8", exclude_characters="\\\0\r\n\f\x1b=^", exclude_categories=["C", "Z"]), max_size=12
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "PatientName": st.lists(words, min_size=1, max_size=3).map("^".join),
    "PatientID": words,
    "StudyDescription": words,
    "OtherPatientIDs": st.lists(words.filter(bool), max_size=3),
    "ImageType": st.lists(st.sampled_from(["ORIGINAL", "PRIMARY", "AXIAL"]), max_size=4),
    "StudyDate": st.dates().map(lambda d: f"{d:%Y%m%d}").filter(lambda d: len(d) == 8),
    "SliceThickness": st.decimals(0, 100, places=2).map(str),
    "InstanceNumber": st.integers(-(2**31), 2**31 - 1),
    "Rows": st.integers(0, 65535),
    "ImagePositionPatient": st.lists(st.integers(-500, 500), min_size=3, max_size=3),
    "RealWorldValueSlope": st.floats(allow_nan=False, allow_infinity=False),
    "FrameIncrementPointer": st.just(0x00181063),
    "EncapsulatedDocument": st.binary(min_size=2, max_size=40).map(lambda b: b[: len(b) // 2 * 2]),
    "TextValue": words,
}


@st.composite
def datasets(draw: st.DrawFn, depth: int = 0) -> Dataset:
    dataset = Dataset()
    if depth == 0:
        dataset.SpecificCharacterSet = "ISO_IR 192"
    for keyword in draw(st.lists(st.sampled_from(sorted(VALUES)), unique=True)):
        setattr(dataset, keyword, draw(VALUES[keyword]))
    if depth < 3 and draw(st.booleans()):
        sequence = Sequence(draw(st.lists(datasets(depth + 1), max_size=2)))
        dataset.ContentSequence = sequence
        dataset["ContentSequence"].is_undefined_length = draw(st.booleans())
    return dataset


@given(datasets(), st.sampled_from(SYNTAXES))
def test_what_pydicom_writes_is_read_as_pydicom_reads_it(dataset: Dataset, syntax: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = encoded(dataset, syntax)
        expected = theirs(file)
    _meta, _reader, header = guard.read(file, 0, len(file), LIMITS)
    assert plain(header) == expected
    # What was read of other data sets makes no difference, nor does reading it again.
    for _ in range(2):
        assert guard.read(file, 0, len(file), LIMITS, MEMO)[2] == header


@given(datasets(), st.sampled_from(SYNTAXES[:2]), st.data())
def test_damaged_bytes_are_refused_or_read_but_never_break(dataset: Dataset, syntax: str, data: st.DataObject) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = bytearray(encoded(dataset, syntax))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(132, len(file) - 1))
        file[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(132, len(file)))
    try:
        found = guard.read(bytes(file[:cut]), 0, cut, LIMITS)[2]
    except BadInstance as error:
        assert error.details and error.reason >= 0xA700
        with pytest.raises(BadInstance):
            guard.read(bytes(file[:cut]), 0, cut, LIMITS, MEMO)
    else:
        assert guard.read(bytes(file[:cut]), 0, cut, LIMITS, MEMO)[2] == found


@given(st.binary(max_size=400))
def test_any_bytes_behind_a_meta_header_are_refused_or_read(tail: bytes) -> None:
    file = encoded(Dataset(), SYNTAXES[1]) + tail
    try:
        guard.read(file, 0, len(file), LIMITS)
    except BadInstance as error:
        assert error.details


def test_files_that_others_wrote_are_read_as_pydicom_reads_them() -> None:
    """Values of every kind in pydicom's own test files; padding and empty places aside."""
    compared = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in sorted(FILES.glob("*.dcm")):
            file = name.read_bytes()
            try:
                _meta, _reader, header = guard.read(file, 0, len(file), LIMITS)
                expected = theirs(file)
            except (BadInstance, ValueError, TypeError, AttributeError):
                continue
            for key, element in plain(header).items():
                other = expected.get(key, {})
                # The VR of private elements is not known in implicit VR, and bulk data are only referred to.
                if int(key[:4], 16) % 2 == 0 and element["vr"] not in ("SQ", "UN", "OW", "OB") and "Value" in other:
                    assert element == other, (name, key)
                    compared += 1
    assert compared > 2000


def element(group: int, number: int, vr: bytes, value: bytes) -> bytes:
    return struct.pack("<HH2sH", group, number, vr, len(value)) + value


def file_of(body: bytes, make_instance: Make) -> bytes:
    """A sound instance with ``body`` before its pixel data."""
    file = make_instance()
    at = file.index(b"\xe0\x7f\x10\x00OW")
    return file[:at] + body + file[at:]


def nested(depth: int) -> bytes:
    item = b""
    for _ in range(depth):
        item = b"\xfe\xff\x00\xe0" + struct.pack("<I", len(item)) + item
        item = struct.pack("<HH2sHI", 0x0040, 0xA730, b"SQ", 0, len(item)) + item
    return item


def deep(depth: int) -> bytes:
    opening = struct.pack("<HH2sHI", 0x0040, 0xA730, b"SQ", 0, 0xFFFFFFFF) + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    return opening * depth


BAD = {
    "nested 40 deep": (nested(40), 0xC000, "0040A730"),
    "nested 10000 deep and never closed": (deep(10_000), 0xC000, "0040A730"),
    "more declared than there is": (element(0x40, 0xA160, b"UT", b"")[:8] + b"\xff\xff\xff\x7f", 0xC000, "0040A160"),
    "an unknown VR": (element(0x40, 0xA160, b"zz", b"ab"), 0xC000, "0040A160"),
    "a text without end": (struct.pack("<HH2sHI", 0x40, 0xA160, b"UT", 0, 0xFFFFFFFF), 0xC000, "0040A160"),
    "an item out of place": (b"\xfe\xff\x00\xe0\x02\x00\x00\x00ab", 0xC000, "FFFEE000"),
    "a sequence of something else": (
        struct.pack("<HH2sHI", 0x40, 0xA730, b"SQ", 0, 10) + b"\x08\x00\x05\x00CS\x02\x00ab",
        0xC000,
        "0040A730",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_each_refusal_names_the_place(name: str, make_instance: Make) -> None:
    body, reason, place = BAD[name]
    file = file_of(body, make_instance)
    with pytest.raises(BadInstance) as caught:
        guard.check(file, 0, len(file), LIMITS)
    assert caught.value.reason == reason
    assert place in caught.value.issues[0].expression


def test_a_deflate_bomb_is_refused_before_it_grows(make_instance: Make) -> None:
    file = make_instance(syntax=SYNTAXES[2], PixelData=bytes(40 << 20), Rows=4096, Columns=5120)
    assert len(file) < 1 << 17
    with pytest.raises(BadInstance) as caught:
        guard.check(file, 0, len(file), GuardLimits(inflate_ratio=100))
    assert caught.value.reason == 0xA700


def test_too_many_elements_are_refused(make_instance: Make) -> None:
    file = file_of(element(0x40, 0xA160, b"UT", b"")[:8] + struct.pack("<I", 0), make_instance)
    many = file_of((struct.pack("<HH2sHI", 0x40, 0xA160, b"UT", 0, 0)) * 1_000_001, make_instance)
    guard.check(file, 0, len(file), LIMITS)
    with pytest.raises(BadInstance) as caught:
        guard.check(many, 0, len(many), LIMITS)
    assert caught.value.reason == 0xA700


def test_an_instance_beyond_the_size_limit_is_refused(make_instance: Make) -> None:
    with pytest.raises(BadInstance) as caught:
        guard.check(make_instance(), 0, len(make_instance()), GuardLimits(instance_bytes=500))
    assert caught.value.reason == 0xA700


@pytest.mark.parametrize("keyword", ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"])
def test_an_instance_needs_its_uids(keyword: str, make_instance: Make) -> None:
    dataset = pydicom.dcmread(BytesIO(make_instance()))
    del dataset[keyword]
    out = BytesIO()
    dataset.save_as(out)
    file = out.getvalue()
    with pytest.raises(BadInstance) as caught:
        guard.check(file, 0, len(file), LIMITS)
    assert caught.value.reason == 0xA900


def test_zeros_behind_the_data_set_are_padding(make_instance: Make) -> None:
    file = make_instance() + bytes(512)
    assert guard.check(file, 0, len(file), LIMITS).sop_instance == "1.2.3.1.1"


@pytest.mark.parametrize("sop_class", ["1.2.840.10008.1.1", "1.2.840.10008.1.3.10", "1.2.840.10008.1.20.1"])
def test_what_is_no_instance_is_refused(make_instance: Make, sop_class: str) -> None:
    file = make_instance(SOPClassUID=sop_class)
    with pytest.raises(BadInstance) as caught:
        guard.check(file, 0, len(file), LIMITS)
    assert caught.value.reason == 0x0122
