"""HTTP/1.1 over one socket, the same for both servers and cheap enough not to be what is measured."""

import json
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.dicomweb.instances import Instance

_BOUNDARY = b"hutong-benchmark-boundary"
_PART = b"\r\n--" + _BOUNDARY + b"\r\nContent-Type: application/dicom\r\n\r\n"
_END = b"\r\n--" + _BOUNDARY + b"--\r\n"
_BUFFER = 1 << 20
#: Pieces of one sendmsg (IOV_MAX is 1024).
_PIECES = 512


class Failed(Exception):
    """The server did not answer as it must for the figure to mean anything."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """A response; a long body is counted, not kept."""

    status: int
    size: int
    body: bytes


class Wire:
    """One connection that is kept."""

    def __init__(self, host: str, port: int, token: str = "") -> None:
        self._address = host, port
        self._host = f"{host}:{port}".encode()
        if token:
            self._host += f"\r\nAuthorization: Bearer {token}".encode()
        self._connect()
        self._buffer = bytearray(_BUFFER)
        self._rest = b""

    def _connect(self) -> None:
        self._socket = socket.create_connection(self._address, timeout=300)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        """Ends the connection."""
        self._socket.close()

    def store(self, path: str, instances: Sequence[Instance]) -> None:
        """STOW-RS of these instances in one request; raises Failed unless every one is stored."""
        pieces: list[bytes] = []
        for instance in instances:
            pieces += [_PART, instance.head, instance.pixels]
        pieces.append(_END)
        kind = b'Content-Type: multipart/related; type="application/dicom"; boundary=' + _BOUNDARY
        length = b"Content-Length: %d" % sum(map(len, pieces))
        head = [b"POST %b HTTP/1.1" % path.encode(), b"Host: " + self._host, kind, length]
        head.append(b"Accept: application/dicom+json\r\n\r\n")
        self._send([b"\r\n".join(head), *pieces])
        answer = self._answer(keep=True)
        done = len(json.loads(answer.body)["00081199"]["Value"]) if answer.status == 200 else 0
        if done != len(instances):
            raise Failed(f"{answer.status}: {done} of {len(instances)} were stored: {answer.body[:300]!r}")

    def get(self, path: str, accept: str, *, keep: bool = False) -> Answer:
        """A GET; raises Failed unless it is answered with 200."""
        self._send(
            [b"GET %b HTTP/1.1\r\nHost: %b\r\nAccept: %b\r\n\r\n" % (path.encode(), self._host, accept.encode())]
        )
        answer = self._answer(keep=keep)
        if answer.status != 200:
            raise Failed(f"{path}: {answer.status} {answer.body[:300]!r}")
        return answer

    def json(self, path: str) -> Any:
        """The JSON under a path."""
        return json.loads(self.get(path, "application/dicom+json", keep=True).body)

    def _send(self, pieces: list[bytes]) -> None:
        views = [memoryview(piece) for piece in pieces if piece]
        while views:
            sent = self._socket.sendmsg(views[:_PIECES])
            done = 0
            while done < len(views) and sent >= len(views[done]):
                sent -= len(views[done])
                done += 1
            views = views[done:]
            if sent:
                views[0] = views[0][sent:]

    def _answer(self, *, keep: bool) -> Answer:
        head = b""
        while b"\r\n\r\n" not in head:
            head += self._some()
        head, _, self._rest = head.partition(b"\r\n\r\n")
        status = int(head[9:12])
        lower = head.lower()
        if match := re.search(rb"\r\ncontent-length: *(\d+)", lower):
            size, body = self._take(int(match[1]), keep=keep or status != 200)
        elif b"chunked" in lower:
            size, body = self._chunks(keep=keep or status != 200)
        else:
            size, body = self._until_closed()
        return Answer(status=status, size=size, body=body)

    def _until_closed(self) -> tuple[int, bytes]:
        """A body without length, as HTTP/1.0 has it (Orthanc's multipart answers); then connects anew."""
        size, self._rest = len(self._rest), b""
        while count := self._socket.recv_into(self._buffer):
            size += count
        self._socket.close()
        self._connect()
        return size, b""

    def _some(self) -> bytes:
        data = self._rest or self._socket.recv(1 << 16)
        self._rest = b""
        if not data:
            raise Failed("The connection was closed.")
        return data

    def _take(self, length: int, *, keep: bool) -> tuple[int, bytes]:
        body = bytearray(self._rest[:length]) if keep else bytearray()
        left = length - min(len(self._rest), length)
        self._rest = self._rest[length:]
        while left:
            count = self._socket.recv_into(self._buffer, min(left, _BUFFER))
            if not count:
                raise Failed("The connection was closed.")
            left -= count
            if keep:
                body += self._buffer[:count]
        return length, bytes(body)

    def _chunks(self, *, keep: bool) -> tuple[int, bytes]:
        total, pieces = 0, list[bytes]()
        while True:
            line = b""
            while b"\r\n" not in line:
                line += self._some()
            line, _, self._rest = line.partition(b"\r\n")
            size = int(line.split(b";")[0], 16)
            pieces.append(self._take(size, keep=keep)[1])
            self._take(2, keep=False)
            total += size
            if not size:
                return total, b"".join(pieces)
