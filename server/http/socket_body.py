"""A request body read from the socket by the thread that uses it, past the event loop.

A body that passes through the event loop changes threads with every block. Where a request's length is known and the
connection is plain TCP, the protocol offers the socket instead; a body that comes slowly is waited for by the loop,
so that it holds no thread.
"""

import asyncio
import os
import socket
from collections.abc import Iterator
from typing import Any

import httptools

from server.http.zero_copy import ZeroCopyProtocol

EXTENSION = "hutong.socket_body"
#: Bytes of one read.
_BLOCK = 1 << 19
#: Seconds that a thread waits for more, and that a client may send nothing.
_PATIENCE, _STALLED = 0.05, 60.0
#: Bytes of a refused body that are read so that the client sees the answer.
_DRAINED = 64 << 20


class SocketBodyProtocol(ZeroCopyProtocol):
    """HTTP/1.1 that lets the application read a body of known length itself."""

    def on_headers_complete(self) -> None:
        """The head is whole: the application starts with the next turn of the loop."""
        super().on_headers_complete()
        if self.scope.get("method") != "POST" or self.expect_100_continue or self.pipeline:
            return
        headers = dict(self.headers)
        length = headers.get(b"content-length", b"")
        if b"transfer-encoding" in headers or not length.isdigit():
            return
        if self.transport.get_extra_info("sslcontext") is None:
            extensions: dict[str, Any] = self.scope.setdefault("extensions", {})
            extensions[EXTENSION] = SocketBody(self, int(length))


class SocketBody:
    """One body: ``begin`` in the loop, iterate in a thread, ``wait`` in the loop when it ``stalled``, then ``end``."""

    def __init__(self, protocol: SocketBodyProtocol, length: int) -> None:
        self._protocol = protocol
        self._cycle: Any = protocol.cycle
        self._left = length
        self._first = b""
        self._socket: socket.socket | None = None
        #: Whether the iteration ended because nothing came for a moment.
        self.stalled = False

    def begin(self) -> None:
        """From here on the event loop does not read; what it has read comes first."""
        self._protocol.flow.pause_reading()
        self._first = bytes(self._cycle.body)
        self._cycle.body.clear()
        self._left -= len(self._first)
        # Of our own, so that the loop may watch it beside the transport's.
        descriptor = os.dup(self._protocol.transport.get_extra_info("socket").fileno())
        self._socket = socket.socket(fileno=descriptor)
        self._socket.settimeout(_PATIENCE)

    def __iter__(self) -> Iterator[bytes]:
        """The blocks till the body ends or stalls; raises ConnectionError when the client is gone."""
        first, self._first, self.stalled = self._first, b"", False
        if first:
            yield first
        while self._left:
            try:
                block = self._open.recv(min(self._left, _BLOCK))
            except TimeoutError:
                self.stalled = True
                return
            if not block:
                raise ConnectionResetError("The client hung up inside the body.")
            self._left -= len(block)
            yield block

    async def wait(self) -> None:
        """Returns when more came; raises TimeoutError when the client has long sent nothing."""
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_reader(self._open, ready.set)
        try:
            await asyncio.wait_for(ready.wait(), _STALLED)
        finally:
            loop.remove_reader(self._open)

    def drain(self) -> None:
        """Reads on for a while and drops what comes, so that a client that is still sending sees its refusal."""
        dropped = 0
        try:
            for block in self:
                dropped += len(block)
                if dropped > _DRAINED:
                    return
        except OSError:
            return

    def end(self) -> None:
        """The event loop reads again: the next request, where the body was read to its end."""
        if self._socket is None:
            return
        self._socket.close()
        protocol = self._protocol
        if self._left:
            self._cycle.keep_alive = False
        elif protocol.parser is not None:
            # The old one still waits for the body.
            protocol.parser = httptools.HttpRequestParser(protocol)
            protocol.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            protocol.on_message_complete()

    @property
    def _open(self) -> socket.socket:
        if self._socket is None:
            raise RuntimeError("The body was not begun.")
        return self._socket
