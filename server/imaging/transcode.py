"""An instance in another transfer syntax (PS3.5 annex A, PS3.18 8.7.3.5.2).

Pixels are decoded only where both sides don't hold them alike. What loses something becomes an instance of its own.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from dicom_sr.identity import uid as made_uid
from server.errors import BadInstance, NotAcceptable, Unprocessable
from server.imaging import attributes as read
from server.imaging import decode, encode, encoding, frames, guard, part10
from server.imaging.dataset import UNDEFINED, Attributes, DatasetReader, Span
from server.imaging.decode import Pixels
from server.imaging.encapsulated import fragments, offsets
from server.imaging.encoding import Element, Source
from server.imaging.frames import MOST_FRAMES, PixelFormat
from server.imaging.guard import GuardLimits
from server.imaging.part10 import DEFLATED, EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE, NATIVE
from server.imaging.transfer_syntax import DECODABLE, JPEG_DCT, LOSSY

#: What files can be asked for in; more of them are read.
TARGETS = frozenset({EXPLICIT_LITTLE, IMPLICIT_LITTLE, DEFLATED}) | DECODABLE
_PIXELS, _OFFSETS, _LENGTHS = 0x7FE00010, 0x7FE00001, 0x7FE00002
_LIMITS = GuardLimits(instance_bytes=1 << 40, inflate_ratio=1 << 20, sequence_depth=64)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Instance:
    """What is to be written anew."""

    meta: part10.FileMeta
    reader: DatasetReader
    header: Attributes
    source: Source

    @property
    def pixel(self) -> Span | None:
        return self.reader.bulk.get("7FE00010")


def transcode(file: bytes, target: str, *, uid_root: str = "2.25") -> bytes:
    """The Part 10 file in ``target``; without pixels in Explicit VR Little Endian where ``target`` compresses them.

    What loses something gets a UID under ``uid_root``.
    Raises NotAcceptable for what can't be given so, Unprocessable for what is damaged.
    """
    if target not in TARGETS:
        raise NotAcceptable("Files are not written in this transfer syntax here; ask for transfer-syntax=*.")
    instance = _read(file)
    if instance.pixel is None and target not in NATIVE:
        target = EXPLICIT_LITTLE
    stored = instance.meta.transfer_syntax
    if stored == target:
        return file
    changes = dict[int, Element | None]()
    if instance.pixel is not None and stored in NATIVE and target in NATIVE:
        changes[_PIXELS] = _native(instance, instance.pixel)
    elif instance.pixel is not None:
        changes = _pixels_anew(instance, instance.pixel, target, uid_root)
    uid = changes.get(0x00080018)
    sop_instance = uid.value.decode("ascii").strip("\0") if uid is not None else read.text(instance.header, "00080018")
    meta = part10.write_meta(
        sop_class=read.text(instance.header, "00080016"), sop_instance=sop_instance, transfer_syntax=target
    )
    return meta + encoding.write(instance.source, changes, target)


def _read(file: bytes) -> _Instance:
    try:
        meta, reader, header = guard.read(file, 0, len(file), _LIMITS)
    except BadInstance as error:
        raise Unprocessable(error.details, expression=error.issues[0].expression) from error
    inflated = meta.transfer_syntax == DEFLATED
    source = Source(
        buffer=bytes(reader.buffer) if inflated else file,
        start=0 if inflated else meta.dataset_offset,
        explicit=meta.transfer_syntax != IMPLICIT_LITTLE,
        big_endian=meta.transfer_syntax == EXPLICIT_BIG,
    )
    return _Instance(meta=meta, reader=reader, header=header, source=source)


def _value(instance: _Instance, pixel: Span) -> bytes:
    end = len(instance.source.buffer) if pixel.length == UNDEFINED else pixel.offset + pixel.length
    return instance.source.buffer[pixel.offset : end]


def _native(instance: _Instance, pixel: Span) -> Element:
    """Copied, whatever they are; only big-endian ones have to be understood."""
    raw = _value(instance, pixel)
    if instance.source.big_endian:
        raw = frames.little_endian(raw, frames.pixel_format(instance.header), pixel.vr)
    return Element(vr=pixel.vr if pixel.vr in ("OB", "OW") else "OW", value=raw + b"\0" * (len(raw) & 1))


def _decoded(instance: _Instance, pixel: Span, layout: PixelFormat) -> Iterator[Pixels]:
    """Every frame's pixels, samples side by side."""
    value, syntax = _value(instance, pixel), instance.meta.transfer_syntax
    if syntax in NATIVE:
        if instance.source.big_endian:
            value = frames.little_endian(value, layout, pixel.vr)
        for number in range(1, layout.frames + 1):
            start, count, bit = frames.native_span(layout, number, len(value))
            yield decode.native(frames.aligned(value[start : start + count], layout, bit), layout)
        return
    starts = offsets(_inline(instance, "7FE00001"), "Q")

    def piece(offset: int, length: int) -> bytes:
        return value[offset : offset + length]

    if layout.frames > MOST_FRAMES:
        raise Unprocessable(f"More than {MOST_FRAMES} frames are not transcoded at once.", expression="00280008")
    for found in fragments(piece, layout.frames, range(1, layout.frames + 1), starts):
        frame = b"".join(piece(fragment.offset, fragment.length) for fragment in found)
        yield decode.decode(frame, syntax, layout)


