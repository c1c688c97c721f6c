"""An instance out of its metadata and its bulk data, as PS3.18 10.5 lets a client send them apart.

The metadata are DICOM JSON; what is big stays where it is until it is copied, piece by piece, behind its header.
"""

import base64
import re
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from server.errors import BadInstance, BadRequest
from server.imaging import dataset_writer, part10, transfer_syntax
from server.imaging.charset import charset_of
from server.imaging.dataset import UNDEFINED, Attributes
from server.imaging.json_model import BYTES, CONVERT

#: PS3.18 table 8.7.3-5: what a compressed media type means where it names no transfer syntax.
_DEFAULTS = {
    "image/jpeg": transfer_syntax.JPEG_LOSSLESS_SV1,
    "image/dicom-rle": transfer_syntax.RLE,
    "image/jls": transfer_syntax.JPEG_LS_LOSSLESS,
    "image/jp2": transfer_syntax.JPEG_2000_LOSSLESS,
    "image/jpx": "1.2.840.10008.1.2.4.92",
    "image/jphc": transfer_syntax.HTJ2K_LOSSLESS,
    "video/mpeg": "1.2.840.10008.1.2.4.100",
    "video/mp4": "1.2.840.10008.1.2.4.102",
}
_TAG = re.compile(r"[0-9A-F]{8}", re.ASCII)
#: Bytes of one value that is not copied in pieces: those inside sequences, and those that are no bytes.
_LARGEST_VALUE = 16 << 20
_PIXELS = "7FE00010"
#: The longest value that a 32-bit length can say; the last one means undefined.
_LONGEST = UNDEFINED - 1
_UTF8 = charset_of(("ISO_IR 192",))
_ITEM = struct.Struct("<HHI")
#: PS3.5 table 7.1-1: VRs with two reserved bytes and a 32-bit length.
_LONG = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Bulk:
    """One part of bulk data."""

    media_type: str
    #: As the part names it; empty where it doesn't.
    transfer_syntax: str
    length: int
    #: The bytes in pieces, as often as asked.
    read: Callable[[], Iterator[bytes]]


def assemble(metadata: Attributes, bulk: Mapping[str, Sequence[Bulk]], depth: int) -> tuple[str, str, Iterator[bytes]]:
    """SOP Class and Instance UID, and the Part 10 file in pieces; ``bulk`` is by the URI that the metadata name.

    Raises BadInstance with the place.
    """
    metadata = {tag: element for tag, element in metadata.items() if not tag.startswith("0002")}
    _check(metadata, depth, "")
    large: dict[str, Sequence[Bulk]] = {}
    small = _resolve(metadata, bulk, large, "")
    syntax = _syntax(large.get(_PIXELS, ()))
    for tag, parts in large.items():
        if sum(part.length for part in parts) > _LONGEST and not _is_compressed(tag, parts):
            raise BadInstance("The value is too long for its encoding; send it compressed.", expression=tag)
    try:
        encoded = dataset_writer.write(small, character_set=("ISO_IR 192",))
    except BadRequest as error:
        raise BadInstance(error.details, expression=error.issues[0].expression) from error
    uids = [_uid(metadata, tag) for tag in ("00080016", "00080018")]
    head = part10.write_meta(sop_class=uids[0], sop_instance=uids[1], transfer_syntax=syntax)
    return uids[0], uids[1], _file(head, encoded, metadata, large)


def _check(attributes: object, depth: int, path: str) -> None:
    """The shape of PS3.18 annex F.2, before anything relies on it."""
    if not isinstance(attributes, dict):
        raise BadInstance("A data set is an object of elements (PS3.18 F.2).", expression=path)
    for tag, element in attributes.items():
        place = f"{path}/{tag}".lstrip("/")
        if not _TAG.fullmatch(tag) or not isinstance(element, dict) or not _is_vr(element.get("vr")):
            raise BadInstance("An element is an object under its tag, with a vr (PS3.18 F.2.2).", expression=place)
        values = element.get("Value", [])
        if not isinstance(values, list) or len({"Value", "InlineBinary", "BulkDataURI"} & element.keys()) > 1:
            raise BadInstance("An element has one of Value (an array), InlineBinary, BulkDataURI.", expression=place)
        if "InlineBinary" in element and not _is_base64(element["InlineBinary"]):
            raise BadInstance("InlineBinary is base64 (PS3.18 F.2.7).", expression=place)
        if element["vr"] == "SQ":
            if depth <= 0:
                raise BadInstance("Sequences are nested too deeply.", expression=place)
            for number, item in enumerate(values, 1):
                _check(item or {}, depth - 1, f"{place}/{number}")


def _is_base64(value: object) -> bool:
    try:
        return isinstance(value, str) and base64.b64decode(value, validate=True) is not None
    except ValueError:
        return False


def _is_vr(vr: object) -> bool:
    return vr == "SQ" or vr in BYTES or vr in CONVERT


