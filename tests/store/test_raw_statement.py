"""Arrays packed by ourselves mean what psycopg's do, and failures come as psycopg's errors."""

from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.store.database import Database
from server.store.raw_statement import RawStatement, array

TEXTS = st.lists(st.none() | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
NUMBERS = st.lists(st.none() | st.integers(-(1 << 63), (1 << 63) - 1))
BINARIES = st.lists(st.none() | st.binary(max_size=40))


@pytest.mark.parametrize(("kind", "values"), [("text", TEXTS), ("bigint", NUMBERS), ("bytea", BINARIES)])
def test_arrays_arrive_as_they_were(database: Database, kind: str, values: Any) -> None:
    same = RawStatement(f"same_{kind}", f"select $1::{kind}[] is not distinct from $2::{kind}[]", [1, 0])
    theirs = f"select %s::{kind}[]::text"
    with database.statement() as connection:

        @settings(max_examples=60)
        @given(values)
        def check(found: list[Any]) -> None:
            row = connection.execute(theirs, (found,)).fetchone()  # type: ignore[arg-type]
            assert row is not None
            assert same.execute(connection, [array(kind, found), row[0].encode()]) == ["t"]

        check()


def test_failures_are_psycopgs(database: Database) -> None:
    divide = RawStatement("divide", "select 1 / $1::int", [0])
    with database.statement() as connection:
        assert divide.execute(connection, [b"1"]) == ["1"]
        with pytest.raises(psycopg.errors.DivisionByZero):
            divide.execute(connection, [b"0"])
        with pytest.raises(psycopg.errors.UndefinedTable):
            RawStatement("nowhere", "select * from nowhere", []).execute(connection, [])
        assert divide.execute(connection, [b"1"]) == ["1"]


def test_a_connection_that_broke_is_said_to_be(database: Database) -> None:
    one = RawStatement("one", "select 1", [])
    connection = psycopg.connect(database.url, autocommit=True)
    assert one.execute(connection, []) == ["1"]
    with psycopg.connect(database.url, autocommit=True) as other:
        other.execute("select pg_terminate_backend(%s)", (connection.info.backend_pid,))
    with pytest.raises(psycopg.OperationalError):
        one.execute(connection, [])
    connection.close()
