"""Instances whose pixels or compression claim to be much more than the file."""

import struct
import zlib
from collections.abc import Iterator

from benchmarks.hostile.mutants import sound

_JPEG, _JPEG_LOSSLESS, _JPEG_LS = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.80"
_J2K, _HTJ2K, _RLE = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.5"
_DEFLATED = "1.2.840.10008.1.2.1.99"
_number = iter(range(60_000_000, 61_000_000))


def plain() -> bytes:
    """A sound one."""
    return sound(next(_number))


def files() -> Iterator[tuple[str, bytes]]:
    """Every bomb under its name."""
    yield "deflate: 1 GB of zeros", _deflated(b"\0" * (64 << 20), 16)
    yield "deflate: 200 MB of elements", _deflated(struct.pack("<HH2sH", 9, 0x1001, b"LO", 0) * (1 << 20), 24)
    for name, syntax, stream in _streams():
        yield f"{name}, honest header", _encapsulated(syntax, [stream])
        yield f"{name}, giant header", _encapsulated(syntax, [stream], rows=65535, columns=65535)
        yield f"{name}, 2 billion frames", _encapsulated(syntax, [stream], frames="2147483647")
        yield (
            f"{name}, 10,000 frames of 65535",
            _encapsulated(syntax, [stream], rows=65535, columns=65535, frames="10000"),
        )
    yield "native: giant header", _shaped(sound(next(_number)), 65535, 65535)
    yield "native: 2 billion frames", _with_frames(sound(next(_number)), "2147483647")
    yield "native: 60,000 frames of nothing", _with_frames(_shaped(sound(next(_number)), 0, 0), "60000")
    yield "100,000 fragments", _encapsulated(_JPEG, [b"\xff\xd8"] * 100_000)
    yield "100,000 frames of two bytes", _encapsulated(_RLE, [b"\0\0"] * 100_000, frames="100000")
    yield "offset table of 8 MB", _encapsulated(_JPEG, [b"\xff\xd8\xff\xd9"], table=b"\0" * (8 << 20))


def _streams() -> Iterator[tuple[str, str, bytes]]:
    sof = struct.pack(">2sHBHHB3s", b"\xff\xc0", 11, 8, 65535, 65535, 1, b"\1\x11\0")
    yield "JPEG", _JPEG, b"\xff\xd8" + sof + b"\xff\xda\0\x08\1\1\0\0\x3f\0" + bytes(64) + b"\xff\xd9"
    sof = struct.pack(">2sHBHHB3s", b"\xff\xc3", 11, 16, 65535, 65535, 1, b"\1\x11\0")
    yield "JPEG lossless", _JPEG_LOSSLESS, b"\xff\xd8" + sof + b"\xff\xda\0\x08\1\1\0\1\0\0" + bytes(64) + b"\xff\xd9"
    sof = struct.pack(">2sHBHHB3s", b"\xff\xf7", 11, 16, 65535, 65535, 1, b"\1\x11\0")
    yield "JPEG-LS", _JPEG_LS, b"\xff\xd8" + sof + b"\xff\xda\0\x08\1\1\0\0\0\0" + bytes(64) + b"\xff\xd9"
    yield "JPEG 2000", _J2K, _j2k(0)
    yield "HTJ2K", _HTJ2K, _j2k(0x4000)
    yield "RLE", _RLE, struct.pack("<16I", 2, 64, 320, *([0] * 13)) + b"\x81\0" * 256
    yield "RLE segments", _RLE, struct.pack("<16I", 0xFFFFFFFF, *([0xFFFFFFF0] * 15))
    yield "PNG as JPEG", _JPEG, _png()
    yield "GIF as JPEG 2000", _J2K, b"GIF89a\xff\xff\xff\xff\xf7\0\0" + bytes(100)
    yield "TIFF as JPEG-LS", _JPEG_LS, b"II*\0\x08\0\0\0\xff\xff" + bytes(100)


def _j2k(capabilities: int) -> bytes:
    """SIZ for 2^31 by 2^31 pixels in tiles of one (ISO/IEC 15444-1 A.5.1)."""
    siz = struct.pack(">HH8IH", 47 - 6, capabilities, 0x7FFFFFFF, 0x7FFFFFFF, 0, 0, 1, 1, 0, 0, 1) + b"\x0f\1\1"
    cod = b"\xff\x52\0\x0c\0\0\0\1\0\x20\4\4\0\0"
    qcd = b"\xff\x5c\0\x04\x40\0"
    return b"\xff\x4f\xff\x51" + siz + cod + qcd + b"\xff\x90\0\x0a\0\0\0\0\0\0\0\1\xff\x93\xff\xd9"


def _png() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 100_000, 100_000, 8, 6, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1 << 20))) + chunk(b"IEND", b"")


def _syntax(file: bytes, syntax: str) -> bytes:
    at = file.index(b"\x02\x00\x10\x00UI")
    length = struct.unpack_from("<H", file, at + 6)[0]
    value = syntax.encode() + b"\0" * (len(syntax) & 1)
    grown = struct.unpack_from("<I", file, 140)[0] + len(value) - length
    file = file[: at + 6] + struct.pack("<H", len(value)) + value + file[at + 8 + length :]
    return file[:140] + struct.pack("<I", grown) + file[144:]


def _pixels(file: bytes) -> int:
    return file.index(b"\xe0\x7f\x10\x00OW")


def _shaped(file: bytes, rows: int, columns: int) -> bytes:
    at = file.index(b"\x28\x00\x10\x00US") + 8
    file = file[:at] + struct.pack("<H", rows) + file[at + 2 :]
    at = file.index(b"\x28\x00\x11\x00US") + 8
    return file[:at] + struct.pack("<H", columns) + file[at + 2 :]


def _with_frames(file: bytes, frames: str) -> bytes:
    at = file.index(b"\x28\x00\x10\x00US")
    value = frames.encode() + b" " * (len(frames) & 1)
    return file[:at] + struct.pack("<HH2sH", 0x28, 8, b"IS", len(value)) + value + file[at:]


def _encapsulated(
    syntax: str, fragments: list[bytes], *, rows: int = 16, columns: int = 16, frames: str = "", table: bytes = b""
) -> bytes:
    file = _shaped(_syntax(sound(next(_number)), syntax), rows, columns)
    file = _with_frames(file, frames) if frames else file
    padded = (one + b"\0" * (len(one) & 1) for one in fragments)
    items = b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(one)) + one for one in padded)
    start = struct.pack("<HH2s2xI", 0x7FE0, 0x0010, b"OB", 0xFFFFFFFF)
    start += struct.pack("<HHI", 0xFFFE, 0xE000, len(table)) + table
    return file[: _pixels(file)] + start + items + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


def _deflated(block: bytes, count: int) -> bytes:
    file = _syntax(sound(next(_number)), _DEFLATED)
    start = file.index(b"\x08\x00\x05\x00CS")
    squeeze = zlib.compressobj(9, wbits=-15)
    head = file[start : _pixels(file)]
    total = len(block) * count
    data = squeeze.compress(head + struct.pack("<HH2s2xI", 0x7FE0, 0x0010, b"OW", total))
    data += b"".join(squeeze.compress(block) for _ in range(count)) + squeeze.flush()
    return file[:start] + data