def _inline(instance: _Instance, key: str) -> bytes:
    span = instance.reader.bulk.get(key)
    if span is not None:
        return instance.source.buffer[span.offset : span.offset + span.length]
    return read.binary(instance.header, key)


def _pixels_anew(instance: _Instance, pixel: Span, target: str, uid_root: str) -> dict[int, Element | None]:
    """Pixel data decoded, encoded where ``target`` compresses, and what the header has to say of them."""
    stored, layout = instance.meta.transfer_syntax, frames.pixel_format(instance.header)
    now = decode.decoded_format(stored, layout)
    if target in NATIVE:
        value = b"".join(frame.tobytes() for frame in _decoded(instance, pixel, layout))
        # PS3.5 A.1 and A.2: OW beyond eight bits, and always in implicit VR.
        vr = "OB" if layout.bits_allocated <= 8 and target != IMPLICIT_LITTLE else "OW"
        return (
            _described(layout, now)
            | _once_lossy(instance)
            | {
                _PIXELS: Element(vr=vr, value=value + b"\0" * (len(value) & 1)),
                _OFFSETS: None,
                _LENGTHS: None,
            }
        )
    then = encode.encoded_format(target, now)
    parts = [encode.encode(frame, target, now) for frame in _decoded(instance, pixel, layout)]
    made = encode.encapsulate(parts)
    changes = (
        _described(layout, then)
        | _once_lossy(instance)
        | {
            _PIXELS: Element(vr="OB", value=made.value, encapsulated=True),
            _OFFSETS: Element(vr="OV", value=made.offsets) if made.offsets else None,
            _LENGTHS: Element(vr="OV", value=made.lengths) if made.lengths else None,
        }
    )
    if target in LOSSY:
        changes |= _lossy(instance, target, uid_root, now.size * now.frames / max(sum(map(len, parts)), 1))
    return changes


def _described(before: PixelFormat, after: PixelFormat) -> dict[int, Element | None]:
    """The attributes of the Image Pixel module that the new encoding changes (PS3.3 C.7.6.3)."""
    changes = dict[int, Element | None]()
    if after.samples > 1:
        changes[0x00280006] = Element(vr="US", value=struct.pack("<H", after.planar))
        if after.photometric != before.photometric:
            changes[0x00280004] = _text("CS", after.photometric)
    return changes


def _once_lossy(instance: _Instance) -> dict[int, Element | None]:
    """What came by cosines has lost something, even if its header forgot to say so; only here that is still known."""
    if instance.meta.transfer_syntax not in JPEG_DCT or read.text(instance.header, "00282110") == "01":
        return {}
    return {0x00282110: _text("CS", "01"), 0x00282114: _text("CS", encode.METHODS[instance.meta.transfer_syntax])}


def _lossy(instance: _Instance, target: str, uid_root: str, ratio: float) -> dict[int, Element | None]:
    """A derived image with a UID of its own, always the same (PS3.3 C.7.6.1.1.5)."""
    header = instance.header
    uid, sop_class = read.text(header, "00080018"), read.text(header, "00080016")
    derived = made_uid(uid_root, "lossy", uid, target)
    kinds = ["DERIVED", *[str(value or "") for value in read.values(header, "00080008")[1:]]]
    kinds += ["PRIMARY"] if len(kinds) == 1 else []
    ratios = [*[str(value) for value in read.values(header, "00282112")], f"{ratio:.6g}"]
    methods = [*[str(value) for value in read.values(header, "00282114")], encode.METHODS[target]]
    item = _short(0x0008, 0x1150, "UI", sop_class) + _short(0x0008, 0x1155, "UI", uid)
    return {
        0x00080008: _text("CS", "\\".join(kinds)),
        0x00080018: _text("UI", derived),
        0x00082111: _text("ST", f"Lossy compression, {encode.METHODS[target]}, about {ratio:.1f}:1"),
        0x00082112: Element(vr="SQ", value=struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item),
        0x00282110: _text("CS", "01"),
        0x00282112: _text("DS", "\\".join(ratios)),
        0x00282114: _text("CS", "\\".join(methods)),
    }


def _text(vr: str, text: str) -> Element:
    value = text.encode("ascii", "replace")
    return Element(vr=vr, value=value + (b"\0" if vr == "UI" else b" ") * (len(value) & 1))


def _short(group: int, number: int, vr: str, text: str) -> bytes:
    """An element of an item, in explicit VR: what compresses is always explicit (PS3.5 A.4)."""
    value = _text(vr, text).value
    return struct.pack("<HH2sH", group, number, vr.encode("ascii"), len(value)) + value
