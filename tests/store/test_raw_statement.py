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
            assert same.send(connection, [array(kind, found), row[0].encode()]).commit() == ["t"]

        check()


def test_failures_are_psycopgs(database: Database) -> None:
    divide = RawStatement("divide", "select 1 / $1::int", [0])
    with database.statement() as connection:
        assert divide.send(connection, [b"1"]).commit() == ["1"]
        with pytest.raises(psycopg.errors.DivisionByZero):
            divide.send(connection, [b"0"]).commit()
        with pytest.raises(psycopg.errors.UndefinedTable):
            RawStatement("nowhere", "select * from nowhere", []).send(connection, []).commit()
        assert divide.send(connection, [b"1"]).commit() == ["1"]


def test_nothing_is_committed_before_it_is_said(database: Database) -> None:
    add = RawStatement("add", "insert into patient (tenant, patient, attributes) values (1, $1, '{}')", [0])
    count = "select count(*) from patient"
    with database.statement() as connection, database.statement() as other:
        running = add.send(connection, [b"p"])
        assert other.execute(count).fetchone() == (0,)
        assert running.commit() == []
        assert other.execute(count).fetchone() == (1,)
        add.send(connection, [b"q"])
        connection.close()
        assert other.execute(count).fetchone() == (1,)


def test_a_connection_that_broke_is_said_to_be(database: Database) -> None:
    one = RawStatement("one", "select 1", [])
    connection = psycopg.connect(database.url, autocommit=True)
    assert one.send(connection, []).commit() == ["1"]
    with psycopg.connect(database.url, autocommit=True) as other:
        other.execute("select pg_terminate_backend(%s)", (connection.info.backend_pid,))
    with pytest.raises(psycopg.OperationalError):
        one.send(connection, []).commit()
    connection.close()
