"""Uploads read, answered and kept alive by one thread, past the event loop.

A body that passes through the event loop changes threads with every block, and a small request costs more on its way
through the application than in the ingest door. So, on plain TCP, where a request's length is known, a thread takes
the connection over, reads from its socket, writes the answer, and goes on with the next upload; what is none, or comes
slowly, goes back to the event loop. Idle and trickling connections hold no thread.
"""

import asyncio
import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any, Protocol

import httptools
from fastapi import Request, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from server.errors import HutongError
from server.http.dicomweb_route import response_of
from server.http.zero_copy import ZeroCopyProtocol

#: Threads, so connections that are attended to at once.
_THREADS = 64
#: Bytes of one read, and of a request's head.
_BLOCK, _LARGEST_HEAD = 1 << 19, 1 << 16
#: Seconds that a thread waits for more, and that a client may send or take nothing.
_PATIENCE, _STALLED = 0.05, 60.0
#: Bytes of a refused body that are read so that the client sees the answer.
_DRAINED = 64 << 20


class Upload(Protocol):
    """One request that is being taken in."""

    def take(self, blocks: Iterator[bytes]) -> None:
        """More of its body."""

    def finish(self) -> Response:
        """The body is whole."""

    def close(self) -> None:
        """Whatever became of it, it is over."""

    def left(self) -> None:
        """Its answer has left."""


class Uploads(Protocol):
    """What takes uploads."""

    def start(self, request: Request) -> Upload | None:
        """None where the request is no upload."""


class UploadProtocol(ZeroCopyProtocol):
    """HTTP/1.1 whose uploads a thread attends to."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client connected; what is encrypted stays with the event loop."""
        super().connection_made(transport)
        uploads: Uploads | None = getattr(self.config.app.state, "uploads", None)  # type: ignore[union-attr]
        if uploads is not None and transport.get_extra_info("sslcontext") is None:
            self.app = _Attending(self.app, self, uploads)


class _Attending:
    """The application, but for uploads."""

    def __init__(self, app: ASGIApp, protocol: UploadProtocol, uploads: Uploads) -> None:
        self._app = app
        self._protocol = protocol
        self._uploads = uploads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        protocol = self._protocol
        cycle = protocol.cycle
        length = _length(scope["method"], scope["headers"]) if scope["type"] == "http" else None
        upload = None
        if length is not None and cycle.keep_alive and not protocol.pipeline:
            upload = self._uploads.start(Request(scope))
        if upload is None or length is None:
            await self._app(scope, receive, send)
            return
        line = _Line(protocol, self._uploads, upload, length)
        loop = asyncio.get_running_loop()
        try:
            while not await loop.run_in_executor(_threads, line.run):
                await line.wait()
        except (ConnectionError, TimeoutError):
            line.broken = True
        finally:
            await loop.run_in_executor(_threads, line.close)
            line.give_back()


_threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="upload")


def _length(method: str, headers: list[tuple[bytes, bytes]]) -> int | None:
    """The body's length; None where it is not known, or the client wants to be asked first."""
    named = dict(headers)
    length = named.get(b"content-length", b"")
    if method != "POST" or not length.isdigit() or b"transfer-encoding" in named or b"expect" in named:
        return None
    return int(length)


