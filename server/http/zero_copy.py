"""Stored bytes to the socket without a detour: an ASGI extension for uvicorn.

Like ASGI's own (https://asgi.readthedocs.io/en/latest/extensions.html#zero-copy-send), but for all pieces of an answer
in one message, since each message costs its way through all layers.

The kernel moves pages of a file to the socket (sendfile). What is in the page cache goes at once; what must come from
the disk first is sent by a thread, so that nobody else waits for it.
"""

import asyncio
import os
from asyncio import Transport
from collections.abc import Sequence
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from server.imaging.stored import Piece

#: A message of this type has ``pieces``, and ``file``, which gives the descriptor of a pack.
EXTENSION = "hutong.response.pieces"
#: Bytes after which other connections get their turn.
_TURN = 2 << 20
#: Seconds that a client may take nothing, then it is let go.
_STALLED = 120.0
#: Where a byte goes that nobody wants.
_PROBE = (bytearray(1),)
#: Bytes of a request's line and headers.
_LARGEST_HEAD = 1 << 16


class ZeroCopyProtocol(HttpToolsProtocol):
    """HTTP/1.1 that offers the extension where bytes leave as they are, and that bounds a request's head."""

    _head = 0

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """A client connected; under TLS bytes don't leave as they are."""
        super().connection_made(transport)
        if transport.get_extra_info("sslcontext") is None and hasattr(os, "sendfile"):
            self.app = _Offering(self.app, transport, self.flow)

    def data_received(self, data: bytes) -> None:
        """Bytes of a request."""
        self._head += len(data)
        super().data_received(data)
        if self._head > _LARGEST_HEAD and self.parser is not None and not self.transport.is_closing():
            self.send_400_response("The request's head is longer than 65536 bytes.")

    def on_headers_complete(self) -> None:
        """The head is whole; what follows is the body's."""
        super().on_headers_complete()
        self._head = -(1 << 62)

    def on_message_complete(self) -> None:
        """The next head starts."""
        super().on_message_complete()
        self._head = 0


class _Offering:
    """The application with the extension in its scope."""

    def __init__(self, app: ASGIApp, transport: Transport, flow: FlowControl) -> None:
        self._app = app
        self._transport = transport
        self._flow = flow

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        scope["extensions"] = {**scope.get("extensions", {}), EXTENSION: {}}
        sender = _Sender(self._transport, self._flow, send)
        try:
            await self._app(scope, receive, sender.send)
        except (ConnectionError, TimeoutError):
            # The client hung up, or has long taken nothing: nobody is left who could be told.
            sender.cycle.disconnected = True
            self._transport.abort()
        finally:
            sender.close()


class _Sender:
    """One response; its pieces go past the transport."""

    def __init__(self, transport: Transport, flow: FlowControl, send: Send) -> None:
        self._transport = transport
        self._flow = flow
        self._send = send
        #: uvicorn's side of this request: it counts the bytes of the body.
        self.cycle: Any = send.__self__  # type: ignore[attr-defined]
        self._socket = -1
        self._turn = 0

    async def send(self, message: Message) -> None:
        """ASGI's send; raises ConnectionError when the client is gone, TimeoutError when it takes nothing."""
        if message["type"] != EXTENSION:
            await self._send(message)
            return
        pieces: Sequence[Piece] = message["pieces"]
        await self._begin(sum(map(len, pieces)))
        for piece in pieces:
            if isinstance(piece, bytes):
                await self._bytes(piece)
            else:
                await self._file(message["file"](piece.pack), piece.offset, piece.length)

    def close(self) -> None:
        """Lets the socket go; the connection is the transport's."""
        if self._socket >= 0:
            os.close(self._socket)
            self._socket = -1

    async def _begin(self, count: int) -> None:
        """Everything that waits in the transport leaves first."""
        if self._transport.get_write_buffer_size():
            await asyncio.sleep(0)
        if self._transport.get_write_buffer_size():
            self._transport.set_write_buffer_limits(high=0)
            await self._flow.drain()
            self._transport.set_write_buffer_limits()
        self._gone()
        if self._socket < 0:
            # Of our own, so that the loop may watch it beside the transport's.
            self._socket = os.dup(self._transport.get_extra_info("socket").fileno())
        if self.cycle.chunked_encoding or count > self.cycle.expected_content_length:
            raise RuntimeError("Files are sent in answers whose length is known only.")
        self.cycle.expected_content_length -= count

    def _gone(self) -> None:
        if self.cycle.disconnected or self._transport.is_closing():
            raise ConnectionResetError

    async def _bytes(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._socket, view) :]
            except BlockingIOError:
                await self._writable()

    async def _file(self, file: int, offset: int, count: int) -> None:
        end = offset + count
        while offset < end:
            step = min(end - offset, _TURN)
            try:
                sent = await self._step(file, offset, step)
            except BlockingIOError:
                await self._writable()
                continue
            if not sent:
                raise RuntimeError("The file ends before its bytes were sent.")
            offset += sent
            self._turn += sent
            if self._turn >= _TURN:
                self._turn = 0
                await asyncio.sleep(0)
                self._gone()

    async def _step(self, file: int, offset: int, count: int) -> int:
        if _cached(file, offset, count):
            return os.sendfile(self._socket, file, offset, count)
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(None, os.sendfile, self._socket, file, offset, count)
        try:
            return await asyncio.shield(work)
        finally:
            # Whoever cancels us waits: the thread still uses both descriptors.
            if not work.done():
                await asyncio.wait([work])

    async def _writable(self) -> None:
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        loop.add_writer(self._socket, _settle, ready, None)
        timer = loop.call_later(_STALLED, _settle, ready, TimeoutError())
        try:
            await ready
        finally:
            timer.cancel()
            loop.remove_writer(self._socket)
        self._gone()


def _settle(ready: "asyncio.Future[None]", error: Exception | None) -> None:
    if ready.done():
        return
    if error is None:
        ready.set_result(None)
    else:
        ready.set_exception(error)


def _cached(file: int, offset: int, count: int) -> bool:
    """Whether the first and the last of the bytes can be read without the disk."""
    try:
        os.preadv(file, _PROBE, offset, os.RWF_NOWAIT)
        return os.preadv(file, _PROBE, offset + count - 1, os.RWF_NOWAIT) == 1
    except (OSError, AttributeError):
        return False
