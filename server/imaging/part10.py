"""The DICOM file format (PS3.10 chapter 7): preamble, file meta information, and the data set's transfer syntax."""

import struct
import zlib
from dataclasses import dataclass

from pydicom.uid import AllTransferSyntaxes

from server.errors import BadInstance
from server.imaging.dataset import Buffer

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
#: The four in which pixel data are native: PS3.5 annex A.1 to A.5.
NATIVE = frozenset({IMPLICIT_LITTLE, EXPLICIT_LITTLE, DEFLATED, EXPLICIT_BIG})
#: PS3.6 annex A, transfer syntaxes; a data set in any other can't be read.
KNOWN = frozenset(str(uid) for uid in AllTransferSyntaxes)
#: Names this implementation in files that we write (PS3.10 7.1); a UUID-derived UID of our own.
IMPLEMENTATION_CLASS_UID = "2.25.194629103867352301726021850736920911463"
IMPLEMENTATION_VERSION_NAME = "HUTONG_1"

_CURE = "send a DICOM Part 10 file: 128 bytes, 'DICM', file meta information, data set"
#: File meta information that is larger than this is no honest one.
_MAX_META = 1 << 16


@dataclass(frozen=True, kw_only=True, slots=True)
class FileMeta:
    """What the file meta information says, and where the data set starts in the buffer."""

    transfer_syntax: str
    sop_class: str
    sop_instance: str
    dataset_offset: int


def read_meta(buffer: Buffer, start: int, end: int) -> FileMeta:
    """Reads group 0002 of the file in ``buffer[start:end]``; raises BadInstance."""
    if end - start < 144 or buffer[start + 128 : start + 132] != b"DICM":
        raise BadInstance(f"This is no DICOM file; {_CURE}.", expression="00020000")
    at, values = start + 132, dict[int, str]()
    while at + 8 <= end and buffer[at : at + 2] == b"\x02\x00":
        number, code, length = struct.unpack_from("<H2sH", buffer, at + 2)
        value = at + 8
        if code in (b"OB", b"UN", b"UT", b"UC", b"UR", b"OW", b"SQ"):
            if at + 12 > end:
                raise BadInstance(
                    f"The file ends inside its meta information; {_CURE}.", expression=f"0002{number:04X}"
                )
            length = struct.unpack_from("<I", buffer, at + 8)[0]
            value = at + 12
        if value + length > end or value + length - start > _MAX_META:
            raise BadInstance(
                f"The element 0002{number:04X} declares {length} bytes, which its file has not; {_CURE}.",
                expression=f"0002{number:04X}",
            )
        if number in (0x0002, 0x0003, 0x0010):
            values[number] = buffer[value : value + length].decode("latin_1").strip("\0 ")
        at = value + length
    if 0x0010 not in values:
        raise BadInstance(f"The Transfer Syntax UID is missing; {_CURE}.", expression="00020010")
    syntax = values[0x0010]
    if syntax not in KNOWN:
        raise BadInstance(
            "This transfer syntax is not known; send the instance in Explicit VR Little Endian.",
            expression="00020010",
            reason=0xC122,
        )
    return FileMeta(
        transfer_syntax=syntax,
        sop_class=values.get(0x0002, ""),
        sop_instance=values.get(0x0003, ""),
        dataset_offset=at,
    )


def _element(number: int, vr: bytes, value: bytes) -> bytes:
    value += (b"\0" if vr in (b"UI", b"OB") else b" ") * (len(value) & 1)
    if vr == b"OB":
        return struct.pack("<HH2sHI", 2, number, vr, 0, len(value)) + value
    return struct.pack("<HH2sH", 2, number, vr, len(value)) + value


def write_meta(*, sop_class: str, sop_instance: str, transfer_syntax: str, source_ae: str = "") -> bytes:
    """Preamble and file meta information for a data set that came without (PS3.10 7.1); BadInstance for no UIDs."""
    body = b"".join(
        [
            _element(0x0001, b"OB", b"\0\1"),
            _element(0x0002, b"UI", _uid(sop_class, "00080016")),
            _element(0x0003, b"UI", _uid(sop_instance, "00080018")),
            _element(0x0010, b"UI", transfer_syntax.encode("ascii")),
            _element(0x0012, b"UI", IMPLEMENTATION_CLASS_UID.encode("ascii")),
            _element(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME.encode("ascii")),
            _element(0x0016, b"AE", source_ae.encode("ascii", "replace")[:16]) if source_ae else b"",
        ]
    )
    return b"\0" * 128 + b"DICM" + _element(0x0000, b"UL", struct.pack("<I", len(body))) + body


def _uid(uid: str, place: str) -> bytes:
    if len(uid) > 64 or uid.strip("0123456789."):
        raise BadInstance("It is no UID; correct it.", expression=place, reason=0xA900)
    return uid.encode("ascii")


def inflate(buffer: Buffer, start: int, end: int, *, ratio: int, limit: int) -> bytes:
    """A deflated data set (PS3.5 A.5) inflated; BadInstance beyond ``ratio`` times its size or ``limit`` bytes."""
    allowed = min(limit, ratio * max(end - start, 1024))
    size = _inflated_size(buffer, start, end, allowed)
    # In one piece of its size: pieces and their sum would take twice as much.
    return zlib.decompress(buffer[start:end], -zlib.MAX_WBITS, max(size, 1))


def _inflated_size(buffer: Buffer, start: int, end: int, allowed: int) -> int:
    """Inflates and keeps nothing: a bomb is to cost no memory."""
    inflater, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
    try:
        for at in range(start, end, 1 << 16):
            pending, grown = buffer[at : min(at + (1 << 16), end)], 1
            # As long as something comes out, since some of it may be held back after the last byte went in.
            while (pending or grown) and not inflater.eof:
                grown = len(inflater.decompress(pending, 1 << 18))
                size += grown
                if size > allowed:
                    raise BadInstance(
                        f"The deflated data set grows beyond {allowed} bytes; send it uncompressed.", reason=0xA700
                    )
                pending = inflater.unconsumed_tail
    except zlib.error as error:
        raise BadInstance(f"The deflated data set can't be inflated ({error}); send it again.") from error
    if not inflater.eof:
        raise BadInstance("The deflated data set was cut off; send it whole.")
    return size
