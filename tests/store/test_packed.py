"""Arrays packed by ourselves mean what psycopg's do."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.store.database import Database
from server.store.packed import ARRAYS

_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
_NUMBERS = st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=Decimal(-(10**30)), max_value=10**30)
_TIMES = st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30), timezones=st.just(UTC))
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "text": st.none() | _TEXT,
    "bytea": st.none() | st.binary(max_size=40),
    "integer": st.integers(-(1 << 31), (1 << 31) - 1),
    "bigint": st.integers(-(1 << 63), (1 << 63) - 1),
    "numeric": st.none() | _NUMBERS,
    "boolean": st.booleans(),
    "timestamptz": _TIMES,
}


@pytest.mark.parametrize("kind", sorted(ARRAYS))
def test_arrays_arrive_as_they_were(database: Database, kind: str) -> None:
    with database.statement() as connection:

        @settings(max_examples=80)
        @given(st.lists(VALUES[kind]))
        def check(values: list[Any]) -> None:
            row = connection.execute(
                f"select %s::{kind}[] is not distinct from %s::{kind}[], cardinality(%s::{kind}[])",
                (ARRAYS[kind](values), values, ARRAYS[kind](values)),
            ).fetchone()
            assert row == (True, len(values))

        check()
