"""DICOMDIR: the directory of a file-set (PS3.3 annex F, PS3.10 chapter 8), written from what the index knows.

Written by ourselves: offsets follow from lengths that are known before anything is joined, so 10,000 instances take a
fraction of a second. A key of type 1 that an instance leaves out gets a stand-in (annex F allows no empty one); the
instance's own file is not touched.
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

# Which record stands for a SOP class (PS3.3 table F.4-1); not part of pydicom's interface, so a test looks at it.
from pydicom.fileset import _FOUR_LEVEL_SOP_CLASSES
from pydicom.uid import generate_uid

from server.errors import BadRequest
from server.imaging.attributes import text
from server.imaging.dataset import Attributes
from server.imaging.part10 import EXPLICIT_LITTLE, write_meta

#: Media Storage Directory Storage.
SOP_CLASS = "1.2.840.10008.1.3.10"
_PREFIX = "2.25."
_LONG = frozenset({"SQ", "UT", "UN", "UC", "UR", "OB", "OW", "OD", "OF", "OL", "OV", "SV", "UV"})
_NUMBERS = {"US": "<H", "SS": "<h", "UL": "<I", "SL": "<i", "FL": "<f", "FD": "<d", "SV": "<q", "UV": "<Q"}
#: Characters of one value: the shorter form of an element holds 65,534 bytes.
_LONGEST = 16_000
#: What stands in for a missing key of type 1, by its VR.
_STAND_IN: dict[str, Any] = {"DA": "19000101", "TM": "000000", "IS": "0", "CS": "UNKNOWN", "UI": ""} | dict.fromkeys(
    _NUMBERS, 0
)

#: Key attributes of each record (PS3.3 F.5): tag, VR, type; 3 stands for "where the instance has it".
_CONTENT = "00080023DA1 00080033TM1 00200013IS1"
_LABELLED = f"{_CONTENT} 00700080CS1 00700081LO2 00700084PN2"
_KEYS = {
    "PATIENT": "00100010PN2 00100020LO1",
    "STUDY": "00080020DA1 00080030TM1 00080050SH2 00081030LO2 0020000DUI1 00200010SH1",
    "SERIES": "00080060CS1 0020000EUI1 00200011IS1",
    "IMAGE": "00080008CS3 00200013IS1",
    "RT DOSE": "00200013IS1 3004000ACS1",
    "RT STRUCTURE SET": "00200013IS1 30060002SH1 30060008DA2 30060009TM2",
    "RT PLAN": "00200013IS1 300A0002SH1 300A0006DA2 300A0007TM2",
    "RT TREAT RECORD": "00200013IS1 30080250DA2 30080251TM2",
    "PRESENTATION": ("00081115SQ3 00200013IS1 00700080CS1 00700081LO2 00700082DA1 00700083TM1 00700084PN2 00700402SQ3"),
    "WAVEFORM": _CONTENT,
    "SR DOCUMENT": f"{_CONTENT} 0040A030DT3 0040A043SQ1 0040A491CS1 0040A493CS1",
    "KEY OBJECT DOC": f"{_CONTENT} 0040A043SQ1",
    "SPECTROSCOPY": f"{_CONTENT} 00080008CS1 00280008IS1 00280010US1 00280011US1 00289001UL1 00289002UL1",
    "RAW DATA": _CONTENT,
    "REGISTRATION": _LABELLED,
    "FIDUCIAL": _LABELLED,
    "VALUE MAP": _LABELLED,
    "ENCAP DOC": "00080023DA2 00080033TM2 00200013IS1 0040A043SQ2 00420010ST2 00420012LO1",
    "MEASUREMENT": _LABELLED,
    "SURFACE": _LABELLED,
    "SURFACE SCAN": "00080023DA1 00080033TM1",
    "TRACT": _LABELLED,
    "ASSESSMENT": "00080012DA1 00080013TM2 00200013IS1",
    "STEREOMETRIC": "",
}
_RECORD_OF = {str(uid): kind for uid, kind in _FOUR_LEVEL_SOP_CLASSES.items()} | {
    # Encapsulated PDF, CDA, STL, OBJ, MTL: PS3.3 F.5.33; they are told from images by their class alone.
    f"1.2.840.10008.5.1.4.1.1.104.{number}": "ENCAP DOC"
    for number in range(1, 6)
}


@dataclass(slots=True)
class _Record:
    """One directory record and those under it."""

    kind: str
    #: Everything behind the offsets, encoded.
    body: bytes
    children: dict[tuple[str, ...], "_Record"] = field(default_factory=dict)
    #: From the start of the file; known once all sizes are.
    offset: int = 0

    @property
    def size(self) -> int:
        """Of the item with its header; the offsets have a fixed size."""
        return 8 + 34 + len(self.body)


def dicomdir(instances: Iterable[tuple[Sequence[str], Attributes]], *, file_set_id: str = "HUTONG") -> bytes:
    """The DICOMDIR of a file-set: for each file the components of its File ID and its header as DICOM JSON.

    The header's TransferSyntaxUID (00020010), which is no part of a data set, says what the file is encoded in;
    Explicit VR Little Endian where it is missing. Raises BadRequest for a File ID that PS3.10 8.2 does not allow.
    """
    root = _Record("", b"")
    for path, attributes in instances:
        _enter(root, _file_id(path), attributes)
    meta = write_meta(sop_class=SOP_CLASS, sop_instance=generate_uid(prefix=_PREFIX), transfer_syntax=EXPLICIT_LITTLE)
    records = list(_in_order(root))
    first = len(meta) + len(_head(file_set_id, 0, 0)) + 12
    end = first
    for record in records:
        record.offset = end
        end += record.size
    tops = list(root.children.values())
    head = _head(file_set_id, tops[0].offset if tops else 0, tops[-1].offset if tops else 0)
    sequence = struct.pack("<HH2sHI", 0x0004, 0x1220, b"SQ", 0, end - first)
    return b"".join([meta, head, sequence, *_items(root)])


def _enter(root: _Record, file_id: str, attributes: Attributes) -> None:
    """Adds one file under its patient, study and series."""
    patient = (text(attributes, "00100021"), text(attributes, "00100020"), str(attributes.get("00100010")))
    keys = (patient, (text(attributes, "0020000D"),), (text(attributes, "0020000E"),))
    at = root
    for kind, key in zip(("PATIENT", "STUDY", "SERIES"), keys, strict=True):
        if key not in at.children:
            at.children[key] = _Record(kind, _body(kind, attributes))
        at = at.children[key]
    sop_class, sop_instance = text(attributes, "00080016"), text(attributes, "00080018")
    kind = _RECORD_OF.get(sop_class, "IMAGE")
    reference = (
        _element("00041500", "CS", [file_id])
        + _element("00041510", "UI", [sop_class])
        + _element("00041511", "UI", [sop_instance])
        + _element("00041512", "UI", [text(attributes, "00020010") or EXPLICIT_LITTLE])
    )
    at.children[(file_id,)] = _Record(kind, _body(kind, attributes, reference))


def _body(kind: str, attributes: Attributes, reference: bytes = b"") -> bytes:
    """Record type, reference and keys, in the order of their tags."""
    parts = []
    for key in sorted(_KEYS[kind].split()):
        tag, vr, need = key[:8], key[8:10], key[10:]
        found = attributes.get(tag, {})
        values = [value for value in found.get("Value") or [] if value is not None]
        if values:
            parts.append(_element(tag, str(found["vr"]), values))
        elif need != "3":
            parts.append(_element(tag, vr, _missing(vr, need)))
    keys = b"".join(parts)
    charset = b"" if keys.isascii() else _element("00080005", "CS", ["ISO_IR 192"])
    return _element("00041430", "CS", [kind]) + reference + charset + keys


def _missing(vr: str, need: str) -> list[Any]:
    return [] if need == "2" or vr == "SQ" else [_STAND_IN.get(vr, "NONE")]


def _element(tag: str, vr: str, values: Sequence[Any]) -> bytes:
    """One element in Explicit VR Little Endian from its DICOM JSON values."""
    if vr == "SQ":
        value = b"".join(_nested(item) for item in values)
    elif vr in _NUMBERS:
        value = b"".join(_number(vr, value) for value in values)
    elif vr == "AT":
        value = b"".join(struct.pack("<HH", int(value[:4], 16), int(value[4:], 16)) for value in values)
    else:
        joined = "\\".join(_person(value) if vr == "PN" else str(value) for value in values)
        value = joined[:_LONGEST].encode("utf-8", "replace")
        value += (b"\0" if vr == "UI" else b" ") * (len(value) & 1)
    group, number, kind = int(tag[:4], 16), int(tag[4:], 16), vr.encode("ascii")
    if vr in _LONG:
        return struct.pack("<HH2sHI", group, number, kind, 0, len(value)) + value
    return struct.pack("<HH2sH", group, number, kind, len(value)) + value


def _number(vr: str, value: Any) -> bytes:
    """DICOM JSON may write a number as text (PS3.18 F.2.2): large ones, and those that are none."""
    code = _NUMBERS[vr]
    try:
        return struct.pack(code, float(value) if vr in ("FL", "FD") else int(value))
    except (struct.error, ValueError, OverflowError):
        return struct.pack(code, 0)


def _nested(item: Attributes) -> bytes:
    """An item of a sequence; bulk data stay in the file."""
    parts = [
        _element(tag, str(item[tag]["vr"]), [value for value in item[tag].get("Value", []) if value is not None])
        for tag in sorted(item)
        if "BulkDataURI" not in item[tag] and "InlineBinary" not in item[tag]
    ]
    value = b"".join(parts)
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(value)) + value


def _person(value: Any) -> str:
    if not isinstance(value, dict):
        return str(value)
    return "=".join(value.get(group, "") for group in ("Alphabetic", "Ideographic", "Phonetic")).rstrip("=")


def _file_id(path: Sequence[str]) -> str:
    """PS3.10 8.2: up to eight components of up to eight characters."""
    fits = all(0 < len(part) <= 8 and all(c in _FILE_CHARACTERS for c in part) for part in path)
    if not 0 < len(path) <= 8 or not fits:
        raise BadRequest("A File ID has 1 to 8 components of 1 to 8 of A-Z, 0-9 and _.", expression="path")
    return "\\".join(path)


_FILE_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")


def _in_order(record: _Record) -> Iterable[_Record]:
    for child in record.children.values():
        yield child
        yield from _in_order(child)


def _items(parent: _Record) -> Iterable[bytes]:
    """The records under one, each followed by its own, with their offsets."""
    siblings = list(parent.children.values())
    for number, record in enumerate(siblings, 1):
        after = siblings[number].offset if number < len(siblings) else 0
        below = next(iter(record.children.values()), None)
        yield struct.pack("<HHI", 0xFFFE, 0xE000, record.size - 8)
        yield struct.pack("<HH2sHI", 0x0004, 0x1400, b"UL", 4, after)
        yield struct.pack("<HH2sHH", 0x0004, 0x1410, b"US", 2, 0xFFFF)
        yield struct.pack("<HH2sHI", 0x0004, 0x1420, b"UL", 4, below.offset if below else 0)
        yield record.body
        yield from _items(record)


def _head(file_set_id: str, first: int, last: int) -> bytes:
    return b"".join(
        [
            _element("00041130", "CS", [file_set_id]),
            _element("00041200", "UL", [first]),
            _element("00041202", "UL", [last]),
            _element("00041212", "US", [0]),
        ]
    )
