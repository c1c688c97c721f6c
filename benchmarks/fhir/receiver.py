"""A process that takes notifications for many subscribers, a path each, and notes when each event came.

Some misbehave: ``hangs`` never answers, ``flaps`` takes and drops connections by turns, ``errors`` answers 500.
"""

import asyncio
import json
import re
import time
from collections.abc import Callable
from datetime import datetime
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

_EVENT = re.compile(
    rb'"event-number","valueString":"(\d+)"\},\{"name":"timestamp","valueInstant":"([^"]+)"\}'
    rb',\{"name":"focus","valueReference":\{"reference":"([^"]+)"'
)
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_FLAP_SECONDS = 5.0

#: Subscriber -> (event number, seconds from the write to here, focus) in order of arrival.
Arrivals = dict[str, list[tuple[int, float, str]]]


class _Endpoint(asyncio.Protocol):
    """One connection: whole requests in, answers out."""

    def __init__(self, arrivals: Arrivals, bad: dict[str, str]) -> None:
        self._arrivals, self._bad = arrivals, bad
        self._bytes = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps what answers go out by."""
        if isinstance(transport, asyncio.Transport):
            self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Takes every request that is there as a whole."""
        self._bytes += data
        while (end := self._bytes.find(b"\r\n\r\n")) >= 0:
            head = self._bytes[:end]
            found = _LENGTH.search(head)
            length = int(found[1]) if found else 0
            if len(self._bytes) < end + 4 + length:
                return
            body, self._bytes = self._bytes[end + 4 : end + 4 + length], self._bytes[end + 4 + length :]
            self._take(head.split(b" ", 2)[1].rpartition(b"/")[2].decode(), body)

    def _take(self, name: str, body: bytes) -> None:
        assert self._transport is not None
        how = self._bad.get(name, "")
        if how == "hangs":
            return
        if how == "flaps" and int(time.monotonic() / _FLAP_SECONDS) % 2:
            self._transport.abort()
            return
        if how == "errors":
            self._transport.write(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")
            return
        now = time.time()
        taken = self._arrivals.setdefault(name, [])
        for number, moment, focus in _EVENT.findall(body):
            delay = now - datetime.fromisoformat(moment.decode()).timestamp()
            taken.append((int(number), delay, focus.decode().rpartition("/")[2]))
        self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


async def _serve(pipe: Connection, file: Path, bad: dict[str, str]) -> None:
    arrivals: Arrivals = {}
    loop = asyncio.get_running_loop()
    make: Callable[[], asyncio.Protocol] = lambda: _Endpoint(arrivals, bad)  # noqa: E731
    server = await loop.create_server(make, "127.0.0.1", 0)
    pipe.send(server.sockets[0].getsockname()[1])
    while True:
        message = await loop.run_in_executor(None, pipe.recv)
        if message == "count":
            pipe.send({name: len({number for number, *_ in found}) for name, found in arrivals.items()})
        elif message == "misbehave":
            bad.update(pipe.recv())
        else:
            break
    file.write_text(json.dumps(arrivals), encoding="utf-8")
    pipe.send("written")
    server.close()


def _run(pipe: Connection, file: Path) -> None:
    asyncio.run(_serve(pipe, file, {}))


class Receiver:
    """The process, and what it has taken."""

    def __init__(self, file: Path) -> None:
        context = get_context("spawn")
        self._pipe, other = context.Pipe()
        self._file = file
        self._process = context.Process(target=_run, args=(other, file), daemon=True)
        self._process.start()
        self.port = int(self._pipe.recv())

    def url(self, name: str) -> str:
        """The endpoint of one subscriber."""
        return f"http://127.0.0.1:{self.port}/{name}"

    def misbehave(self, bad: dict[str, str]) -> None:
        """From now on these subscribers are bad ones, each in its way; "" for good again."""
        self._pipe.send("misbehave")
        self._pipe.send(bad)

    def counts(self) -> dict[str, int]:
        """How many events each has so far."""
        self._pipe.send("count")
        found: dict[str, int] = self._pipe.recv()
        return found

    def finish(self) -> Arrivals:
        """Ends the process; gives everything that came."""
        self._pipe.send("end")
        self._pipe.recv()
        self._process.join()
        found: Arrivals = json.loads(self._file.read_text(encoding="utf-8"))
        return found