def _resolve(
    attributes: Attributes, bulk: Mapping[str, Sequence[Bulk]], large: dict[str, Sequence[Bulk]], path: str
) -> Attributes:
    """The attributes with their bulk data in place; those of the outermost level that are bytes go to ``large``."""
    resolved: Attributes = {}
    for tag, element in attributes.items():
        place = f"{path}/{tag}".lstrip("/")
        if element["vr"] == "SQ":
            items = [
                _resolve(item or {}, bulk, {}, f"{place}/{number}")
                for number, item in enumerate(element.get("Value", []), 1)
            ]
            resolved[tag] = element | {"Value": items}
        elif "BulkDataURI" in element:
            parts = _parts(str(element["BulkDataURI"]), bulk, place)
            if not path and element["vr"] in BYTES:
                large[tag] = parts
            else:
                resolved[tag] = _inline(element["vr"], parts, place)
        else:
            resolved[tag] = element
    return resolved


def _parts(uri: str, bulk: Mapping[str, Sequence[Bulk]], place: str) -> Sequence[Bulk]:
    """The parts of a URI: one, or the frames in their order, each a part or each under its number."""
    if found := bulk.get(uri):
        return found
    frames: list[Bulk] = []
    while one := bulk.get(f"{uri}/frames/{len(frames) + 1}"):
        frames += one
    if not frames:
        raise BadInstance("The bulk data that the metadata refer to did not come with them.", expression=place)
    return frames


def _inline(vr: str, parts: Sequence[Bulk], place: str) -> dict[str, Any]:
    if sum(part.length for part in parts) > _LARGEST_VALUE:
        raise BadInstance(f"A value here must not be longer than {_LARGEST_VALUE} bytes.", expression=place)
    raw = b"".join(piece for part in parts for piece in part.read())
    if vr in CONVERT:
        return {"vr": vr, "Value": CONVERT[vr](raw, _UTF8)}
    return {"vr": vr, "InlineBinary": base64.b64encode(raw).decode("ascii")}


def _syntax(parts: Sequence[Bulk]) -> str:
    """The transfer syntax by what the pixel data came as."""
    named = {part.transfer_syntax or _DEFAULTS.get(part.media_type, part10.EXPLICIT_LITTLE) for part in parts}
    if len(named) > 1:
        raise BadInstance("The frames came in several transfer syntaxes.", expression=_PIXELS)
    syntax = named.pop() if named else part10.EXPLICIT_LITTLE
    if syntax not in part10.KNOWN or syntax in part10.NATIVE - {part10.EXPLICIT_LITTLE}:
        raise BadInstance("Pixel data apart come in Explicit VR Little Endian, or compressed.", expression=_PIXELS)
    return syntax


def _is_compressed(tag: str, parts: Sequence[Bulk]) -> bool:
    return tag == _PIXELS and _syntax(parts) != part10.EXPLICIT_LITTLE


def _uid(attributes: Attributes, tag: str) -> str:
    values = attributes.get(tag, {}).get("Value") or [""]
    return str(values[0] or "")[:64] if str(values[0]).isascii() else ""


def _file(head: bytes, encoded: bytes, metadata: Attributes, large: Mapping[str, Sequence[Bulk]]) -> Iterator[bytes]:
    yield head
    at = 0
    for tag in sorted(large):
        number = int(tag, 16)
        start, at = at, _place(encoded, at, number)
        yield encoded[start:at]
        compressed = _is_compressed(tag, large[tag])
        vr = "OB" if compressed else metadata[tag]["vr"]
        yield from _value(number, vr, large[tag], compressed=compressed)
    yield encoded[at:]


def _value(number: int, vr: str, parts: Sequence[Bulk], *, compressed: bool) -> Iterator[bytes]:
    length = sum(part.length for part in parts)
    size = UNDEFINED if compressed else length + (length & 1)
    yield struct.pack("<HH2sHI", number >> 16, number & 0xFFFF, vr.encode("ascii"), 0, size)
    if compressed:
        yield _ITEM.pack(0xFFFE, 0xE000, 0)
    for part in parts:
        if compressed:
            yield _ITEM.pack(0xFFFE, 0xE000, part.length + (part.length & 1))
        yield from part.read()
        if part.length & 1 and (compressed or part is parts[-1]):
            yield b"\0"
    if compressed:
        yield _ITEM.pack(0xFFFE, 0xE0DD, 0)


def _place(encoded: bytes, at: int, tag: int) -> int:
    """Where in a data set that ``dataset_writer`` wrote an element of this tag belongs."""
    while at < len(encoded):
        group, number, vr, short = struct.unpack_from("<HH2sH", encoded, at)
        if group << 16 | number > tag:
            break
        if vr in _LONG:
            at += 12 + struct.unpack_from("<I", encoded, at + 8)[0]
        else:
            at += 8 + short
    return at
