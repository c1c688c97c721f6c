"""Bytes onto a socket and what comes back: HTTP/1.1 and C-STORE without a library that would correct them."""

import socket
import struct
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

BOUNDARY = "hostile"
STOW = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
_HOST = "127.0.0.1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """An HTTP response; status 0 when the connection was closed without one."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    seconds: float = 0.0


def multipart(files: Sequence[bytes], boundary: str = BOUNDARY) -> bytes:
    """The body of a STOW-RS request."""
    start = f"\r\n--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    return b"".join(start + file for file in files) + f"\r\n--{boundary}--\r\n".encode()


def ask(
    port: int, method: str, path: str, *, headers: Mapping[str, str] | None = None, body: bytes = b"",
    timeout: float = 30,
) -> Answer:  # fmt: skip
    """One request on a connection of its own; raises OSError, TimeoutError among them."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {_HOST}:{port}", "Connection: close"]
    given = {"Content-Length": str(len(body))} if body or method == "POST" else {}
    lines += [f"{name}: {value}" for name, value in (given | dict(headers or {})).items()]
    return raw(port, ["\r\n".join(lines).encode("latin_1") + b"\r\n\r\n", body], timeout=timeout)


def raw(port: int, pieces: Sequence[bytes], *, timeout: float = 30, pause: float = 0.0) -> Answer:
    """Sends the pieces as they are and reads one response; ``timeout`` is for the whole of it."""
    began = time.monotonic()
    with socket.create_connection((_HOST, port), timeout=timeout) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for piece in pieces:
                connection.sendall(piece)
                if pause:
                    time.sleep(pause)
        except (BrokenPipeError, ConnectionResetError):
            # Refused before its end: the answer is there, or the connection is closed.
            pass
        return _read(connection, began, began + timeout)


def _read(connection: socket.socket, began: float, deadline: float) -> Answer:
    data = b""
    with suppress(ConnectionResetError):
        while not _whole(data):
            connection.settimeout(max(0.01, deadline - time.monotonic()))
            block = connection.recv(1 << 18)
            if not block:
                break
            data += block
    seconds = time.monotonic() - began
    head, _, body = data.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 "):
        return Answer(status=0, seconds=seconds)
    pairs = (line.partition(b":") for line in head.split(b"\r\n")[1:])
    headers = {name.decode("latin_1").lower(): value.strip().decode("latin_1") for name, _, value in pairs}
    return Answer(status=int(head[9:12]), headers=headers, body=body, seconds=seconds)


def _whole(data: bytes) -> bool:
    head, end, body = data.partition(b"\r\n\r\n")
    if not end:
        return False
    lower = head.lower()
    found = lower.find(b"\r\ncontent-length:")
    if found >= 0:
        return len(body) >= int(lower[found + 17 :].split(b"\r\n")[0])
    return (b"chunked" in lower and body.endswith(b"0\r\n\r\n")) or head[9:12] in (b"204", b"304")


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """A C-STORE response; status -1 when the association was aborted or closed."""

    status: int
    comment: str = ""
    seconds: float = 0.0


class Association:
    """A storage SCU (PS3.8 9.3, PS3.7 9.3.1) that sends data sets nobody has looked at."""

    def __init__(
        self, port: int, contexts: Sequence[tuple[str, str]], *, calling: str = "HOSTILE", timeout: float = 60
    ) -> None:
        """``contexts`` are pairs of SOP Class and transfer syntax, at most 128."""
        self._port, self._calling, self._timeout = port, calling, timeout
        self._ids = {pair: 2 * place + 1 for place, pair in enumerate(contexts)}
        self._message = 0
        self.connect()

    def connect(self) -> None:
        """Associates; anew where it was before."""
        self._socket = socket.create_connection((_HOST, self._port), timeout=self._timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(_request(self._ids, self._calling))
        kind, body = self._pdu()
        if kind != 2:
            raise ConnectionError(f"The association was not accepted: PDU type {kind}.")
        self._longest = _maximum_length(body)
        self.accepted = _accepted(body)

    def takes(self, pair: tuple[str, str]) -> bool:
        """Whether the peer accepted the context."""
        return self._ids.get(pair) in self.accepted

    def store(self, pair: tuple[str, str], uid: str, data: bytes) -> Status:
        """One C-STORE; associates anew after an abort."""
        began = time.monotonic()
        self._message = self._message % 65535 + 1
        try:
            self._send(self._ids[pair], 0x03, _command(pair[0], uid, self._message))
            self._send(self._ids[pair], 0x02, data)
            status, comment = self._response()
        except (ConnectionError, BrokenPipeError) as error:
            self._socket.close()
            self.connect()
            return Status(status=-1, comment=str(error), seconds=time.monotonic() - began)
        return Status(status=status, comment=comment, seconds=time.monotonic() - began)

    def find(self, pair: tuple[str, str], identifier: bytes) -> Status:
        """One C-FIND; its final status."""
        began = time.monotonic()
        body = _element(0x0002, pair[0].encode()) + _element(0x0100, struct.pack("<H", 0x20))
        body += _element(0x0110, struct.pack("<H", 1)) + _element(0x0700, struct.pack("<H", 0))
        body += _element(0x0800, struct.pack("<H", 0))
        try:
            self._send(self._ids[pair], 0x03, _element(0, struct.pack("<I", len(body))) + body)
            self._send(self._ids[pair], 0x02, identifier)
            while (answer := self._response())[0] in (0xFF00, 0xFF01):
                self._pdu()
        except ConnectionError as error:
            return Status(status=-1, comment=str(error), seconds=time.monotonic() - began)
        return Status(status=answer[0], comment=answer[1], seconds=time.monotonic() - began)

    @property
    def socket(self) -> socket.socket:
        """The connection, for those who break the rules."""
        return self._socket

    def echo(self) -> float:
        """One C-ECHO on the first context; its seconds."""
        began = time.monotonic()
        body = _element(0x0002, b"1.2.840.10008.1.1\0") + _element(0x0100, struct.pack("<H", 0x30))
        body += _element(0x0110, struct.pack("<H", 1)) + _element(0x0800, struct.pack("<H", 0x0101))
        self._send(1, 0x03, _element(0, struct.pack("<I", len(body))) + body)
        status, _ = self._response()
        if status:
            raise ConnectionError(f"C-ECHO was answered with {status:04X}.")
        return time.monotonic() - began

    def close(self) -> None:
        """Ends the association in order."""
        with self._socket:
            self._socket.sendall(struct.pack(">BxII", 5, 4, 0))
            self._pdu()

    def drop(self) -> None:
        """Ends the connection without a word."""
        self._socket.close()

    def _send(self, context: int, flags: int, data: bytes) -> None:
        size = self._longest - 6
        pieces = [data[at : at + size] for at in range(0, len(data), size)] or [b""]
        for place, piece in enumerate(pieces):
            last = flags if place == len(pieces) - 1 else flags & 1
            self._socket.sendall(struct.pack(">BxIIBB", 4, len(piece) + 6, len(piece) + 2, context, last) + piece)

    def _response(self) -> tuple[int, str]:
        kind, body = self._pdu()
        if kind != 4:
            raise ConnectionError(f"PDU type {kind} came where a response was due.")
        at, status, comment = 6, -1, ""
        while at + 8 <= len(body):
            _, number, length = struct.unpack_from("<HHI", body, at)
            value = body[at + 8 : at + 8 + length]
            if number == 0x0900:
                status = struct.unpack("<H", value)[0]
            elif number == 0x0902:
                comment = value.decode("latin_1").strip()
            at += 8 + length
        return status, comment

    def _pdu(self) -> tuple[int, bytes]:
        kind, length = struct.unpack(">BxI", self._exactly(6))
        return kind, self._exactly(length)

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self._socket.recv(size - len(data))
            if not more:
                raise ConnectionError("The connection was closed.")
            data += more
        return data


def _item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(value)) + value


def _request(ids: Mapping[tuple[str, str], int], calling: str) -> bytes:
    body = struct.pack(">HH16s16s32x", 1, 0, b"HUTONG".ljust(16), calling.ljust(16).encode())
    body += _item(0x10, b"1.2.840.10008.3.1.1.1")
    for (sop_class, syntax), number in ids.items():
        names = _item(0x30, sop_class.encode()) + _item(0x40, syntax.encode())
        body += _item(0x20, struct.pack(">BxBx", number, 0) + names)
    body += _item(0x50, _item(0x51, struct.pack(">I", 1 << 16)) + _item(0x52, b"2.25.1"))
    return struct.pack(">BxI", 1, len(body)) + body


def _element(number: int, value: bytes) -> bytes:
    value += b"\0" * (len(value) & 1)
    return struct.pack("<HHI", 0, number, len(value)) + value


def _command(sop_class: str, uid: str, message: int) -> bytes:
    body = _element(0x0002, sop_class.encode()) + _element(0x0100, struct.pack("<H", 1))
    body += _element(0x0110, struct.pack("<H", message)) + _element(0x0700, struct.pack("<H", 0))
    body += _element(0x0800, struct.pack("<H", 0)) + _element(0x1000, uid.encode())
    return _element(0x0000, struct.pack("<I", len(body))) + body


def _items(data: bytes, at: int, end: int) -> list[tuple[int, bytes]]:
    found = []
    while at + 4 <= end:
        kind, length = struct.unpack_from(">BxH", data, at)
        found.append((kind, data[at + 4 : at + 4 + length]))
        at += 4 + length
    return found


def _accepted(body: bytes) -> frozenset[int]:
    """Ids of the contexts that were accepted (PS3.8 9.3.3.2)."""
    return frozenset(value[0] for kind, value in _items(body, 68, len(body)) if kind == 0x21 and not value[2])


def _maximum_length(body: bytes) -> int:
    """What the acceptor lets us send in one PDU (PS3.8 D.1); 0 means anything."""
    user = next((value for kind, value in _items(body, 68, len(body)) if kind == 0x50), b"")
    sizes = [struct.unpack(">I", value)[0] for kind, value in _items(user, 0, len(user)) if kind == 0x51]
    return (sizes[0] if sizes else 16384) or 1 << 20
