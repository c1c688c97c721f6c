"""DICOM's upper layer by hand, so that tests can send what no library would."""

import socket
import struct
from collections.abc import Sequence

CT = "1.2.840.10008.5.1.4.1.1.2"
VERIFICATION = "1.2.840.10008.1.1"
EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
APPLICATION = b"1.2.840.10008.3.1.1.1"

Contexts = Sequence[tuple[int, str, Sequence[str]]]


def item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(value)) + value


def context(context_id: int, abstract: str, transfer: Sequence[str]) -> bytes:
    value = struct.pack(">BxBx", context_id, 0) + item(0x30, abstract.encode())
    return item(0x20, value + b"".join(item(0x40, one.encode()) for one in transfer))


def request(
    contexts: Contexts = ((1, VERIFICATION, [IMPLICIT]), (3, CT, [EXPLICIT])),
    *,
    called: str = "HUTONG",
    calling: str = "RAW",
    version: int = 1,
    application: bytes = APPLICATION,
    user: bytes = b"",
    longest: int = 16384,
) -> bytes:
    """An A-ASSOCIATE-RQ PDU; ``user`` are further user information sub-items."""
    body = struct.pack(">HH16s16s32x", version, 0, called.ljust(16).encode(), calling.ljust(16).encode())
    body += item(0x10, application) + b"".join(context(*one) for one in contexts)
    body += item(0x50, item(0x51, struct.pack(">I", longest)) + item(0x52, b"1.2.3") + user)
    return struct.pack(">BxI", 1, len(body)) + body


def pdv(context_id: int, control: int, value: bytes) -> bytes:
    return struct.pack(">IBB", len(value) + 2, context_id, control) + value


def data(*values: bytes) -> bytes:
    """A P-DATA-TF PDU of these PDVs."""
    body = b"".join(values)
    return struct.pack(">BxI", 4, len(body)) + body


def command(values: dict[int, int | str | bytes]) -> bytes:
    """A command set by element numbers; whole numbers are unsigned shorts."""
    parts = []
    for number, value in sorted(values.items()):
        raw = (
            struct.pack("<H", value) if isinstance(value, int) else value.encode() if isinstance(value, str) else value
        )
        raw += b"\0" * (len(raw) & 1)
        parts.append(struct.pack("<HHI", 0, number, len(raw)) + raw)
    body = b"".join(parts)
    return struct.pack("<HHII", 0, 0, 4, len(body)) + body


def echo(message_id: int = 1, field: int = 0x0030) -> bytes:
    return command({0x0002: VERIFICATION, 0x0100: field, 0x0110: message_id, 0x0800: 0x0101})


def store(uid: str, message_id: int = 1, sop_class: str = CT) -> bytes:
    return command({0x0002: sop_class, 0x0100: 1, 0x0110: message_id, 0x0700: 0, 0x0800: 1, 0x1000: uid})


class Wire:
    """One connection."""

    def __init__(self, port: int, sock: socket.socket | None = None) -> None:
        self.socket = sock or socket.create_connection(("127.0.0.1", port), timeout=20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, raw: bytes) -> None:
        self.socket.sendall(raw)

    def associate(self, raw: bytes | None = None) -> bytes:
        """Sends the request and gives the body of the acceptance."""
        self.send(raw or request())
        kind, body = self.pdu()
        assert kind == 2, f"PDU type {kind} {body!r}"
        return body

    def pdu(self) -> tuple[int, bytes]:
        """The next PDU: its type and body; type 0 at the end of the connection."""
        header = self.exactly(6)
        if len(header) < 6:
            return 0, b""
        kind, length = struct.unpack(">BxI", header)
        return kind, self.exactly(length)

    def exactly(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            try:
                more = self.socket.recv(size - len(found))
            except ConnectionResetError:
                return found
            if not more:
                return found
            found += more
        return found

    def answer(self) -> dict[int, bytes]:
        """The next command set, in one PDU; the data set of a PDU behind it is under -1."""
        kind, body = self.pdu()
        assert kind == 4, f"PDU type {kind} {body!r}"
        length = struct.unpack(">I", body[:4])[0]
        found: dict[int, bytes] = {}
        at, end = 6, 4 + length
        while at < end:
            _group, number, size = struct.unpack_from("<HHI", body, at)
            found[number] = body[at + 8 : at + 8 + size]
            at += 8 + size
        if found[0x0800] != b"\1\1":
            found[-1] = self.pdu()[1][6:]
        return found

    def status(self) -> int:
        return int.from_bytes(self.answer()[0x0900], "little")

    def echo(self, message_id: int = 1) -> int:
        self.send(data(pdv(1, 3, echo(message_id))))
        return self.status()

    def release(self) -> None:
        self.send(struct.pack(">BxI4x", 5, 4))
        assert self.pdu()[0] == 6
        self.socket.close()

    def aborted(self) -> tuple[int, int]:
        """Source and reason of the A-ABORT that must come."""
        kind, body = self.pdu()
        assert kind == 7, f"PDU type {kind} {body!r}"
        return body[2], body[3]
