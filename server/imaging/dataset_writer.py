"""DICOM JSON as an encoded data set, little endian (PS3.5 chapter 7): the way back of ``dataset.DatasetReader``."""

import base64
import struct
from collections.abc import Callable, Sequence
from typing import Any

from pydicom.valuerep import format_number_as_ds

from server.errors import BadRequest
from server.imaging.charset_writer import UTF8, CharsetWriter, known
from server.imaging.dataset import Attributes
from server.imaging.json_model import BYTES

_CHARACTER_SET = "00080005"
#: PS3.5 table 7.1-1: a 32-bit length behind two reserved bytes.
_LONG = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
#: VRs that Specific Character Set is about (PS3.5 6.1.2.3), and the delimiters between their parts.
_TEXT = {"LO": "\\", "SH": "\\", "UC": "\\", "PN": "\\^=", "LT": "", "ST": "", "UT": ""}
_NUMBERS = {
    **{"US": "H", "SS": "h", "UL": "I", "SL": "i", "UV": "Q", "SV": "q", "FL": "f", "FD": "d"},
}
_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")


def write(attributes: Attributes, *, explicit: bool = True, character_set: Sequence[str] = ()) -> bytes:
    """The encoded data set, in ``character_set`` if its text fits there, else in UTF-8; ASCII names no set.

    Bulk data that are only referred to are left out. Raises BadRequest for a value that its VR does not hold.
    """
    content = {tag: element for tag, element in attributes.items() if tag != _CHARACTER_SET}
    if _is_ascii(content):
        return _Writer(explicit, ()).dataset(content)
    if character_set and known(character_set):
        try:
            return _named(content, explicit, tuple(character_set))
        except UnicodeEncodeError:
            pass
    return _named(content, explicit, (UTF8,))


def _named(content: Attributes, explicit: bool, terms: tuple[str, ...]) -> bytes:
    named: Attributes = {_CHARACTER_SET: {"vr": "CS", "Value": list(terms)}}
    return _Writer(explicit, terms).dataset(named | content)


def _is_ascii(attributes: Attributes) -> bool:
    for element in attributes.values():
        vr = element.get("vr")
        if vr == "SQ":
            if not all(_is_ascii(item) for item in element.get("Value", ()) if item):
                return False
        elif vr in _TEXT and not str(element.get("Value", "")).isascii():
            return False
    return True


class _Writer:
    """Writes in one encoding and one character set."""

    def __init__(self, explicit: bool, terms: tuple[str, ...]) -> None:
        self._explicit = explicit
        self._charset = CharsetWriter(terms)

    def dataset(self, attributes: Attributes) -> bytes:
        parts: list[bytes] = []
        for tag in sorted(attributes):
            element = attributes[tag]
            if "BulkDataURI" not in element:
                parts += self._element(tag, element)
        return b"".join(parts)

    def _element(self, tag: str, element: dict[str, Any]) -> tuple[bytes, bytes]:
        vr = element["vr"]
        try:
            value = self._value(vr, element)
        except (struct.error, TypeError, ValueError, AttributeError, KeyError) as error:
            if isinstance(error, UnicodeEncodeError):
                raise
            raise BadRequest(f"The element {tag} holds what is no value of VR {vr}.", expression=tag) from error
        if len(value) & 1:
            value += b"\0" if vr == "UI" or vr in BYTES else b" "
        number = int(tag, 16)
        group, length = number >> 16, len(value)
        if not self._explicit:
            return struct.pack("<HHI", group, number & 0xFFFF, length), value
        if length > 0xFFFF and vr not in _LONG:
            # PS3.5 6.2.2, note: what a 16-bit length can't say goes out as UN.
            vr = "UN"
        if vr in _LONG:
            return struct.pack("<HH2sHI", group, number & 0xFFFF, vr.encode(), 0, length), value
        return struct.pack("<HH2sH", group, number & 0xFFFF, vr.encode(), length), value

    def _value(self, vr: str, element: dict[str, Any]) -> bytes:
        if "InlineBinary" in element:
            return base64.b64decode(element["InlineBinary"])
        values = element.get("Value") or []
        if vr == "SQ":
            return b"".join(self._item(item or {}) for item in values)
        if vr in _NUMBERS:
            return struct.pack(f"<{len(values)}{_NUMBERS[vr]}", *(_number(vr, value) for value in values))
        if vr == "AT":
            return b"".join(struct.pack("<HH", int(tag[:4], 16), int(tag[4:], 16)) for tag in values)
        if vr in _TEXT:
            text = "\\".join(_text(vr, value) for value in values)
            return self._charset.encode(text, _TEXT[vr])
        return "\\".join("" if value is None else _plain(vr, value) for value in values).encode("latin_1")

    def _item(self, item: Attributes) -> bytes:
        content = self.dataset(item)
        return struct.pack("<HHI", 0xFFFE, 0xE000, len(content)) + content


def _number(vr: str, value: Any) -> Any:
    #: PS3.18 F.2.3: JSON has no number for these.
    convert: Callable[[Any], Any] = float if vr in ("FL", "FD") else int
    return convert(value)


def _plain(vr: str, value: Any) -> str:
    return format_number_as_ds(value) if vr == "DS" and isinstance(value, float) else str(value)


def _text(vr: str, value: Any) -> str:
    if vr != "PN":
        return "" if value is None else str(value)
    return "=".join((value or {}).get(group, "") for group in _GROUPS).rstrip("=")
