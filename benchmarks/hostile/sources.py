"""Sound and unsound files to start from, each with a map of its elements; and copies under UIDs of their own."""

import re
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pydicom.data
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

_LARGEST = 300_000
_LONG = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
_DELIMITED = 0xFFFFFFFF
_ITEMS = 0xFFFE


@dataclass(frozen=True, kw_only=True, slots=True)
class Element:
    """Where one element is in its file."""

    tag: int
    #: Empty where the file does not say.
    vr: bytes
    start: int
    #: Of the length field, and how many bytes it has.
    length_at: int
    length_size: int
    value: int
    end: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A file as it came, and what is known of it."""

    name: str
    file: bytes
    sop_class: str
    syntax: str
    #: Where the data set starts.
    dataset: int
    elements: tuple[Element, ...]
    little: bool
    explicit: bool


def sources(folder: Path) -> list[Source]:
    """pydicom's test files and a small phantom with its SR, made in ``folder``."""
    phantom = folder / "phantom"
    if not phantom.is_dir():
        command = [sys.executable, "-m", "server", "phantom", str(phantom), "--matrix", "64", "--slices", "12"]
        subprocess.run(command, check=True, capture_output=True)
    tests = Path(pydicom.data.__file__).parent
    paths = sorted(path for path in tests.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc"))
    paths += sorted(phantom.glob("*.dcm"))[:3] + sorted(phantom.glob("truth_sr.dcm"))
    found = (_source(path) for path in paths)
    return [one for one in found if one is not None]


def _source(path: Path) -> Source | None:
    file = path.read_bytes()
    if not 100 < len(file) < _LARGEST or path.suffix in (".txt", ".json", ".dump", ".gz", ".icc"):
        return None
    start = file.find(b"DICM") + 4 if file[128:132] == b"DICM" else 0
    syntax = _value(file, 2, 0x0010)
    dataset = _after_meta(file, start)
    little = syntax != ExplicitVRBigEndian
    explicit = syntax != ImplicitVRLittleEndian and file[dataset + 4 : dataset + 6].isalpha()
    elements: tuple[Element, ...] = ()
    if syntax != DeflatedExplicitVRLittleEndian:
        elements = tuple(_walk(file, dataset, len(file), little=little, explicit=explicit))
    return Source(
        name=path.name, file=file, sop_class=_value(file, 2, 0x0002), syntax=syntax, dataset=dataset,
        elements=elements, little=little, explicit=explicit,
    )  # fmt: skip


def _value(file: bytes, group: int, number: int) -> str:
    """A UID by its header in explicit little endian; empty if it is not there."""
    at = file.find(struct.pack("<HH2s", group, number, b"UI"))
    if at < 0:
        return ""
    length = struct.unpack_from("<H", file, at + 6)[0]
    return file[at + 8 : at + 8 + length].rstrip(b"\0 ").decode("latin_1")


def _after_meta(file: bytes, start: int) -> int:
    at = start
    while at + 12 < len(file) and file[at : at + 2] == b"\x02\x00":
        long = file[at + 4 : at + 6] in _LONG
        length = struct.unpack_from("<I", file, at + 8)[0] if long else struct.unpack_from("<H", file, at + 6)[0]
        at += (12 if long else 8) + length
    return at


def _walk(file: bytes, at: int, end: int, *, little: bool, explicit: bool) -> list[Element]:
    """Every element as far as the file can be followed, those of items too."""
    order, found = "<" if little else ">", list[Element]()
    while at + 8 <= end and len(found) < 5000:
        group, number = struct.unpack_from(order + "HH", file, at)
        vr = file[at + 4 : at + 6] if explicit and group != _ITEMS else b""
        if vr and vr not in _LONG:
            length_at, size, length = at + 6, 2, struct.unpack_from(order + "H", file, at + 6)[0]
        else:
            length_at, size = (at + 8 if vr else at + 4), 4
            if length_at + 4 > end:
                break
            length = struct.unpack_from(order + "I", file, length_at)[0]
        value = length_at + size
        nested = length == _DELIMITED or vr == b"SQ" or (group == _ITEMS and number == 0xE000 and not explicit)
        stop = value if nested else min(end, value + length)
        found.append(
            Element(
                tag=group << 16 | number, vr=vr, start=at, length_at=length_at, length_size=size, value=value, end=stop
            )
        )
        at = stop
    return found


_UID_HEADERS = [
    (struct.pack("<HH", group, number), struct.pack(">HH", group, number))
    for group, number in ((8, 0x18), (0x20, 0x0D), (0x20, 0x0E))
]


def renamed(file: bytes, number: int) -> tuple[bytes, str]:
    """The same under study, series and instance UIDs of its own, of the same lengths; and its SOP Instance UID."""
    uids = {}
    for place, headers in enumerate(_UID_HEADERS):
        for header in headers:
            if (found := re.search(re.escape(header) + rb"(?:UI..|....)([0-9.]{6,64})", file, re.DOTALL)) is not None:
                uids[place] = found[1]
    fresh = {}
    for place, uid in uids.items():
        digits = str(10_000_000 + number * 3 + place)
        fresh[place] = (b"2.25." + b"9" * 64)[: max(6, len(uid) - 8)] + digits.encode()
        fresh[place] = fresh[place][-len(uid) :] if len(uid) < 14 else fresh[place]
        file = file.replace(uid, fresh[place])
    return file, fresh.get(0, b"2.25.1").decode()
