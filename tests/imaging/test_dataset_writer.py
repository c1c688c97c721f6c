"""DICOM JSON written as bytes: the reader of ingest and pydicom read the same back, in every character set."""

import struct
from io import BytesIO
from typing import Any

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pynetdicom.dsutils import decode

from server.errors import BadRequest
from server.imaging.charset import Charset
from server.imaging.charset_writer import CharsetWriter
from server.imaging.dataset import Attributes, DatasetReader, Limits
from server.imaging.dataset_writer import write

_SETS = [
    ((), "Mueller^Anna"),
    (("ISO_IR 100",), "Müller^Änne"),
    (("ISO_IR 144",), "Люкceмбypг"),
    (("ISO_IR 13",), "ﾔﾏﾀﾞ^ﾀﾛｳ"),
    (("ISO_IR 192",), "王^小东 Ä Ж"),
    (("GB18030",), "王^小东 Ä Ж"),
    (("GBK",), "王^小东"),
    (("", "ISO 2022 IR 58"), "Zhang^XiaoDong 王小东"),
    (("ISO 2022 IR 100", "ISO 2022 IR 58"), "Müller 王"),
    (("", "ISO 2022 IR 87"), "Yamada^Tarou 山田"),
    (("ISO 2022 IR 13", "ISO 2022 IR 87"), "ﾔﾏﾀﾞ 山田 Tarou"),
    (("", "ISO 2022 IR 87", "ISO 2022 IR 159"), "山田 丂"),
    (("", "ISO 2022 IR 149"), "Hong^Gildong 홍길동"),
    (("", "ISO 2022 IR 100", "ISO 2022 IR 144"), "Müller Дuburg"),
]


@pytest.mark.parametrize(("terms", "text"), _SETS, ids=str)
def test_every_set_is_read_back(terms: tuple[str, ...], text: str) -> None:
    assert Charset(terms).decode(CharsetWriter(terms).encode(text)) == text


def test_code_extensions_are_written_as_the_standard_shows_them() -> None:
    """PS3.5 annexes H.3.1, I.2 and K.2: the person names of the examples."""
    japanese = CharsetWriter(("", "ISO 2022 IR 87")).encode("Yamada^Tarou=山田^太郎=やまだ^たろう", "\\^=")
    assert japanese == (b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B")
    korean = CharsetWriter(("", "ISO 2022 IR 149")).encode("Hong^Gildong=洪^吉洞=홍^길동", "\\^=")
    assert korean == (b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf")
    chinese = CharsetWriter(("", "ISO 2022 IR 58")).encode("Zhang^XiaoDong=张^小东=", "\\^=")
    assert chinese == b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab="


@given(st.sampled_from([terms for terms, _ in _SETS if terms]), st.text(max_size=12))
def test_text_is_read_back_or_refused(terms: tuple[str, ...], text: str) -> None:
    if "\x1b" in text or "\0" in text or "\\" in text or "~" in text:
        return
    try:
        written = CharsetWriter(terms).encode(text)
    except UnicodeEncodeError:
        return
    assert Charset(terms).decode(written) == text


def _name(text: str) -> dict[str, str]:
    groups = zip(("Alphabetic", "Ideographic", "Phonetic"), text.split("="), strict=False)
    return {group: part for group, part in groups if part}


_ATTRIBUTES: Attributes = {
    "00080018": {"vr": "UI", "Value": ["1.2.3"]},
    "00080020": {"vr": "DA"},
    "00080061": {"vr": "CS", "Value": ["CT", "SR"]},
    "00081032": {"vr": "SQ", "Value": [{"00080100": {"vr": "SH", "Value": ["胸部"]}}, {}]},
    "00081199": {"vr": "SQ"},
    "00100010": {"vr": "PN", "Value": [_name("Wang^XiaoDong=王^小东"), _name("B")]},
    "00101030": {"vr": "DS", "Value": [1.5, 70]},
    "00080058": {"vr": "UI", "Value": ["1.2", "1.3.4"]},
    "00200013": {"vr": "IS", "Value": [3]},
    "00280009": {"vr": "AT", "Value": ["00181063"]},
    "00280010": {"vr": "US", "Value": [4, 5]},
    "00189073": {"vr": "FD", "Value": [0.25]},
    "00420011": {"vr": "OB", "InlineBinary": "AQID"},
}


@pytest.mark.parametrize("explicit", [True, False])
@pytest.mark.parametrize("terms", [(), ("GB18030",), ("", "ISO 2022 IR 58"), ("ISO_IR 100",)], ids=str)
def test_data_sets_are_read_back_by_us_and_by_pydicom(explicit: bool, terms: tuple[str, ...]) -> None:
    data = write(_ATTRIBUTES, explicit=explicit, character_set=terms)
    back = DatasetReader(data, Limits()).read(0, len(data), explicit=explicit)
    named = back.pop("00080005")["Value"]
    assert tuple(term or "" for term in named) == (terms if terms and terms[0] != "ISO_IR 100" else ("ISO_IR 192",))
    assert back == _ATTRIBUTES | {"00420011": {"vr": "OB", "InlineBinary": "AQIDAA=="}}
    if "ISO 2022 IR 58" not in terms:
        # pydicom knows no escape sequence of ISO-IR 58.
        theirs: Any = decode(BytesIO(data), not explicit, True)
        assert str(theirs.PatientName[0]) == "Wang^XiaoDong=王^小东"
        assert theirs.ProcedureCodeSequence[0].CodeValue == "胸部"


def test_ascii_names_no_character_set() -> None:
    data = write({"00080005": {"vr": "CS", "Value": ["GBK"]}, "00100020": {"vr": "LO", "Value": ["P1"]}})
    assert data == struct.pack("<HH2sH", 0x0010, 0x0020, b"LO", 2) + b"P1"


def test_what_a_vr_does_not_hold_is_refused_by_its_tag() -> None:
    with pytest.raises(BadRequest) as refused:
        write({"00280010": {"vr": "US", "Value": ["many"]}})
    assert refused.value.issues[0].expression == "00280010"


def test_a_value_too_long_for_its_vr_goes_out_as_un() -> None:
    data = write({"00080018": {"vr": "UI", "Value": ["1"] * 40_000}})
    assert pydicom.filereader.read_dataset(BytesIO(data), False, True)[0x00080018].VR in ("UN", "UI")
