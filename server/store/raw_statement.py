"""A statement on libpq itself, for the one that every arriving instance pays for.

psycopg's own way builds its parameters in Python, one class at a time; here arrays of three types are packed as
PostgreSQL's binary format has them (array_send in its source). The statement is sent and runs while its sender does
something else; it commits when its sender says so (libpq's pipeline mode: until the sync, a transaction is open).
"""

import select
import struct
from collections.abc import Iterable, Sequence
from typing import Any
from weakref import WeakSet

import psycopg
from psycopg import pq

_HEAD = struct.Struct(">iiIii")
_LENGTH = struct.Struct(">i")
_INT8 = struct.Struct(">iq")
_NULL = _LENGTH.pack(-1)
#: PostgreSQL's type numbers (pg_type.dat), which never change.
_OIDS = {"text": 25, "bigint": 20, "bytea": 17}


def array(kind: str, values: Sequence[Any]) -> bytes:
    """An array of text, bigint or bytea in binary format."""
    parts = [_HEAD.pack(1, 1, _OIDS[kind], len(values), 1)]
    for value in values:
        if value is None:
            parts.append(_NULL)
        elif kind == "bigint":
            parts.append(_INT8.pack(8, value))
        else:
            item = value if kind == "bytea" else value.encode()
            parts += (_LENGTH.pack(len(item)), item)
    return b"".join(parts)


class RawStatement:
    """One statement, prepared on each connection at its first use; its parameters are ``$1`` and so on."""

    def __init__(self, name: str, statement: str, formats: Iterable[int]) -> None:
        """``formats``: 1 for a parameter in binary format, 0 for text."""
        self._name = name.encode("ascii")
        self._statement = statement.encode()
        self._formats = list(formats)
        self._known: WeakSet[psycopg.Connection[Any]] = WeakSet()

    def send(self, connection: psycopg.Connection[Any], parameters: Sequence[bytes]) -> "Running":
        """Sends the statement, which runs meanwhile; raises psycopg's errors.

        Whoever does not ``commit`` it must close the connection: its transaction stays open.
        """
        libpq = connection.pgconn
        if connection not in self._known:
            _checked(libpq, libpq.prepare(self._name, self._statement))
            self._known.add(connection)
        libpq.enter_pipeline_mode()
        libpq.send_query_prepared(self._name, parameters, self._formats)
        _flush(libpq)
        return Running(libpq)


class Running:
    """A statement whose transaction is open."""

    def __init__(self, libpq: pq.abc.PGconn) -> None:
        self._libpq = libpq

    def commit(self) -> list[str]:
        """Commits; gives the result's first column as text. Raises psycopg's errors and commits nothing then."""
        libpq = self._libpq
        libpq.pipeline_sync()
        _flush(libpq)
        result = _next(libpq)
        while (end := _next(libpq)) is None or end.status != pq.ExecStatus.PIPELINE_SYNC:
            # One None ends the statement's results; a commit that fails is told after it.
            if end is not None:
                result = end
            elif libpq.status != pq.ConnStatus.OK:
                raise psycopg.OperationalError("The connection to the database broke.")
        libpq.exit_pipeline_mode()
        if result is None:
            raise psycopg.OperationalError("The database gave no result.")
        _checked(libpq, result)
        return [(result.get_value(row, 0) or b"").decode() for row in range(result.ntuples)]


def _next(libpq: pq.abc.PGconn) -> pq.abc.PGresult | None:
    """The next result, waited for without holding up other threads."""
    while libpq.is_busy():
        _wait(libpq, select.POLLIN)
        libpq.consume_input()
    return libpq.get_result()


def _flush(libpq: pq.abc.PGconn) -> None:
    while libpq.flush():
        _wait(libpq, select.POLLIN | select.POLLOUT)
        libpq.consume_input()


def _wait(libpq: pq.abc.PGconn, events: int) -> None:
    poll = select.poll()
    poll.register(libpq.socket, events)
    poll.poll()


def _checked(libpq: pq.abc.PGconn, result: pq.abc.PGresult) -> None:
    if result.status in (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK):
        return
    if libpq.status != pq.ConnStatus.OK:
        raise psycopg.OperationalError("The connection to the database broke.")
    raise psycopg.errors.error_from_result(result)
