"""A statement on libpq itself, for the one that every arriving instance pays for.

psycopg's own way builds its parameters in Python, one class at a time, and waits in Python; here arrays of three types
are packed as PostgreSQL's binary format has them (array_send in its source), and libpq waits.
"""

import struct
from collections.abc import Iterable, Sequence
from typing import Any

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

    def execute(self, connection: psycopg.Connection[Any], parameters: Sequence[bytes]) -> list[str]:
        """The first column of the result, as text; raises psycopg's errors."""
        result = connection.pgconn.exec_prepared(self._name, parameters, self._formats)
        if result.error_field(pq.DiagnosticField.SQLSTATE) == b"26000":
            # invalid_sql_statement_name: this connection does not know it yet.
            self._checked(connection, connection.pgconn.prepare(self._name, self._statement))
            result = connection.pgconn.exec_prepared(self._name, parameters, self._formats)
        self._checked(connection, result)
        return [(result.get_value(row, 0) or b"").decode() for row in range(result.ntuples)]

    def _checked(self, connection: psycopg.Connection[Any], result: pq.abc.PGresult) -> None:
        if result.status in (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK):
            return
        if connection.pgconn.status != pq.ConnStatus.OK:
            raise psycopg.OperationalError("The connection to the database broke.")
        raise psycopg.errors.error_from_result(result)
