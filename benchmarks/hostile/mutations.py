"""Damage by one who knows how the files are built: PS3.5 chapter 7 and annex A, PS3.10 chapter 7."""

import random
import struct
import zlib
from collections.abc import Callable

from pydicom.uid import UID_dictionary

from benchmarks.hostile.sources import Element, Source

Mutation = Callable[[random.Random, bytearray, Source], None]

_LENGTHS = (
    0,
    1,
    3,
    0x7F,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFE,
    0xFFFF,
    0x10000,
    0x7FFFFFFE,
    0x7FFFFFFF,
    0xFFFFFFFE,
    0xFFFFFFFF,
)
_VRS = (
    b"AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN UR US UT UV"
    b" zz ?? \0\0 \xff\xff O@".split(b" ")
)
_SYNTAXES = [uid for uid, entry in UID_dictionary.items() if entry[1] == "Transfer Syntax"]
_ITEM, _ITEM_END, _SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0", b"\xfe\xff\xdd\xe0"
_POLYGLOTS = (
    b"%PDF-1.7\n", b"\x7fELF\x02\x01\x01", b"MZ\x90\0", b"<!DOCTYPE html><script>alert(1)</script>", b"PK\x03\x04",
    b"II*\0\x08\0\0\0", b"MM\0*", b"GIF89a", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"#!/bin/sh\n", b"\x1f\x8b\x08",
    b"<?xml version='1.0'?>", b"{", b"DICM" * 32,
)  # fmt: skip
#: What an element of pixel description may claim: by tag.
_SHAPES: dict[int, tuple[object, ...]] = {
    0x00280002: (0, 2, 3, 4, 255, 65535),
    0x00280004: ("", "RGB", "MONOCHROME1", "PALETTE COLOR", "YBR_FULL_422", "YBR_RCT", "YBR_ICT", "XYZZY", "\x1b$B"),
    0x00280006: (0, 1, 2, 65535),
    0x00280008: ("", "0", "-1", "2", "1000", "2147483647", "99999999999", "1e3", "1\\2", "x", "٣"),
    0x00280010: (0, 1, 7, 513, 32768, 65535),
    0x00280011: (0, 1, 7, 513, 32768, 65535),
    0x00280100: (0, 1, 3, 7, 8, 12, 16, 24, 32, 64, 65535),
    0x00280101: (0, 1, 7, 8, 12, 16, 17, 65535),
    0x00280102: (0, 7, 15, 16, 65535),
    0x00280103: (0, 1, 2, 65535),
    0x00281050: ("", "nan", "1e999", "-1e308\\1e308", "x", "1\\2\\3"),
    0x00281051: ("", "0", "-1", "nan", "1e-320", "inf", "x"),
    0x00281052: ("", "nan", "1e999", "x"),
    0x00281053: ("", "0", "nan", "1e999", "-0"),
    0x00281101: (0, 65535),
    0x00280009: (0, 65535),
    0x00181063: ("", "0", "-1", "1e-9", "nan"),
}
_CHARSETS = (
    "ISO 2022 IR 87", "\\ISO 2022 IR 87\\ISO 2022 IR 159", "GB18030", "GBK", "ISO_IR 192", "ISO_IR 13", "ISO_IR 999",
    "ISO 2022 IR 6\\ISO 2022 IR 149", "GB18030\\ISO 2022 IR 58", "..\\..", "utf-8", "idna", "unicode_escape", "zlib", "",
    "\\" * 500, "ISO_IR 100\\" * 800,
)  # fmt: skip
_TEXTS = (
    b"\x1b$B\x1b(B", b"\x1b$B;3ED\x1b", b"\x1b" * 40, b"\x1b$)C\xfb\xf3", b"\xff\xfe\xfd", b"\xf0\x9f\x98", b"=" * 9,
    b"^" * 70, b"\\" * 200, b"\0" * 16, b"\x1b%/1\x80", b"A" * 66_000, b"\xed\xa0\x80\xed\xb0\x80", b"\r\n\r\n--hostile\r\n",
)  # fmt: skip
_UIDS = (
    b"../../../../etc/passwd", b"1.2.3\x00.4", b"1.2." + b"3" * 80, b"", b"1..2", b"1.2.3 ", b"%2e%2e%2f", b"1.2\\1.3",
    b"'; drop table instance; --", b"1.2.\xd9\xa3", b"*", b"?", b".", b"1.02.3", b"urn:oid:1.2", b"1.2.3\n", b"/",
)  # fmt: skip


