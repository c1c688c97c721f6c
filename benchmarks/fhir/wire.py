"""HTTP/1.1 over one kept connection, cheap enough not to be what is measured."""

import re
import select
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)")
_BLOCK = 1 << 18
_NO_BODY = (204, 304)


class Failed(Exception):
    """The server did not answer as it must for the figure to mean anything."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """A response."""

    status: int
    head: bytes
    body: bytes

    def header(self, name: str) -> str:
        """A header's value; empty where there is none."""
        found = re.search(rb"\r\n%b: *([^\r]*)" % name.lower().encode(), self.head, re.IGNORECASE)
        return found[1].decode("latin_1") if found else ""


class Wire:
    """One connection to a FHIR base URL (plain HTTP); connects anew after it was closed."""

    def __init__(self, base: str, token: str = "", timeout: float = 300) -> None:
        parts = urlsplit(base)
        if parts.scheme != "http" or parts.hostname is None:
            raise Failed("The base URL is http://host:port/path; put a proxy in front of anything else.")
        self._address = parts.hostname, parts.port or 80
        self._path = parts.path.rstrip("/")
        self._fixed = f" HTTP/1.1\r\nHost: {parts.netloc}\r\nAccept: application/fhir+json\r\n"
        if token:
            self._fixed += f"Authorization: Bearer {token}\r\n"
        self._timeout = timeout
        self._socket: socket.socket | None = None

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        """One request below the base; raises OSError, TimeoutError among them, when there is no answer."""
        lines = [f"{method} {self._path}{path}", self._fixed]
        lines += [f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items()]
        if body or method in ("POST", "PUT"):
            lines.append(f"Content-Type: application/fhir+json\r\nContent-Length: {len(body)}\r\n")
        try:
            connection = self._connected()
            connection.sendall("".join((*lines, "\r\n")).encode("latin_1") + body)
            return _answer(connection)
        except OSError:
            self.close()
            raise

    def expect(self, status: tuple[int, ...], method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        """As ``ask``; raises Failed for any other status."""
        answer = self.ask(method, path, body, **headers)
        if answer.status not in status:
            raise Failed(f"{method} {path}: {answer.status} {answer.body[:500]!r}")
        return answer

    def close(self) -> None:
        """Ends the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connected(self) -> socket.socket:
        # A server may end a connection that is idle (RFC 9112 section 9.3); then there is its end to be read.
        if self._socket is not None and _readable(self._socket):
            self.close()
        if self._socket is None:
            self._socket = socket.create_connection(self._address, timeout=self._timeout)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._socket


def _readable(connection: socket.socket) -> bool:
    looked = select.poll()
    looked.register(connection, select.POLLIN)
    return bool(looked.poll(0))


def _answer(connection: socket.socket) -> Answer:
    data = b""
    while b"\r\n\r\n" not in data:
        data += _some(connection)
    head, _, rest = data.partition(b"\r\n\r\n")
    status = int(head[9:12])
    if status in _NO_BODY:
        return Answer(status=status, head=head, body=b"")
    lower = head.lower()
    if length := _LENGTH.search(lower):
        body = bytearray(rest)
        while len(body) < int(length[1]):
            body += _some(connection)
    elif b"chunked" in lower:
        body = _chunks(connection, rest)
    else:
        raise Failed(f"An answer without length: {head[:200]!r}")
    return Answer(status=status, head=head, body=bytes(body))


def _chunks(connection: socket.socket, rest: bytes) -> bytearray:
    body, data = bytearray(), bytearray(rest)
    while True:
        while b"\r\n" not in data:
            data += _some(connection)
        line, _, data = data.partition(b"\r\n")
        size = int(line.split(b";")[0], 16)
        while len(data) < size + 2:
            data += _some(connection)
        body += data[:size]
        data = data[size + 2 :]
        if not size:
            return body


def _some(connection: socket.socket) -> bytes:
    found = connection.recv(_BLOCK)
    if not found:
        raise ConnectionResetError("The connection was closed.")
    return found
