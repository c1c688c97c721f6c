"""Command sets (PS3.7 6.3, annex E): read by a small strict reader of implicit little endian, and written."""

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydicom import DataElement, Dataset
from pydicom.config import IGNORE
from pydicom.datadict import DicomDictionary, dictionary_VR, tag_for_keyword
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import UID

from server.dimse.pdu import SERVICE_USER, ProtocolError
from server.imaging.part10 import DEFLATED

#: Command Field (PS3.7 table E.1-1).
C_STORE, C_GET, C_FIND, C_MOVE, C_ECHO, C_CANCEL = 0x0001, 0x0010, 0x0020, 0x0021, 0x0030, 0x0FFF
N_EVENT_REPORT, N_GET, N_SET, N_ACTION, N_CREATE, N_DELETE = 0x0100, 0x0110, 0x0120, 0x0130, 0x0140, 0x0150
NAMES = {
    C_STORE: "C-STORE",
    C_GET: "C-GET",
    C_FIND: "C-FIND",
    C_MOVE: "C-MOVE",
    C_ECHO: "C-ECHO",
    N_EVENT_REPORT: "N-EVENT-REPORT",
    N_GET: "N-GET",
    N_SET: "N-SET",
    N_ACTION: "N-ACTION",
    N_CREATE: "N-CREATE",
    N_DELETE: "N-DELETE",
}
#: Set in the Command Field of a response.
RESPONSE = 0x8000

#: Element numbers of group 0000.
_SOP_CLASS, _REQUESTED_CLASS, _FIELD, _MESSAGE_ID, _RESPONDED = 0x0002, 0x0003, 0x0100, 0x0110, 0x0120
_PRIORITY, _DATA_SET_TYPE, _STATUS, _COMMENT = 0x0700, 0x0800, 0x0900, 0x0902
_SOP_INSTANCE, _REQUESTED_INSTANCE, _EVENT_TYPE, _ACTION_TYPE = 0x1000, 0x1001, 0x1002, 0x1008
#: Command Data Set Type (0000,0800): no data set is there; any other value says that one is.
_NO_DATA_SET, _DATA_SET = 0x0101, 0x0001

_ELEMENT = struct.Struct("<HHI")
_NUMBERS = {"US": struct.Struct("<H"), "UL": struct.Struct("<I"), "AT": struct.Struct("<HH")}


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """A command set: the values by element number, as they came."""

    values: Mapping[int, bytes]

    @property
    def field(self) -> int:
        """Command Field (0000,0100)."""
        return self.number(_FIELD)

    @property
    def message_id(self) -> int:
        """Message ID (0000,0110)."""
        return self.number(_MESSAGE_ID)

    @property
    def responded_to(self) -> int:
        """Message ID Being Responded To (0000,0120)."""
        return self.number(_RESPONDED)

    @property
    def status(self) -> int:
        """Status (0000,0900)."""
        return self.number(_STATUS)

    @property
    def has_data(self) -> bool:
        """Whether a data set follows."""
        return self.number(_DATA_SET_TYPE) != _NO_DATA_SET

    @property
    def sop_class(self) -> str:
        """Affected or Requested SOP Class UID; empty without."""
        return self.text(_SOP_CLASS) or self.text(_REQUESTED_CLASS)

    @property
    def sop_instance(self) -> str:
        """Affected or Requested SOP Instance UID; empty without."""
        return self.text(_SOP_INSTANCE) or self.text(_REQUESTED_INSTANCE)

    def number(self, element: int) -> int:
        """An unsigned short; raises ProtocolError where it is missing."""
        value = self.values.get(element, b"")
        if len(value) != 2:
            raise ProtocolError(
                f"The command element (0000,{element:04X}) is missing or wrong.", 0, source=SERVICE_USER
            )
        return int.from_bytes(value, "little")

    def text(self, element: int) -> str:
        """A UID or text without its padding; empty where it is missing."""
        return self.values.get(element, b"").decode("ascii", "replace").strip("\0 ")

    def dataset(self) -> Dataset:
        """The elements of the dictionary for a service; raises ProtocolError where a value can't be read."""
        found = Dataset()
        for number, raw in self.values.items():
            entry = DicomDictionary.get(number)
            if entry is not None:
                found.add(DataElement(number, entry[0], _value(entry[0], raw), validation_mode=IGNORE))
        return found


def _value(vr: str, raw: bytes) -> Any:
    """A command element's value: one, or a list; pydicom's own conversion warns of what a peer sends."""
    if vr in _NUMBERS:
        kind = _NUMBERS[vr]
        if len(raw) % kind.size:
            raise ProtocolError("A number of the command set has an odd length.", 0, source=SERVICE_USER)
        values = [parts[0] << 16 | parts[1] if vr == "AT" else parts[0] for parts in kind.iter_unpack(raw)]
    else:
        values = [part.strip("\0 ") for part in raw.decode("latin-1").split("\\")]
    return values[0] if len(values) == 1 else values