def mutate(seed: int, number: int, source: Source, file: bytes) -> tuple[bytes, str]:
    """The file with one to three kinds of damage, and their names; the same for the same arguments."""
    chance = random.Random(f"{seed}:{number}")
    mutant, names = bytearray(file), list[str]()
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        name = chance.choice(_CHOICES)
        names.append(name)
        MUTATIONS[name](chance, mutant, source)
    return bytes(mutant[: 8 << 20]), "+".join(names)


def _any(chance: random.Random, source: Source) -> Element | None:
    return chance.choice(source.elements) if source.elements else None


def _pack(source: Source, form: str, *values: int) -> bytes:
    return struct.pack(("<" if source.little else ">") + form, *values)


def _header(source: Source, tag: int, vr: bytes, length: int) -> bytes:
    start = _pack(source, "HH", tag >> 16, tag & 0xFFFF)
    if not source.explicit:
        return start + _pack(source, "I", length)
    if vr in (b"SQ", b"UN", b"OB", b"OW", b"UT", b"UC", b"UR"):
        return start + vr + b"\0\0" + _pack(source, "I", length)
    return start + vr + _pack(source, "H", length & 0xFFFF)


def _put(source: Source, mutant: bytearray, tag: int, vr: bytes, value: bytes) -> None:
    """Sets an element: in place of the first with this tag, or where it belongs in the order."""
    whole = _header(source, tag, vr, len(value)) + value
    for element in source.elements:
        if element.tag == tag:
            mutant[element.start : element.end] = whole
            return
        if element.tag > tag:
            mutant[element.start : element.start] = whole
            return
    mutant += whole


def _length(chance: random.Random, mutant: bytearray, source: Source) -> None:
    if (element := _any(chance, source)) is None:
        return
    real = element.end - element.value
    value = chance.choice((*_LENGTHS, real + 1, real - 1, real + 2, max(0, len(mutant) - element.value) + 2, real * 2))
    form, mask = ("H", 0xFFFF) if element.length_size == 2 else ("I", 0xFFFFFFFF)
    mutant[element.length_at : element.length_at + element.length_size] = _pack(source, form, value & mask)


def _vr(chance: random.Random, mutant: bytearray, source: Source) -> None:
    if (element := _any(chance, source)) is not None:
        mutant[element.start + 4 : element.start + 6] = chance.choice(_VRS)


def _tag(chance: random.Random, mutant: bytearray, source: Source) -> None:
    if (element := _any(chance, source)) is not None:
        tag = chance.choice((0, 0x00020010, 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD, 0xFFFFFFFF, 0x00080005, 0x7FE00010))
        mutant[element.start : element.start + 4] = _pack(source, "HH", tag >> 16, tag & 0xFFFF)


def _nest(chance: random.Random, mutant: bytearray, source: Source) -> None:
    """Sequences in sequences, of defined or undefined length, closed or not."""
    depth = chance.choice((8, 31, 32, 33, 34, 100, 1000, 10_000))
    sequence = _header(source, 0x00081115, b"SQ", 0)[:-4]
    item = _pack(source, "HH", 0xFFFE, 0xE000)
    level = len(sequence) + 12
    if chance.random() < 0.5:
        undefined = b"\xff" * 4
        nested = (sequence + undefined + item + undefined) * depth
        if chance.random() < 0.7:
            ends = (0xFFFE, 0xE00D, 0, 0, 0xFFFE, 0xE0DD, 0, 0)
            nested += _pack(source, "8H", *ends) * depth
    else:
        sizes = range(level * (depth - 1), -1, -level)
        nested = b"".join(sequence + _pack(source, "I", n + 8) + item + _pack(source, "I", n) for n in sizes)
    place = _any(chance, source)
    at = place.start if place is not None else source.dataset
    mutant[at:at] = nested


def _order(chance: random.Random, mutant: bytearray, source: Source) -> None:
    """An element doubled, moved or gone."""
    one, other = _any(chance, source), _any(chance, source)
    if one is None or other is None:
        return
    piece = bytes(mutant[one.start : one.end])
    if chance.random() < 0.6:
        mutant[other.start : other.start] = piece * chance.choice((1, 1, 2, 50))
    else:
        del mutant[one.start : one.end]


