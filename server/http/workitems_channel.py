"""The event channel of the Worklist Service: event reports over a WebSocket (PS3.18 8.10.4 and 8.10.5).

Reports are read from the table in which they were committed, and leave in their order. One is marked as delivered
only when the connection has answered a ping that was sent behind it; whatever is not so marked is sent again to who
comes back. Each connection has a task of its own, at most one batch in memory, and is closed when it takes nothing.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from urllib.parse import urlsplit

from fastapi import APIRouter, Request, WebSocket, WebSocketDisconnect
from fastapi.concurrency import run_in_threadpool

from server.errors import Forbidden, HutongError, Unauthenticated, Unavailable
from server.http.watch import Watch
from server.imaging.workitem_subscriptions import WorkitemSubscriptions
from server.security.access import Access
from server.store.workitem_events import EventReport

#: Seconds between pings, and within which one is answered; ``server`` gives them to what speaks WebSocket.
PING_INTERVAL, PING_TIMEOUT = 5.0, 5.0
#: Seconds after which a connection that is still there has certainly answered a later ping.
_SURE = PING_INTERVAL + PING_TIMEOUT + 1.0
#: Seconds that a client may take nothing.
_STALLED = 10.0
#: Reports of one look.
_BATCH = 64
#: Close codes (RFC 6455 7.4.1): try again later; policy violation.
_TRY_AGAIN, _POLICY = 1013, 1008


class _Channel:
    """One open connection."""

    def __init__(self, socket: WebSocket, subscriptions: WorkitemSubscriptions, access: Access, title: str) -> None:
        self._socket = socket
        self._subscriptions = subscriptions
        self._access = access
        self._title = title
        self.woken = asyncio.Event()
        self._sent = 0
        #: When each batch was sent, and its last number: what is not certain to have arrived yet.
        self._underway: deque[tuple[float, int]] = deque()

    async def run(self) -> None:
        """Sends what there is and what comes, until the client goes."""
        self._sent = await run_in_threadpool(self._subscriptions.position, self._access, self._title)
        await self._socket.accept()
        gone = asyncio.create_task(self._until_gone())
        try:
            while not gone.done():
                self.woken.clear()
                if not await self._send():
                    waiting = asyncio.create_task(self.woken.wait())
                    # Now and then without being woken, to note what has arrived.
                    await asyncio.wait([gone, waiting], timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
                    waiting.cancel()
                await self._settle()
        finally:
            gone.cancel()

    async def _until_gone(self) -> None:
        while True:
            # Nothing that a client says means anything here.
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                return

    async def _send(self) -> int:
        """Sends the next batch; gives how many reports it had."""
        found = await run_in_threadpool(self._subscriptions.after, self._access, self._title, self._sent, _BATCH)
        for report in found:
            await asyncio.wait_for(self._one(report), _STALLED)
        if found:
            self._sent = found[-1].number
            self._underway.append((asyncio.get_running_loop().time(), self._sent))
        return len(found)

    async def _one(self, report: EventReport) -> None:
        await self._socket.send_text(report.report.decode())

    async def _settle(self) -> None:
        now, arrived = asyncio.get_running_loop().time(), 0
        while self._underway and self._underway[0][0] + _SURE < now:
            arrived = self._underway.popleft()[1]
        if arrived:
            await run_in_threadpool(self._subscriptions.acknowledge, self._access, self._title, arrived)


def _is_foreign(request: Request, url: str) -> bool:
    """Whether a page of another origin opens it, whose browser asks nobody: no more than a token's bearer may."""
    origin = request.headers.get("origin", "")
    return bool(origin) and urlsplit(origin).netloc != urlsplit(url).netloc and "authorization" not in request.headers


def add_routes(
    api: APIRouter,
    subscriptions: WorkitemSubscriptions,
    access: Callable[[Request], Access],
    url: Callable[[Request], str],
) -> None:
    """The channel of a subscriber; ``url`` is where the client sees DICOMweb."""
    watch = Watch(subscriptions.newest)

    @api.websocket("/subscribers/{title}")
    async def channel(socket: WebSocket, title: str) -> None:
        """Event reports, each a text frame of DICOM JSON."""
        try:
            # The rights of a socket are those of a GET with the same headers.
            request = Request({**socket.scope, "type": "http", "method": "GET"})
            if _is_foreign(request, url(request)):
                raise Forbidden("A page of another origin needs a token.")
            caller = await run_in_threadpool(access, request)
            open_channel = _Channel(socket, subscriptions, caller, title)
            with watch.joined(open_channel.woken):
                await open_channel.run()
        except Unauthenticated:
            await _close(socket, _POLICY, "authentication")
        except HutongError as error:
            await _close(socket, _TRY_AGAIN if isinstance(error, Unavailable) else _POLICY, error.details)
        except (TimeoutError, WebSocketDisconnect, RuntimeError):
            # It takes nothing, or went while something was being sent: what it missed is kept for it.
            await _close(socket, _TRY_AGAIN, "too slow")


async def _close(socket: WebSocket, code: int, reason: str) -> None:
    with contextlib.suppress(RuntimeError, WebSocketDisconnect, TimeoutError):
        # Before it is accepted this is a 403.
        await asyncio.wait_for(socket.close(code, reason.encode()[:120].decode(errors="ignore")), 1)
