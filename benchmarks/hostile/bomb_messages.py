"""DIMSE that no honest peer speaks (PS3.8 9.3); each attack tells what it got."""

import random
import socket
import struct
from collections.abc import Callable, Iterator
from functools import partial

from pydicom.uid import CTImageStorage, ImplicitVRLittleEndian

from benchmarks.hostile import bomb_files
from benchmarks.hostile.wire import Association

Attack = Callable[[], str]
_FIND = "1.2.840.10008.5.1.4.1.2.2.1"


def attacks(port: int) -> Iterator[tuple[str, Attack]]:
    """Every attack under its name."""
    noise = random.Random(3).randbytes(4000)
    for name, data in {
        "PDU of 4 GB": struct.pack(">BxI", 1, 0xFFFFFFFF) + bytes(1000), "P-DATA first": struct.pack(">BxI", 4, 100) + bytes(100),
        "unknown PDU": struct.pack(">BxI", 99, 4) + bytes(4), "noise": noise, "HTTP on DIMSE": b"GET / HTTP/1.1\r\n\r\n",
        "empty request": struct.pack(">BxI", 1, 0), "request of zeros": struct.pack(">BxI", 1, 200_000) + bytes(200_000),
        "100,000 items": struct.pack(">BxI", 1, 68 + 400_000) + struct.pack(">HH16s16s32x", 1, 0, b"HUTONG", b"X") + b"\x50\0\0\0" * 100_000,
        "items that lie": struct.pack(">BxI", 1, 72) + struct.pack(">HH16s16s32x", 1, 0, b"HUTONG", b"X") + b"\x20\0\xff\xff",
    }.items():  # fmt: skip
        yield f"DIMSE {name}", partial(_said, port, data)
    for name, data in {
        "a PDV of no length": struct.pack(">BxII", 4, 4, 0), "a PDV that is longer than its PDU": struct.pack(">BxIIBB", 4, 6, 5000, 1, 3),
        "a P-DATA of 4 GB": struct.pack(">BxI", 4, 0xFFFFFFF0) + bytes(100), "a context that is not": struct.pack(">BxIIBB", 4, 8, 4, 99, 3) + b"ab",
        "100,000 empty PDVs": (struct.pack(">BxIIBB", 4, 6, 2, 1, 1)) * 100_000, "an endless command": (struct.pack(">BxIIBB", 4, 1006, 1002, 1, 1) + bytes(1000)) * 20_000,
        "a data set before its command": struct.pack(">BxIIBB", 4, 10, 6, 1, 2) + b"abcd", "an association in the association": struct.pack(">BxI", 1, 100) + bytes(100),
        "a command of noise": struct.pack(">BxIIBB", 4, 1006, 1002, 1, 3) + noise[:1000],
        "lengths that lie": struct.pack(">BxIIBB", 4, 14, 10, 1, 3) + struct.pack("<HHI", 0, 0x100, 0xFFFFFFF0),
    }.items():  # fmt: skip
        yield f"DIMSE {name}", partial(_associated, port, data)
    deflated = next(file for name, file in bomb_files.files() if name.startswith("deflate"))
    pair = CTImageStorage, "1.2.840.10008.1.2.1.99"
    yield "C-STORE deflate bomb", lambda: _stored(port, pair, deflated[deflated.index(b"\x02\x00\x12\x00UI") + 14 :])
    nested = struct.pack("<HHIHHI", 8, 0x1115, 0xFFFFFFFF, 0xFFFE, 0xE000, 0xFFFFFFFF) * 10_000
    stars = _text(0x0010, 0x0010, b"*a" * 5000) + _text(0x0020, 0x000D, b"")
    uids = _text(0x0020, 0x000D, b"\\".join([b"1.2.3"] * 10_000))
    for name, identifier in {"nested 10,000 deep": nested, "wildcards of 10 kB": stars, "10,000 UIDs": uids, "noise": noise,
                             "empty": b"", "dates": _text(0x0008, 0x0020, b"99999999-" * 500)}.items():  # fmt: skip
        level = _text(0x0008, 0x0052, b"STUDY ")
        yield f"C-FIND {name}", partial(_stored, port, (_FIND, ImplicitVRLittleEndian), level + identifier, find=True)


def _text(group: int, number: int, value: bytes) -> bytes:
    value += b" " * (len(value) & 1)
    return struct.pack("<HHI", group, number, len(value)) + value


def _said(port: int, data: bytes) -> str:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        return _heard(connection, data)


def _associated(port: int, data: bytes) -> str:
    association = Association(port, [("1.2.840.10008.1.1", ImplicitVRLittleEndian)])
    with association.socket as connection:
        connection.settimeout(20)
        return _heard(connection, data)


def _heard(connection: socket.socket, data: bytes) -> str:
    """The first bytes of the answer; raises TimeoutError where nothing comes."""
    try:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        answer = connection.recv(100)
    except (BrokenPipeError, ConnectionResetError):
        return "closed"
    return f"PDU type {answer[0]} {answer[6:10].hex()}" if answer else "closed"


def _stored(port: int, pair: tuple[str, str], data: bytes, *, find: bool = False) -> str:
    association = Association(port, [pair])
    answer = association.find(pair, data) if find else association.store(pair, "2.25.4711.1.1", data)
    association.drop()
    return f"{answer.status:04X} {answer.comment}"