def read_command(encoded: bytes) -> Command:
    """The command set in ``encoded``; raises ProtocolError."""
    values: dict[int, bytes] = {}
    at = 0
    while at < len(encoded):
        if at + _ELEMENT.size > len(encoded):
            raise ProtocolError("The command set ends inside an element's header.", 0, source=SERVICE_USER)
        group, number, length = _ELEMENT.unpack_from(encoded, at)
        at += _ELEMENT.size
        if group or number in values or at + length > len(encoded):
            raise ProtocolError(
                f"The element ({group:04X},{number:04X}) has no place in the command set.", 0, source=SERVICE_USER
            )
        values[number] = encoded[at : at + length]
        at += length
    return Command(values=values)


def _encoded(values: Mapping[int, bytes]) -> bytes:
    """A command set with these elements and its group length."""
    parts = []
    for number, value in sorted(values.items()):
        parts += [_ELEMENT.pack(0, number, len(value)), value]
    body = b"".join(parts)
    return _ELEMENT.pack(0, 0, 4) + struct.pack("<I", len(body)) + body


def _short(number: int) -> bytes:
    return struct.pack("<H", number)


def _even(text: str, padding: bytes = b"\0") -> bytes:
    value = text.encode("ascii", "replace")
    return value + padding * (len(value) & 1)


def response(
    request: Command, status: int, *, comment: str = "", has_data: bool = False, more: Mapping[str, Any] | None = None
) -> bytes:
    """The command set that answers ``request``; ``more`` are further elements by keyword."""
    values = {
        _FIELD: _short(request.field | RESPONSE),
        _RESPONDED: _short(request.message_id),
        _DATA_SET_TYPE: _short(_DATA_SET if has_data else _NO_DATA_SET),
        _STATUS: _short(status),
    }
    for number, text in ((_SOP_CLASS, request.sop_class), (_SOP_INSTANCE, request.sop_instance)):
        if text:
            values[number] = _even(text[:64])
    for number in (_EVENT_TYPE, _ACTION_TYPE):
        if len(request.values.get(number, b"")) == 2:
            values[number] = request.values[number]
    if comment:
        # LO, 64 characters of the default repertoire; a backslash would part values.
        values[_COMMENT] = _even(comment.replace("\\", "/")[:64], b" ")
    for keyword, value in (more or {}).items():
        number, encoded = _element(keyword, value)
        values[number] = encoded
    return _encoded(values)


def _element(keyword: str, value: Any) -> tuple[int, bytes]:
    tag = tag_for_keyword(keyword)
    if tag is None or tag >> 16:
        raise ValueError(f"{keyword} is no element of a command set.")
    items = value if isinstance(value, (list, tuple)) else [value]
    match dictionary_VR(tag):
        case "US":
            encoded = b"".join(_short(int(one)) for one in items)
        case "UL":
            encoded = b"".join(struct.pack("<I", int(one)) for one in items)
        case "AT":
            encoded = b"".join(struct.pack("<HH", int(one) >> 16, int(one) & 0xFFFF) for one in items)
        case "UI":
            encoded = _even("\\".join(map(str, items)))
        case _:
            encoded = _even("\\".join(map(str, items)), b" ")
    return tag & 0xFFFF, encoded


def store_request(sop_class: str, sop_instance: str, message_id: int) -> bytes:
    """The command set of a C-STORE sub-operation (PS3.7 9.3.1.1)."""
    return _encoded(
        {
            _SOP_CLASS: _even(sop_class),
            _FIELD: _short(C_STORE),
            _MESSAGE_ID: _short(message_id),
            _PRIORITY: _short(0),
            _DATA_SET_TYPE: _short(_DATA_SET),
            _SOP_INSTANCE: _even(sop_instance),
        }
    )


def event_request(sop_class: str, sop_instance: str, event_type: int, message_id: int) -> bytes:
    """The command set of an N-EVENT-REPORT (PS3.7 10.3.1.1)."""
    return _encoded(
        {
            _SOP_CLASS: _even(sop_class),
            _FIELD: _short(N_EVENT_REPORT),
            _MESSAGE_ID: _short(message_id),
            _DATA_SET_TYPE: _short(_DATA_SET),
            _SOP_INSTANCE: _even(sop_instance),
            _EVENT_TYPE: _short(event_type),
        }
    )


def encode(dataset: Dataset, transfer_syntax: str) -> bytes:
    """A data set in ``transfer_syntax``."""
    syntax = UID(transfer_syntax)
    out = DicomBytesIO()
    out.is_implicit_VR, out.is_little_endian = syntax.is_implicit_VR, syntax.is_little_endian
    write_dataset(out, dataset)
    encoded: bytes = out.getvalue()
    if transfer_syntax != DEFLATED:
        return encoded
    # PS3.5 A.5: raw deflate, padded to an even length.
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = packer.compress(encoded) + packer.flush()
    return packed + bytes(len(packed) & 1)
