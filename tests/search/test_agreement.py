"""Every parameter type: its SQL and its in-memory meaning agree, on made-up values, row by row."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from server.fhir.fhirpath import Node
from server.search import date, number, position, quantity, reference, string, token, uri, words
from server.search.codes import Codes
from server.search.entry import Entry
from server.search.match import MATCHES
from server.search.plan import CLAUSES
from server.search.text import fold
from server.store.database import Database
from server.store.embedded import EmbeddedPostgres
from server.store.tables.resources import INDEX_TABLES

NOW = datetime(2024, 6, 1, tzinfo=UTC)
CODES = st.sampled_from(["a", "A", "b|c", "1-8", "", "ä", "x\\,y", "a" * 600])
SYSTEMS = st.sampled_from(["http://a", "http://b", "", None])
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\U0010ffff"), max_size=8) | st.sampled_from(
    ["Müller", "MULLER", "Ann  Lee", "straße", "50%", "a_b", "x" * 80, "x" * 64 + "y"]
)
SENTENCES = st.lists(st.sampled_from(["Müller", "50%", "a_b", "肺结节", "节", "b-c", "x" * 80, "ab", "'", '"']) | WORDS,
                    min_size=1, max_size=4).map(" ".join)  # fmt: skip
NUMBERS = st.decimals(
    allow_nan=False, allow_infinity=False, min_value=-1000, max_value=1000, places=2
) | st.sampled_from([Decimal("100"), Decimal("99.5"), Decimal("1E+2"), Decimal("100.50"), Decimal("5.4e-3")])
PREFIXES = st.sampled_from(["", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"])
DATES = st.sampled_from(
    ["2024", "2024-02", "2024-02-29", "2024-02-29T12:00:00Z", "2024-02-29T12:00:00.123+01:00", "2023-12-31T23:59:60Z",
     "2024-03-01T00:30+14:00", "0001-01-01", "9999-12-31", "1969-12-31T23:59:59.999999Z"]
)  # fmt: skip
UNITS = st.sampled_from(["mg", "g", "kg", "mm[Hg]", "nonsense", "%"])


UNIT_TEXTS = UNITS.map(lambda u: f"||{u}") | UNITS.map(lambda u: f"|{quantity.UCUM}|{u}") | st.just("")


def token_text(system: str | None, code: str) -> str:
    return code or "a" if system is None else f"{system}|{code}"


def coding(system: str | None, code: str) -> dict[str, Any]:
    return {"code": code, "display": code.upper()} | ({} if system is None else {"system": system})


def period(start: str | None, end: str | None) -> dict[str, Any]:
    return {name: text for name, text in (("start", start), ("end", end)) if text}


def measured(value: Decimal, unit: str, ucum: bool) -> dict[str, Any]:
    return {"value": value, "unit": unit, "code": unit} | ({"system": quantity.UCUM} if ucum else {})


TOKENS = st.builds(lambda s, c: Node({"coding": [coding(s, c)], "text": c}, "CodeableConcept", ""), SYSTEMS, CODES)
STRINGS = st.builds(lambda f, g: Node({"family": f, "given": [g]}, "HumanName", ""), WORDS, WORDS)
TIMES = st.builds(lambda d: Node(d, "dateTime", ""), DATES) | st.builds(
    lambda s, e: Node(period(s, e), "Period", ""), DATES | st.none(), DATES | st.none()
)
LINKS = st.sampled_from(
    ["Patient/1", "Patient/2/_history/3", "http://here/fhir/Patient/1", "http://there/fhir/Patient/1", "urn:uuid:x",
     "#contained", "http://canon|1.0", "http://canon", "http://canon|1", "http://canon|1.0.2", "http://canon|10"]
)  # fmt: skip
POINTS = st.tuples(st.floats(-90, 90), st.floats(-180, 180)).map(lambda pair: tuple(Decimal(f"{n:.4f}") for n in pair))


def operands(kind: str) -> st.SearchStrategy[Any]:
    """Anything that a query may ask of a parameter type."""
    return {
        "token": st.builds(token.parse, st.builds(token_text, SYSTEMS, CODES).filter(lambda text: text != "|"),
                           st.sampled_from(["", "text"]))
        | st.builds(token.among, st.dictionaries(SYSTEMS.filter(bool), st.frozensets(CODES)).map(Codes)),
        "string": st.builds(string.parse, WORDS, st.sampled_from(["", "exact", "contains"]))
        | st.builds(lambda how, text: string.Operand(how=how, text=fold(text)),
                    st.sampled_from(["equal", "ends", "gt", "lt", "ge", "le"]), WORDS),
        "date": st.builds(lambda p, d: date.parse(p + d, NOW), PREFIXES, DATES)
        | st.builds(lambda d: replace(date.parse(d, NOW), prefix="co"), DATES),
        "words": st.builds(lambda text: words.Operand(words=tuple(words.asked(text))),
                           SENTENCES.filter(lambda text: any(words.asked(text)))),
        "number": st.builds(lambda p, n: number.parse(f"{p}{n}"), PREFIXES, NUMBERS),
        "quantity": st.builds(lambda p, n, u: quantity.parse(f"{p}{n}{u}"), PREFIXES, NUMBERS, UNIT_TEXTS),
        "uri": st.builds(uri.parse, st.sampled_from(["http://a", "http://a/", "http://a/b", "http://a/b/c", "urn:x"]),
                         st.sampled_from(["", "above", "below"])),
        "reference": st.builds(lambda r: reference.parse(r, ("Patient", "Group"), "http://here/fhir"),
                               st.sampled_from(["1", "Patient/1", "http://here/fhir/Patient/1", "urn:uuid:x",
                                                "http://there/fhir/Patient/1", "http://canon", "http://canon|1.0"]))
        | st.builds(lambda r, above: reference.parse_versions(r, above=above),
                    st.sampled_from(["http://canon", "http://canon|1", "http://canon|1.0", "http://canon|1.0.2"]),
                    st.booleans()),
        "position": st.builds(lambda p, d: position.parse(f"{p[0]}|{p[1]}|{d}|km"), POINTS, st.integers(0, 20000)),
    }[kind]  # fmt: skip


VALUES: dict[str, st.SearchStrategy[list[Entry]]] = {
    "token": TOKENS.map(lambda n: list(token.entries(n))),
    "string": STRINGS.map(lambda n: list(string.entries(n))),
    "date": TIMES.map(lambda n: list(date.entries(n))),
    "number": NUMBERS.map(lambda n: list(number.entries(Node(n, "decimal", "")))),
    "quantity": st.builds(measured, NUMBERS, UNITS, st.booleans()).map(
        lambda v: list(quantity.entries(Node(v, "Quantity", "")))
    ),
    "uri": st.sampled_from(["http://a", "http://a/", "http://a/b", "http://ab"]).map(
        lambda v: list(uri.entries(Node(v, "uri", "")))
    ),
    "reference": LINKS.map(
        lambda v: list(reference.entries(Node({"reference": v}, "Reference", ""), "http://here/fhir"))
    ),
    "words": SENTENCES.map(lambda text: list(words.entries("_content", {"note": text}))),
    "position": POINTS.map(
        lambda p: list(position.entries(Node({"latitude": p[0], "longitude": p[1]}, "BackboneElement", "")))
    ),
}


@pytest.fixture(scope="module")
def shared_database(cluster: EmbeddedPostgres) -> Iterator[Database]:
    """One database for all examples, none of which commits."""
    with psycopg.connect(cluster.url.replace("///hutong?", "///postgres?"), autocommit=True) as connection:
        connection.execute("create database agreement template hutong strategy file_copy")
    opened = Database(cluster.url.replace("///hutong?", "///agreement?"))
    yield opened
    opened.close()


def found_by_sql(database: Database, kind: str, rows: Sequence[tuple[Any, ...]], operand: Any) -> list[int]:
    table = INDEX_TABLES[kind]
    names = [column.name for column in table.columns][4:]
    with database._engine.connect() as connection:
        connection.execute(
            table.insert(),
            [dict(zip(names, row, strict=True), tenant=1, parameter=1, key=n, item=0) for n, row in enumerate(rows)],
        )
        statement = select(table.c.key).where(CLAUSES[kind](operand, table.c)).order_by(table.c.key)
        found = list(connection.execute(statement).scalars())
        connection.rollback()
    return found


@pytest.mark.parametrize("kind", sorted(VALUES))
def test_sql_and_memory_agree(shared_database: Database, kind: str) -> None:
    @settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(VALUES[kind], min_size=1, max_size=6), operands(kind))
    def agree(entries: list[list[Entry]], operand: Any) -> None:
        rows = [entry.values for one in entries for entry in one if entry.suffix == operand.suffix]
        if rows:
            expected = [n for n, row in enumerate(rows) if MATCHES[kind](operand, row)]
            assert found_by_sql(shared_database, kind, rows, operand) == expected

    agree()
