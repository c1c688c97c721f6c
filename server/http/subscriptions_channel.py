"""The websocket channel of Subscriptions: https://hl7.org/fhir/uv/subscriptions-backport/channels.html#websockets

A client says ``bind-with-token <token>``, as often as it likes, and gets notifications of what the tokens stand for.
An event counts as delivered only when the connection has answered a ping that was sent behind it; whatever does not so
count is sent again to who comes back.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from fastapi import APIRouter, Request, WebSocket, WebSocketDisconnect
from fastapi.concurrency import run_in_threadpool

from server.errors import Forbidden, Gone, HutongError, Unavailable
from server.events.websocket import Told, Websockets
from server.http.watch import Watch
from server.http.workitems_channel import PING_INTERVAL, PING_TIMEOUT
from server.store.subscribers import Binding

#: Seconds after which a connection that is still there has certainly answered a later ping.
_SURE = PING_INTERVAL + PING_TIMEOUT + 1.0
#: Seconds that a client may take nothing, and within which it says its first token.
_STALLED, _SILENT = 10.0, 30.0
#: Subscriptions of one connection.
_MOST_BOUND = 1000
#: Close codes (RFC 6455 7.4.1): normal; policy violation; try again later.
_NORMAL, _POLICY, _TRY_AGAIN = 1000, 1008, 1013
_BIND = "bind-with-token "


@dataclass(kw_only=True)
class _Bound:
    """One subscription that a connection is bound to."""

    binding: Binding
    id: str
    #: Number of the event that was sent last; None before the handshake.
    sent: int | None = None
    heartbeat: int | None = None
    #: When something was sent last, by the loop's clock.
    told: float = 0.0
    #: When each notification was sent, and its last number: what is not certain to have arrived yet.
    underway: deque[tuple[float, int]] = field(default_factory=deque)


class _Channel:
    """One open connection."""

    def __init__(self, socket: WebSocket, websockets: Websockets, base: str) -> None:
        self._socket = socket
        self._websockets = websockets
        self._base = base
        self.woken = asyncio.Event()
        self._bound: dict[tuple[int, str], _Bound] = {}
        self._said: deque[str] = deque()
        self._began = asyncio.get_running_loop().time()

    async def run(self) -> None:
        """Binds and sends, until the client goes or nothing is bound any more."""
        await self._socket.accept()
        gone = asyncio.create_task(self._listen())
        try:
            while not gone.done():
                self.woken.clear()
                while self._said:
                    await self._bind(self._said.popleft())
                if not await self._round():
                    if self._is_over():
                        await _close(self._socket, _NORMAL, "nothing is bound")
                        return
                    waiting = asyncio.create_task(self.woken.wait())
                    # Now and then without being woken, for heartbeats and what has arrived or is over.
                    await asyncio.wait([gone, waiting], timeout=0.5, return_when=asyncio.FIRST_COMPLETED)
                    waiting.cancel()
        finally:
            gone.cancel()

    async def _listen(self) -> None:
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            text = message.get("text") or ""
            if text.startswith(_BIND) and len(self._said) < _MOST_BOUND:
                self._said.append(text.removeprefix(_BIND).strip())
                self.woken.set()

    def _is_over(self) -> bool:
        quiet = asyncio.get_running_loop().time() - self._began > _SILENT
        return not self._bound and not self._said and quiet

    async def _bind(self, token: str) -> None:
        binding = await run_in_threadpool(self._websockets.bound, token)
        for id in binding.subscriptions:
            key = (binding.tenant, id)
            known = self._bound.get(key)
            if known is None and len(self._bound) >= _MOST_BOUND:
                raise Forbidden(f"One connection is bound to {_MOST_BOUND} subscriptions at most.")
            self._bound[key] = known or _Bound(binding=binding, id=id)
            self._bound[key].binding = binding
            await self._greet(self._bound[key])

    async def _greet(self, bound: _Bound) -> bool:
        told = await run_in_threadpool(self._websockets.handshake, bound.binding, bound.id, self._base)
        if told is not None:
            # Who binds again goes on where it was.
            await self._send(bound, told, bound.sent if bound.sent is not None else told.number)
        return told is not None

    async def _round(self) -> bool:
        """Gives every bound subscription one turn; False when there was nothing to send."""
        anything = False
        for key, bound in list(self._bound.items()):
            await self._settle(bound)
            if bound.binding.expires <= datetime.now(UTC):
                del self._bound[key]
                self._began = asyncio.get_running_loop().time() - _SILENT
                continue
            try:
                anything |= await self._turn(bound)
            except Gone:
                del self._bound[key]
        return anything

    async def _turn(self, bound: _Bound) -> bool:
        if bound.sent is None:
            return await self._greet(bound)
        told = await run_in_threadpool(self._websockets.after, bound.binding, bound.id, bound.sent, self._base)
        if told is not None:
            await self._send(bound, told, told.number)
            bound.underway.append((bound.told, told.number))
            return True
        if bound.heartbeat and asyncio.get_running_loop().time() - bound.told >= bound.heartbeat:
            beat = await run_in_threadpool(self._websockets.heartbeat, bound.binding, bound.id, bound.sent, self._base)
            await self._send(bound, beat, bound.sent)
        return False

    async def _send(self, bound: _Bound, told: Told, number: int) -> None:
        await asyncio.wait_for(self._socket.send_text(told.text), _STALLED)
        bound.sent, bound.heartbeat = number, told.heartbeat
        bound.told = asyncio.get_running_loop().time()

    async def _settle(self, bound: _Bound) -> None:
        now, arrived = asyncio.get_running_loop().time(), 0
        while bound.underway and bound.underway[0][0] + _SURE < now:
            arrived = bound.underway.popleft()[1]
        if arrived:
            await run_in_threadpool(self._websockets.acknowledge, bound.binding, bound.id, arrived)


def add_routes(api: APIRouter, websockets: Websockets, base: Callable[[Request], str]) -> None:
    """The websocket; ``base`` is the FHIR base URL as the client sees it."""
    watch = Watch(websockets.newest)

    @api.websocket("/websocket")
    async def channel(socket: WebSocket) -> None:
        """Notifications, each a text frame of FHIR JSON or XML. A token is all that binds, whatever the origin."""
        try:
            request = Request({**socket.scope, "type": "http", "method": "GET", "scheme": "http"})
            opened = _Channel(socket, websockets, base(request))
            with watch.joined(opened.woken):
                await opened.run()
        except HutongError as error:
            await _close(socket, _TRY_AGAIN if isinstance(error, Unavailable) else _POLICY, error.details)
        except (TimeoutError, WebSocketDisconnect, RuntimeError):
            # It takes nothing, or went while something was being sent: what it missed is kept for it.
            await _close(socket, _TRY_AGAIN, "too slow")


async def _close(socket: WebSocket, code: int, reason: str) -> None:
    with contextlib.suppress(RuntimeError, WebSocketDisconnect, TimeoutError):
        await asyncio.wait_for(socket.close(code, reason.encode()[:120].decode(errors="ignore")), 1)
