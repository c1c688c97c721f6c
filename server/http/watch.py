"""Wakes open connections when there is something new for them."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fastapi.concurrency import run_in_threadpool

from server.errors import Unavailable

#: Seconds between two looks for something new, for all connections together.
_LOOK = 0.2


class Watch:
    """One query for all connections, and only while there are any."""

    def __init__(self, newest: Callable[[], Mapping[Any, Any]]) -> None:
        """``newest`` gives what differs once there is something new."""
        self._ask = newest
        self._waiting: set[asyncio.Event] = set()
        self._newest: Mapping[Any, Any] = {}
        self._looking: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def joined(self, woken: asyncio.Event) -> Iterator[None]:
        """While a connection is open."""
        self._waiting.add(woken)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(self._look())
        try:
            yield
        finally:
            self._waiting.discard(woken)

    async def _look(self) -> None:
        while self._waiting:
            # A database that is away says nothing new; the connections find out by themselves.
            with contextlib.suppress(Unavailable):
                newest = await run_in_threadpool(self._ask)
                if newest != self._newest:
                    self._newest = newest
                    for woken in self._waiting:
                        woken.set()
            await asyncio.sleep(_LOOK)
