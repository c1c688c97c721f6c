"""Notices a database that no longer answers, so that nobody waits for it for ever.

A connection that breaks ends a statement; a server that hangs, a frozen machine or a dead network does not. When a
statement has run for long, the database is asked something on a connection of its own. Where that stays without an
answer, the sockets of all that wait are shut: libpq then gives up, and the caller gets the usual error. What became of
its statement is not known; whoever sends again is told.
"""

import contextlib
import os
import socket
import threading
import time
import weakref
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

#: Seconds after which a statement that still runs is a reason to ask, and that the answer may take.
PATIENCE, ANSWER_SECONDS = 10.0, 5
_TICK = 1.0


class Watch:
    """Watches the connections of one process to one database."""

    def __init__(self, url: str, *, patience: float = PATIENCE, tick: float = _TICK) -> None:
        self._url = url
        self._patience, self._tick = patience, tick
        self._lock = threading.Lock()
        self._connections: weakref.WeakSet[psycopg.Connection[Any]] = weakref.WeakSet()
        #: Since when each has been seen to wait.
        self._since: weakref.WeakKeyDictionary[psycopg.Connection[Any], float] = weakref.WeakKeyDictionary()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, connection: psycopg.Connection[Any]) -> None:
        """Watches one more, for as long as it is open."""
        with self._lock:
            self._connections.add(connection)
            if self._thread is None and not self._over.is_set():
                self._thread = threading.Thread(target=self._run, name="database-watch", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Watches no more."""
        self._over.set()

    def _run(self) -> None:
        while not self._over.wait(self._tick):
            late = self._late(time.monotonic())
            if late and not self._answers():
                for connection in late:
                    _shut(connection)

    def _late(self, now: float) -> list[psycopg.Connection[Any]]:
        """Those whose statement has run for long."""
        with self._lock:
            connections = list(self._connections)
        late = []
        for connection in connections:
            if connection.closed or connection.pgconn.transaction_status != TransactionStatus.ACTIVE:
                self._since.pop(connection, None)
            elif now - self._since.setdefault(connection, now) >= self._patience:
                late.append(connection)
        return late

    def _answers(self) -> bool:
        try:
            with psycopg.connect(self._url, connect_timeout=ANSWER_SECONDS, application_name="hutong-watch"):
                # To be let in takes more of the server than a statement does.
                return True
        except psycopg.errors.ConnectionTimeout:
            return False
        except psycopg.OperationalError:
            # It is away and says so, or has no room; then the connections end by themselves.
            return True


def _shut(connection: psycopg.Connection[Any]) -> None:
    # A copy of the descriptor: libpq, in another thread, keeps its own, and sees the end.
    with contextlib.suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as copy:
        copy.shutdown(socket.SHUT_RDWR)