def _delimiters(chance: random.Random, mutant: bytearray, source: Source) -> None:
    wanted = chance.choice((_ITEM, _ITEM_END, _SEQUENCE_END))
    at = mutant.find(wanted, chance.randrange(max(1, len(mutant))))
    at = at if at >= 0 else mutant.find(wanted)
    if at >= 0 and chance.random() < 0.7:
        del mutant[at : at + 8]
    else:
        at = chance.randrange(source.dataset, max(source.dataset + 1, len(mutant)))
        mutant[at:at] = wanted + struct.pack("<I", chance.choice((0, 0, 1, 8, 0xFFFFFFFF)))


def _fragments(chance: random.Random, mutant: bytearray, source: Source) -> None:
    """Pixel data as encapsulated nonsense: offset tables that lie, odd and huge fragments, none at all."""
    stream = bytes(chance.randbytes(chance.choice((0, 2, 40, 400))))
    table = chance.choice((b"", b"\0" * 4, b"\xff" * 4, struct.pack("<3I", 0, 99999, 4), b"\0" * 4000, b"\1\2\3"))
    sizes = (len(stream), len(stream) + 1, 0, 0xFFFFFFFF, 0xFFFFFFFE, 0x7FFFFFFF)
    pixels = struct.pack("<HH2s2xI", 0x7FE0, 0x0010, b"OB", 0xFFFFFFFF)
    pixels += _ITEM + struct.pack("<I", len(table)) + table
    for _ in range(chance.choice((0, 1, 2, 3, 300))):
        pixels += _ITEM + struct.pack("<I", chance.choice(sizes)) + stream
    pixels += chance.choice((_SEQUENCE_END + b"\0" * 4, b"", _SEQUENCE_END, _SEQUENCE_END + b"\xff" * 4))
    at = next((one.start for one in source.elements if one.tag == 0x7FE00010), len(mutant))
    mutant[at:] = pixels


