"""Values of every VR as DICOM JSON (PS3.18 annex F.2), from little-endian bytes.

Each converter takes the value's bytes and the Charset and gives the ``Value`` array. A number that is no number stays
a string, as PS3.18 F.2.3 allows for DS and IS; the file keeps its bytes either way.
"""

import math
import struct
from collections.abc import Callable
from typing import Any

from server.imaging.charset import Charset

Values = list[Any]


def _plain(raw: bytes, _charset: Charset) -> Values:
    """AE, AS, CS, DA, DT, TM: default repertoire, spaces around a value mean nothing (PS3.5 6.2)."""
    text = raw.decode("latin_1").rstrip("\0 ")
    if "\\" not in text:
        return [text.strip(" ")] if text else []
    return [part.strip("\0 ") or None for part in text.split("\\")]


def _uid(raw: bytes, _charset: Charset) -> Values:
    text = raw.decode("latin_1").rstrip("\0 ")
    if "\\" not in text:
        return [text] if text else []
    return [part.strip("\0 ") or None for part in text.split("\\")]


def _decimal(raw: bytes, _charset: Charset) -> Values:
    return [_number(part, float) for part in _plain(raw, _charset)]


def _integer(raw: bytes, _charset: Charset) -> Values:
    return [_number(part, int) for part in _plain(raw, _charset)]


def _number(text: str | None, kind: type[int] | type[float]) -> int | float | str | None:
    if text is None:
        return None
    try:
        number = kind(text)
    except ValueError:
        return text
    fits = -(1 << 63) <= number < (1 << 64) if isinstance(number, int) else math.isfinite(number)
    return number if fits else text


def _words(raw: bytes, charset: Charset) -> Values:
    """LO, SH, UC: several values, leading and trailing spaces mean nothing."""
    text = charset.decode(raw).rstrip("\0 ")
    if "\\" not in text:
        return [text] if text else []
    return [part.rstrip("\0 ") or None for part in text.split("\\")]


def _text(raw: bytes, charset: Charset) -> Values:
    """LT, ST, UT, UR: one value, backslashes belong to it."""
    text = charset.decode(raw, b"").rstrip("\0 ")
    return [text] if text else []


def _person_name(raw: bytes, charset: Charset) -> Values:
    """PN: component groups (PS3.5 6.2.1.1); each group and each value starts in the first character set."""
    names: Values = []
    for name in charset.decode(raw, b"\\^=").rstrip("\0 ").split("\\"):
        groups = zip(("Alphabetic", "Ideographic", "Phonetic"), name.split("="), strict=False)
        names.append({key: text.rstrip("\0 ") for key, text in groups if text.strip("\0 ")} or None)
    return [] if names == [None] else names


def _tags(raw: bytes, _charset: Charset) -> Values:
    numbers = struct.unpack_from(f"<{len(raw) // 4 * 2}H", raw)
    return [f"{numbers[i]:04X}{numbers[i + 1]:04X}" for i in range(0, len(numbers), 2)]


def _binary(code: str, size: int) -> Callable[[bytes, Charset], Values]:
    def convert(raw: bytes, _charset: Charset) -> Values:
        if len(raw) == size:
            return [struct.unpack(f"<{code}", raw)[0]]
        return list(struct.unpack_from(f"<{len(raw) // size}{code}", raw))

    return convert


def _real(code: str, size: int) -> Callable[[bytes, Charset], Values]:
    unpack = _binary(code, size)
    #: PS3.18 F.2.3, note: JSON has no number for these.
    special = {math.inf: "inf", -math.inf: "-inf"}

    def convert(raw: bytes, charset: Charset) -> Values:
        return [n if math.isfinite(n) else special.get(n, "NaN") for n in unpack(raw, charset)]

    return convert


CONVERT: dict[str, Callable[[bytes, Charset], Values]] = {
    **dict.fromkeys(("AE", "AS", "CS", "DA", "DT", "TM"), _plain),
    **dict.fromkeys(("LO", "SH", "UC"), _words),
    **dict.fromkeys(("LT", "ST", "UT", "UR"), _text),
    "UI": _uid,
    "DS": _decimal,
    "IS": _integer,
    "PN": _person_name,
    "AT": _tags,
    "US": _binary("H", 2),
    "SS": _binary("h", 2),
    "UL": _binary("I", 4),
    "SL": _binary("i", 4),
    "UV": _binary("Q", 8),
    "SV": _binary("q", 8),
    "FL": _real("f", 4),
    "FD": _real("d", 8),
}

#: VRs whose value is bytes: InlineBinary when small, else BulkDataURI.
BYTES = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