class _Line:
    """One connection while a thread has it."""

    def __init__(self, protocol: UploadProtocol, uploads: Uploads, upload: Upload, length: int) -> None:
        self._protocol = protocol
        self._cycle: Any = protocol.cycle
        self._uploads = uploads
        self._upload: Upload | None = upload
        protocol.flow.pause_reading()
        #: What was read and not used.
        self._rest = bytes(self._cycle.body)
        self._cycle.body.clear()
        #: Bytes of the body that are still to be given to the upload.
        self._left = length
        # Of our own, so that the loop may watch it beside the transport's.
        descriptor = os.dup(protocol.transport.get_extra_info("socket").fileno())
        self._socket = socket.socket(fileno=descriptor)
        self._socket.settimeout(_PATIENCE)
        self._stalled = False
        #: Whether nothing more can be said on the connection.
        self.broken = False

    def run(self) -> bool:
        """Attends to uploads; False when one stalls, True when the event loop is to go on."""
        while self._upload is not None:
            upload = self._upload
            try:
                upload.take(self._blocks())
                if self._stalled:
                    return False
                answer = upload.finish()
            except HutongError as error:
                upload.close()
                answer = response_of(error)
                self._drain()
            self._send(answer)
            self._upload = None
            upload.left()
            if not self.broken and self._cycle.keep_alive and not _threads._work_queue.qsize():
                self._upload = self._next()
        return True

    async def wait(self) -> None:
        """Returns when more came; raises TimeoutError when the client has long sent nothing."""
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_reader(self._socket, ready.set)
        try:
            await asyncio.wait_for(ready.wait(), _STALLED)
        finally:
            loop.remove_reader(self._socket)

    def close(self) -> None:
        """Lets the upload that was not finished go, and the socket."""
        upload, self._upload = self._upload, None
        if upload is not None:
            self.broken = True
            upload.close()
        self._socket.close()

    def give_back(self) -> None:
        """The event loop reads again, from the next request on."""
        protocol, cycle = self._protocol, self._cycle
        cycle.response_started = cycle.response_complete = True
        if protocol.parser is None or protocol.transport.is_closing():
            return
        if self.broken or not cycle.keep_alive:
            protocol.transport.close()
            return
        # The old one still waits for the body.
        protocol.parser = httptools.HttpRequestParser(protocol)
        protocol.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        protocol.on_message_complete()
        protocol.on_response_complete()
        if self._rest:
            protocol.data_received(self._rest)

    def _blocks(self) -> Iterator[bytes]:
        """The body's blocks till it ends or stalls; raises ConnectionError when the client is gone."""
        self._stalled = False
        while self._left:
            block = self._rest or self._receive()
            if not block:
                self._stalled = True
                return
            self._rest = block[self._left :] if len(block) > self._left else b""
            block = block[: self._left] if self._rest else block
            self._left -= len(block)
            yield block

    def _receive(self) -> bytes:
        """What has come; nothing where nothing comes for a moment."""
        try:
            block = self._socket.recv(_BLOCK)
        except TimeoutError:
            return b""
        if not block:
            raise ConnectionResetError("The client hung up.")
        return block

    def _drain(self) -> None:
        """Reads the rest of a refused body, so that the client sees the answer; gives up where it is long or slow."""
        dropped = 0
        for block in self._blocks():
            dropped += len(block)
            if dropped > _DRAINED:
                break
        self.broken = self._left > 0

    def _send(self, answer: Response) -> None:
        status = f"HTTP/1.1 {answer.status_code} {HTTPStatus(answer.status_code).phrase}\r\n".encode("ascii")
        headers = [*answer.raw_headers, *self._protocol.server_state.default_headers, *HARDENED]
        if self.broken:
            headers.append((b"connection", b"close"))
        lines = [b"%b: %b\r\n" % header for header in headers]
        self._socket.settimeout(_STALLED)
        self._socket.sendall(b"".join([status, *lines, b"\r\n", bytes(answer.body)]))
        self._socket.settimeout(_PATIENCE)

    def _next(self) -> Upload | None:
        """The upload that follows on the connection; None where something else comes, or nothing for a moment."""
        while (end := self._rest.find(b"\r\n\r\n")) < 0:
            try:
                block = self._receive() if len(self._rest) <= _LARGEST_HEAD else b""
            except ConnectionError:
                self.broken = True
                return None
            if not block:
                return None
            self._rest += block
        scope = _Head(self._rest[: end + 4], self._cycle.scope).scope
        length = _length(scope["method"], scope["headers"]) if scope else None
        upload = self._uploads.start(Request(scope)) if scope and length is not None else None
        if upload is not None and length is not None:
            self._rest = self._rest[end + 4 :]
            self._left = length
        return upload


class _Head:
    """A request's line and headers as an ASGI scope; None where they are no plain request."""

    def __init__(self, head: bytes, before: Scope) -> None:
        self._headers: list[tuple[bytes, bytes]] = []
        self._url = b""
        self.scope: Scope | None = None
        parser = httptools.HttpRequestParser(self)
        try:
            parser.feed_data(head)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            return
        if not parser.should_keep_alive() or not self._url.isascii() or b"%" in self._url:
            return
        path, _, query = self._url.partition(b"?")
        self.scope = {
            **before,
            "method": parser.get_method().decode("ascii"),
            "http_version": parser.get_http_version(),
            "path": path.decode("ascii"),
            "raw_path": path,
            "query_string": query,
            "headers": self._headers,
            "state": {},
        }

    def on_url(self, url: bytes) -> None:
        """Part of the request's line."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._headers.append((name.lower(), value))


#: On every response: no sniffing, no referrer, no foreign frame.
HARDENED = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"SAMEORIGIN"),
)