def _codestream(chance: random.Random, mutant: bytearray, _source: Source) -> None:
    """Damage in the compressed or native pixels alone: sizes in JPEG's, JPEG-LS's and JPEG 2000's headers."""
    marks = [
        mutant.find(mark) for mark in (b"\xff\xc0", b"\xff\xc3", b"\xff\xf7", b"\xff\x51", b"\xff\xc4", b"\xff\xda")
    ]
    marks = [at for at in marks if at >= 0] or [max(0, len(mutant) - 400)]
    at = chance.choice(marks) + 2
    for _ in range(chance.randint(1, 4)):
        place = min(at + chance.randrange(40), len(mutant) - 4)
        scrap = chance.choice((b"\xff\xff", b"\0\0", b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", chance.randbytes(2)))
        mutant[place : place + len(scrap)] = scrap


def _shape(chance: random.Random, mutant: bytearray, source: Source) -> None:
    for tag in chance.sample(list(_SHAPES), chance.choice((1, 1, 2, 4))):
        value = chance.choice(_SHAPES[tag])
        if isinstance(value, int):
            _put(source, mutant, tag, b"AT" if tag == 0x00280009 else b"US", _pack(source, "H", value))
        else:
            text = str(value).encode("utf-8")
            vr = b"CS" if tag == 0x00280004 else b"IS" if tag == 0x00280008 else b"DS"
            _put(source, mutant, tag, vr, text + b" " * (len(text) & 1))


def _charset(chance: random.Random, mutant: bytearray, source: Source) -> None:
    _put(source, mutant, chance.choice((0x00100010, 0x00081030, 0x00104000)), b"PN", chance.choice(_TEXTS))
    if chance.random() < 0.7:
        text = chance.choice(_CHARSETS).encode()
        _put(source, mutant, 0x00080005, b"CS", text + b" " * (len(text) & 1))


def _text(chance: random.Random, mutant: bytearray, source: Source) -> None:
    if (element := _any(chance, source)) is not None:
        value = chance.choice(_TEXTS)
        vr = element.vr or b"LO"
        mutant[element.start : element.end] = _header(source, element.tag, vr, len(value)) + value


def _uid(chance: random.Random, mutant: bytearray, source: Source) -> None:
    value = chance.choice(_UIDS)
    tag = chance.choice((0x00080016, 0x00080018, 0x0020000D, 0x0020000E))
    _put(source, mutant, tag, b"UI", value + b"\0" * (len(value) & 1))


def _meta(chance: random.Random, mutant: bytearray, source: Source) -> None:
    """Group 0002: lengths, versions, things that do not belong there."""
    kind = chance.randrange(5)
    if kind == 0 and len(mutant) > 148:
        mutant[140:144] = struct.pack("<I", chance.choice((0, 1, 100_000, 0x7FFFFFFF, 0xFFFFFFFF)))
    elif kind == 1:
        del mutant[132 : chance.randint(132, max(133, source.dataset))]
    elif kind == 2:
        mutant[source.dataset : source.dataset] = struct.pack("<HH2sH", 2, 0x0100, b"UI", 70) + b"1.2.3" * 14
    elif kind == 3:
        mutant[source.dataset : source.dataset] = struct.pack("<HH2s2xI", 2, 0x0102, b"OB", 0xFFFFFFF0)
    else:
        at = chance.randrange(128, max(129, source.dataset))
        mutant[at : at + 2] = chance.randbytes(2)


def _syntax(chance: random.Random, mutant: bytearray, source: Source) -> None:
    """Another transfer syntax than that of the data set, one that is none, or a data set deflated in vain."""
    uid = chance.choice((*_SYNTAXES, "1.2.3", "", "1.2.840.10008.1.2.1 ", "../x")).encode()
    uid += b"\0" * (len(uid) & 1)
    at = mutant.find(b"\x02\x00\x10\x00UI")
    if at >= 0:
        length = struct.unpack_from("<H", mutant, at + 6)[0]
        mutant[at + 6 : at + 8 + length] = struct.pack("<H", len(uid)) + uid
    if chance.random() < 0.1:
        mutant[source.dataset :] = zlib.compress(bytes(mutant[source.dataset :]))[2:-4]


def _preamble(chance: random.Random, mutant: bytearray, _source: Source) -> None:
    kind = chance.random()
    if kind < 0.7:
        polyglot = chance.choice(_POLYGLOTS)
        mutant[: len(polyglot)] = polyglot
    elif kind < 0.85:
        del mutant[: chance.choice((1, 127, 128, 132))]
    else:
        mutant[128:132] = chance.choice((b"dicm", b"DICN", b"\0\0\0\0"))


def _cut(chance: random.Random, mutant: bytearray, _source: Source) -> None:
    del mutant[chance.randrange(len(mutant) + 1) :]


def _private(chance: random.Random, mutant: bytearray, source: Source) -> None:
    """Private creators that are missing, doubled, or of odd groups (PS3.5 7.8)."""
    group = chance.choice((0x0009, 0x0001, 0x0003, 0x0007, 0x7FE1, 0xFFFD, 0x0011))
    creator = chance.choice((b"", b"HOSTILE", b"\\" * 30, b"A" * 65, b"\x1b$B", b"\0\0"))
    vr = chance.choice((b"LO", b"UN", b"SQ", b"OB"))
    whole = _header(source, group << 16 | chance.choice((0x10, 0xFF, 0x00, 0x09)), vr, len(creator)) + creator
    whole += _header(source, group << 16 | chance.choice((0x1001, 0xFF00, 0x0001)), b"UN", 4) + b"abcd"
    at = next((one.start for one in source.elements if one.tag >> 16 >= group), len(mutant))
    mutant[at:at] = whole * chance.choice((1, 1, 2, 256))


def _noise(chance: random.Random, mutant: bytearray, _source: Source) -> None:
    for _ in range(chance.randint(1, 30)):
        if mutant:
            mutant[chance.randrange(len(mutant))] = chance.randrange(256)


def _grow(chance: random.Random, mutant: bytearray, source: Source) -> None:
    """Very many small elements, items or values."""
    count = chance.choice((1000, 20_000, 60_000))
    kind = chance.randrange(3)
    if kind == 0:
        piece = _header(source, 0x00081115, b"SQ", 8 * count) + _pack(source, "4H", 0xFFFE, 0xE000, 0, 0) * count
    elif kind == 1:
        piece = b"".join(_header(source, 0x00091000 + n, b"LO", 0) for n in range(min(count, 0xE000)))
    else:
        piece = _header(source, 0x00082218, b"UC", 2 * count) + b"1\\" * count
    at = next((one.start for one in source.elements if one.tag > 0x00091000), len(mutant))
    mutant[at:at] = piece


MUTATIONS: dict[str, Mutation] = {
    "length": _length, "vr": _vr, "tag": _tag, "nest": _nest, "order": _order, "delimiters": _delimiters,
    "fragments": _fragments, "codestream": _codestream, "shape": _shape, "charset": _charset, "text": _text,
    "uid": _uid, "meta": _meta, "syntax": _syntax, "preamble": _preamble, "cut": _cut, "private": _private,
    "noise": _noise, "grow": _grow,
}  # fmt: skip
#: What passes the door and reaches decoders comes more often.
_CHOICES = (*MUTATIONS, "shape", "shape", "codestream", "codestream", "fragments", "charset", "syntax")
