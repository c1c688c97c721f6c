"""Checks the bytes of an instance before anything else reads them.

pydicom truncates a value that declares more bytes than follow, swallows deflate bombs and recurses without limit; so
nothing reaches it that has not passed here. Every refusal is a BadInstance with tag path, Failure Reason and cure.
"""

import re
from dataclasses import dataclass

from pydicom.uid import UID_dictionary

from server.errors import BadInstance
from server.imaging import part10
from server.imaging.dataset import Attributes, Buffer, DatasetReader, Limits, Span
from server.imaging.memo import Memo

#: PS3.6 table A-1: SOP Classes that are no instance's: queries, print, commitment ..., and DICOMDIR (PS3.10 8.6).
_NOT_STORED = frozenset(
    uid
    for uid, entry in UID_dictionary.items()
    if entry[1] in ("SOP Class", "Meta SOP Class")
    and (" Storage" not in entry[0] or entry[0].startswith(("Storage Commitment", "Media Storage Directory")))
)
_UID = re.compile(r"[0-9.]{1,64}", re.ASCII)
#: Ceiling for an inflated data set, which is held in memory, bytes.
MAX_INFLATED = 192 << 20
#: Largest native size of all frames that decoding may be asked for, bytes.
MAX_DECODED = 8 << 30


@dataclass(frozen=True, kw_only=True, slots=True)
class GuardLimits:
    """What one instance may ask of us; from Settings."""

    instance_bytes: int = 2 << 30
    inflate_ratio: int = 200
    sequence_depth: int = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class Sound:
    """An instance that passed: its identity, its whole header, and where its pixels are."""

    sop_class: str
    sop_instance: str
    series: str
    study: str
    transfer_syntax: str
    #: From the start of the file.
    dataset_offset: int
    #: PS3.18 annex F; bulk data as references that start with ``dataset.BULK``.
    attributes: Attributes
    #: Offset from the start of the file; None without pixel data, or where they are deflated.
    pixel: Span | None


def read(
    buffer: Buffer, start: int, end: int, limits: GuardLimits, memo: Memo | None = None
) -> tuple[part10.FileMeta, DatasetReader, Attributes]:
    """Reads the file in ``buffer[start:end]``, checking as it goes; raises BadInstance.

    The spans of the reader count from ``start``, except in a deflated data set, where they count inside
    ``reader.buffer``.
    """
    if end - start > limits.instance_bytes:
        raise too_large(limits)
    meta = part10.read_meta(buffer, start, end)
    bounds = Limits(depth=limits.sequence_depth)
    if meta.transfer_syntax == part10.DEFLATED:
        inflated = part10.inflate(
            buffer, meta.dataset_offset, end, ratio=limits.inflate_ratio, limit=min(MAX_INFLATED, limits.instance_bytes)
        )
        reader = DatasetReader(inflated, bounds)
        return meta, reader, reader.read(0, len(inflated), explicit=True)
    reader = DatasetReader(buffer, bounds, big_endian=meta.transfer_syntax == part10.EXPLICIT_BIG, memo=memo)
    explicit = meta.transfer_syntax != part10.IMPLICIT_LITTLE
    return meta, reader, reader.read(meta.dataset_offset, end, explicit=explicit)


def check(buffer: Buffer, start: int, end: int, limits: GuardLimits, memo: Memo | None = None) -> Sound:
    """The instance in ``buffer[start:end]``, if it is sound; raises BadInstance.

    With a memo its attributes are shared with other instances and must not be changed.
    """
    meta, reader, attributes = read(buffer, start, end, limits, memo)
    pixel = reader.bulk.get("7FE00010")
    if pixel is not None:
        deflated = meta.transfer_syntax == part10.DEFLATED
        pixel = None if deflated else Span(vr=pixel.vr, offset=pixel.offset - start, length=pixel.length)
        _check_pixel_encoding(meta.transfer_syntax, reader.bulk["7FE00010"])
    return Sound(
        sop_class=_sop_class(attributes),
        sop_instance=_uid(attributes, "00080018", "SOP Instance UID"),
        series=_uid(attributes, "0020000E", "Series Instance UID"),
        study=_uid(attributes, "0020000D", "Study Instance UID"),
        transfer_syntax=meta.transfer_syntax,
        dataset_offset=meta.dataset_offset - start,
        attributes=attributes,
        pixel=pixel,
    )


def _check_pixel_encoding(transfer_syntax: str, pixel: Span) -> None:
    encapsulated = pixel.length == 0xFFFFFFFF
    if encapsulated and transfer_syntax in part10.NATIVE:
        raise BadInstance(
            "Pixel Data are encapsulated under a transfer syntax that is not; name the right one in 00020010.",
            expression="7FE00010",
        )


def too_large(limits: GuardLimits) -> BadInstance:
    """The refusal of an instance beyond the size limit (PS3.4 B.2.3: Refused: Out of Resources)."""
    return BadInstance(
        f"The instance is larger than {limits.instance_bytes} bytes; raise max_instance_bytes or split it.",
        reason=0xA700,
    )


def _sop_class(attributes: Attributes) -> str:
    found = _uid(attributes, "00080016", "SOP Class UID")
    if found in _NOT_STORED:
        raise BadInstance("This SOP Class is not one of instances.", expression="00080016", reason=0x0122)
    return found


def _uid(attributes: Attributes, key: str, name: str) -> str:
    values = attributes.get(key, {}).get("Value") or [""]
    value = values[0]
    if len(values) != 1 or not isinstance(value, str) or not _UID.fullmatch(value):
        problem = "is missing" if value in ("", None) else "is no UID"
        raise BadInstance(f"The {name} {problem}; every instance needs it.", expression=key, reason=0xA900)
    return value
