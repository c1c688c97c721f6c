"""Reads one encoded data set (PS3.5 chapter 7) in a single pass: checks its structure and gives its DICOM JSON.

Reads explicit and implicit little endian, and the retired explicit big endian. Everything is checked against the
bytes that are there before it is used: declared lengths, nesting, number of elements, value representations. Big
values are not copied but noted as spans.
"""

import base64
import struct
from dataclasses import dataclass, field
from mmap import mmap
from typing import Any, Protocol

import numpy as np
from pydicom.datadict import DicomDictionary, RepeatersDictionary, mask_match

from server.errors import BadInstance
from server.imaging.charset import ASCII, Charset, charset_of
from server.imaging.json_model import BYTES, CONVERT
from server.imaging.memo import Known, Memo

Buffer = bytes | mmap
Attributes = dict[str, dict[str, Any]]

UNDEFINED = 0xFFFFFFFF
PIXEL_DATA = 0x7FE00010
#: Literal before the path of every BulkDataURI in stored metadata; retrieval puts the instance's URL in its place.
BULK = "hutong-bulk:"
#: Bytes of a binary value beyond which it is bulk data, and of a text.
_INLINE, _INLINE_TEXT = 1024, 65536
#: PS3.5 table 7.1-1: explicit VRs with two reserved bytes and a 32-bit length.
_LONG = {v.encode(): v for v in ("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV")}
#: PS3.5 table 7.1-2: explicit VRs with a 16-bit length.
_SHORT = {
    v.encode(): v
    for v in "AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split()  # noqa: SIM905 - a table
}
_KNOWN = _LONG.keys() | _SHORT.keys()
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
#: Header of an explicit element, of an implicit one or an item, and a 32-bit length, by endianness.
_LITTLE = struct.Struct("<HH2sH"), struct.Struct("<HHI"), struct.Struct("<I")
_BIG = struct.Struct(">HH2sH"), struct.Struct(">HHI"), struct.Struct(">I")
#: Bytes of one number by VR, for the swap from big endian.
_WIDTH = {"US": 2, "SS": 2, "AT": 2, "OW": 2, "UL": 4, "SL": 4, "FL": 4, "OF": 4, "OL": 4} | dict.fromkeys(
    ("UV", "SV", "FD", "OD", "OV"), 8
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What a data set may ask of us."""

    #: Deepest nesting of sequences.
    depth: int = 32
    #: Elements and items in all.
    elements: int = 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """One value left where it is."""

    vr: str
    #: From the start of the buffer.
    offset: int
    #: Bytes; UNDEFINED for encapsulated pixel data.
    length: int


@dataclass(kw_only=True, slots=True)
class _Scope:
    """What holds inside one data set or item."""

    explicit: bool
    path: str
    depth: int
    charset: Charset
    #: PixelRepresentation is 1: "US or SS" means SS.
    signed: bool


class Content(Protocol):
    """Takes note of what a data set says, however it is encoded."""

    def value(self, tag: int, vr: str, raw: bytes) -> None:
        """One element, its value in little endian."""

    def mark(self, tag: int) -> None:
        """The start of a sequence or item, or a sequence's end."""


@dataclass(slots=True)
class DatasetReader:
    """One pass over a buffer; afterwards ``bulk`` holds the spans by path, e.g. ``00081140/1/7FE00010``."""

    buffer: Buffer
    limits: Limits
    big_endian: bool = False
    #: Fed with the content as it is the same in every native transfer syntax; see ``sameness``.
    digest: Content | None = None
    #: For reading many data sets.
    memo: Memo | None = None
    #: Whether private values of unknown VR that look like sequences are read as such for ``digest``.
    opens_private: bool = True
    bulk: dict[str, Span] = field(default_factory=dict)
    count: int = 0
    _explicit: struct.Struct = field(init=False)
    _implicit: struct.Struct = field(init=False)
    _length: struct.Struct = field(init=False)

    def __post_init__(self) -> None:
        self._explicit, self._implicit, self._length = _BIG if self.big_endian else _LITTLE

    def read(self, start: int, end: int, *, explicit: bool) -> Attributes:
        """The data set as DICOM JSON; raises BadInstance with the tag path."""
        if not explicit and self.buffer[start + 4 : start + 6] in _KNOWN:
            explicit = True
        scope = _Scope(explicit=explicit, path="", depth=0, charset=ASCII, signed=False)
        return self._dataset(start, end, scope, delimited=False)[0]

    def _dataset(self, at: int, end: int, scope: _Scope, *, delimited: bool) -> tuple[Attributes, int]:
        out: Attributes = {}
        buffer, first = self.buffer, self.count
        if scope.explicit and buffer[at + 4 : at + 6] not in _KNOWN:
            # Items in implicit VR inside an explicit data set are a known sin of senders; their headers tell.
            scope.explicit = at + 8 > end or self._implicit.unpack_from(buffer, at)[0] == 0xFFFE
        known = self._known(scope)
        while at < end:
            self.count += 1
            if known is not None and (at := self._skip_known(out, at, end, known)) >= end:
                break
            start = at
            tag, vr, length, at = self._header(at, end, scope)
            if tag == _ITEM_END and delimited:
                return out, at
            if tag == 0 and self.count > first + 1 and not delimited and scope.depth == 0:
                self._only_zeros(at, end)
                return out, end
            if vr == "SQ" or length == UNDEFINED or (vr == "UN" and self._is_sequence(tag, at)):
                at = self._nested(out, tag, Span(vr=vr, offset=at, length=length), end, scope)
                continue
            stop = at + length
            if stop > end:
                raise self._bad(tag, scope, f"declares {length} bytes, but only {end - at} follow")
            if tag & 0xFFFF:
                key = f"{tag:08X}"
                out[key] = element = self._value(key, vr, at, length, scope)
                if self.digest is not None:
                    self.digest.value(tag, vr, self._raw(vr, at, length))
                if tag in (0x00080005, 0x00280103):
                    _set_scope(scope, tag, element)
                    known = self._known(scope)
                elif known is not None and stop - start <= Memo.LONGEST and "BulkDataURI" not in element:
                    known[buffer[start:stop]] = key, element
            at = stop
        if delimited:
            raise BadInstance(f"An item of {scope.path or 'the data set'} has no delimitation item; send it whole.")
        return out, at

    def _known(self, scope: _Scope) -> Known | None:
        """What is known of elements encoded as they are here."""
        if self.memo is None or self.digest is not None or self.big_endian or not scope.explicit:
            return None
        return self.memo.of(scope.charset)

    def _skip_known(self, out: Attributes, at: int, end: int, known: Known) -> int:
        """Takes known elements one after the other; gives the place of the first that is not."""
        buffer, most = self.buffer, self.limits.elements
        while at + 8 <= end and self.count < most:
            # Right for VRs with a short length, and only these are known by less than 8 bytes and their value.
            stop = at + 8 + (buffer[at + 6] | buffer[at + 7] << 8)
            hit = known.get(buffer[at:stop])
            if hit is None or stop > end:
                break
            out[hit[0]] = hit[1]
            self.count += 1
            at = stop
        return at

    def _header(self, at: int, end: int, scope: _Scope) -> tuple[int, str, int, int]:
        """Tag, VR, length and place of the value of the element at ``at``."""
        if at + 8 > end:
            raise BadInstance(f"The data set ends inside an element's header, {end - at} bytes before the next value.")
        if self.count > self.limits.elements:
            raise BadInstance(f"More than {self.limits.elements} elements; split the instance.", reason=0xA700)
        if not scope.explicit:
            group, number, length = self._implicit.unpack_from(self.buffer, at)
            tag = group << 16 | number
            return tag, _dictionary_vr(tag, scope.signed), length, at + 8
        group, number, code, short = self._explicit.unpack_from(self.buffer, at)
        tag = group << 16 | number
        vr = _SHORT.get(code)
        if vr is not None:
            return tag, vr, short, at + 8
        vr = _LONG.get(code)
        if vr is not None:
            if at + 12 > end:
                raise self._bad(tag, scope, "ends inside its header")
            return tag, vr, self._length.unpack_from(self.buffer, at + 8)[0], at + 12
        if group == 0xFFFE or tag == 0:
            return tag, "", self._length.unpack_from(self.buffer, at + 4)[0], at + 8
        raise self._bad(tag, scope, f"has the unknown value representation {code!r}")

    def _is_sequence(self, tag: int, at: int) -> bool:
        """Whether a UN of known length is a public sequence that some router did not know (PS3.5 6.2.2)."""
        entry = DicomDictionary.get(tag)
        known = entry[0] == "SQ" if entry is not None else self.digest is not None and self.opens_private
        return known and self.buffer[at : at + 4] == b"\xfe\xff\x00\xe0"

    def _value(self, key: str, vr: str, at: int, length: int, scope: _Scope) -> dict[str, Any]:
        element: dict[str, Any] = {"vr": vr}
        if vr == "UN" and scope.explicit and length <= _INLINE_TEXT:
            vr = element["vr"] = _known_text_vr(int(key, 16))
        if key == "7FE00010" or key in ("7FE00008", "7FE00009"):
            self._bulk(element, key, Span(vr=vr, offset=at, length=length), scope)
        elif not length:
            pass
        elif vr in BYTES:
            if length > _INLINE:
                self._bulk(element, key, Span(vr=vr, offset=at, length=length), scope)
            else:
                element["InlineBinary"] = base64.b64encode(self._raw(vr, at, length)).decode("ascii")
        elif length > _INLINE_TEXT:
            self._bulk(element, key, Span(vr=vr, offset=at, length=length), scope)
        elif convert := CONVERT.get(vr):
            value = convert(self._raw(vr, at, length), scope.charset)
            if value:
                element["Value"] = value
        else:
            raise self._bad(int(key, 16), scope, "is a delimiter out of place")
        return element

    def _raw(self, vr: str, at: int, length: int) -> bytes:
        raw = self.buffer[at : at + length]
        width = _WIDTH.get(vr, 1) if self.big_endian else 1
        return raw if width == 1 else swapped(raw, width)

    def _bulk(self, element: dict[str, Any], key: str, span: Span, scope: _Scope) -> None:
        if span.length:
            path = f"{scope.path}/{key}".lstrip("/")
            element["BulkDataURI"] = BULK + path
            self.bulk[path] = span

    def _nested(self, out: Attributes, tag: int, span: Span, end: int, scope: _Scope) -> int:
        """A sequence, or encapsulated pixel data; returns where the next element starts."""
        vr, at, length = span.vr, span.offset, span.length
        stop = end if length == UNDEFINED else at + length
        if stop > end:
            raise self._bad(tag, scope, f"declares {length} bytes, but only {end - at} follow")
        if vr in ("OB", "OW") or (vr == "UN" and tag == PIXEL_DATA):
            out[f"{tag:08X}"] = element = {"vr": "OB"}
            self._bulk(element, f"{tag:08X}", Span(vr="OB", offset=at, length=UNDEFINED), scope)
            stop = self._fragments(tag, at, end, scope)
            if self.digest is not None:
                self.digest.value(tag, "OB", self.buffer[at:stop])
            return stop
        if vr not in ("SQ", "UN"):
            raise self._bad(tag, scope, "must not have an undefined length")
        if scope.depth >= self.limits.depth:
            raise self._bad(tag, scope, f"nests sequences deeper than {self.limits.depth}")
        path = f"{scope.path}/{tag:08X}".lstrip("/")
        # PS3.5 6.2.2 note 2: UN of undefined length holds implicit VR.
        inner = _Scope(
            explicit=scope.explicit and vr == "SQ",
            path=path,
            depth=scope.depth + 1,
            charset=scope.charset,
            signed=scope.signed,
        )
        self._mark_content(tag)
        items, at = self._items(tag, at, stop, inner, delimited=length == UNDEFINED)
        self._mark_content(_SEQUENCE_END)
        out[f"{tag:08X}"] = {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}
        return at

    def _items(self, tag: int, at: int, stop: int, inner: _Scope, *, delimited: bool) -> tuple[list[Attributes], int]:
        items: list[Attributes] = []
        while at < stop:
            self.count += 1
            mark, at, length = self._mark(tag, at, stop, inner)
            if mark == _SEQUENCE_END and delimited:
                return items, at
            if mark != _ITEM:
                raise self._bad(tag, inner, f"holds {mark:08X} where an item must start")
            bounded = length != UNDEFINED
            last = at + length if bounded else stop
            if last > stop:
                raise self._bad(tag, inner, f"has an item that declares {length} bytes, but only {stop - at} follow")
            scope = _Scope(
                explicit=inner.explicit,
                path=f"{inner.path}/{len(items) + 1}",
                depth=inner.depth,
                charset=inner.charset,
                signed=inner.signed,
            )
            self._mark_content(_ITEM)
            item, at = self._dataset(at, last, scope, delimited=not bounded)
            items.append(item)
        if delimited:
            raise self._bad(tag, inner, "has no sequence delimitation item")
        return items, at

    def _mark_content(self, tag: int) -> None:
        if self.digest is not None:
            self.digest.mark(tag)

    def _fragments(self, tag: int, at: int, end: int, scope: _Scope) -> int:
        """Steps over encapsulated pixel data (PS3.5 A.4)."""
        while True:
            self.count += 1
            mark, at, length = self._mark(tag, at, end, scope)
            if mark == _SEQUENCE_END:
                return at
            if mark != _ITEM or at + length > end:
                raise self._bad(tag, scope, f"has a fragment that declares {length} bytes, but only {end - at} follow")
            at += length

    def _mark(self, tag: int, at: int, end: int, scope: _Scope) -> tuple[int, int, int]:
        if at + 8 > end:
            raise self._bad(tag, scope, "has no delimitation item; it was cut off")
        if self.count > self.limits.elements:
            raise BadInstance(f"More than {self.limits.elements} elements; split the instance.", reason=0xA700)
        group, number, length = self._implicit.unpack_from(self.buffer, at)
        return group << 16 | number, at + 8, length

    def _only_zeros(self, at: int, end: int) -> None:
        """Some senders pad files with zeros; anything else after a (0000,0000) is no data set."""
        if end - at > 1 << 20 or self.buffer[at:end].strip(b"\0"):
            raise BadInstance("The element (0000,0000) has no place in a data set.", expression="(0000,0000)")

    def _bad(self, tag: int, scope: _Scope, what: str) -> BadInstance:
        path = "".join(f"{place}/" for place in [scope.path] if place) + f"{tag:08X}"
        return BadInstance(
            f"The element {path} {what}; write the instance again with a conforming encoder.", expression=path
        )


def swapped(raw: bytes, width: int) -> bytes:
    """``raw`` with the bytes of each number of ``width`` bytes turned round; an odd rest is left as it is."""
    whole = len(raw) // width * width
    return np.frombuffer(raw[:whole], f">u{width}").astype(f"<u{width}").tobytes() + raw[whole:]


def _set_scope(scope: _Scope, tag: int, element: dict[str, Any]) -> None:
    values = element.get("Value", [])
    if tag == 0x00080005:
        scope.charset = charset_of(tuple(str(term or "") for term in values))
    else:
        scope.signed = values == [1]


def _dictionary_vr(tag: int, signed: bool) -> str:
    """The VR of implicit elements by the data dictionary (PS3.6); ambiguous ones by PS3.5 annex A.1."""
    entry = DicomDictionary.get(tag)
    if entry is None:
        group, number = tag >> 16, tag & 0xFFFF
        if number == 0:
            return "UL"
        if group & 1:
            return "LO" if 0x10 <= number <= 0xFF else "UN"
        if group == 0xFFFE:
            return ""
        mask = mask_match(tag)
        return "UN" if mask is None else _masked_vr(mask)
    vr: str = entry[0]
    return vr if len(vr) == 2 else _ambiguous(vr, signed)


def _ambiguous(vr: str, signed: bool) -> str:
    if "OW" in vr:
        return "OW"
    if vr == "US or SS":
        return "SS" if signed else "US"
    return "" if vr == "NONE" else "UN"


def _masked_vr(mask: str) -> str:

    vr: str = RepeatersDictionary[mask][0]
    return vr if len(vr) == 2 else "OW"


def _known_text_vr(tag: int) -> str:
    """The VR to read an explicit UN by: the dictionary's where its bytes don't depend on the encoding."""
    entry = DicomDictionary.get(tag)
    return entry[0] if entry is not None and entry[0] in CONVERT else "UN"
