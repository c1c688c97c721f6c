"""A database of an earlier release becomes what a fresh one is."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from procrastinate.schema import SchemaManager

from server.store.database import Database
from server.store.embedded import EmbeddedPostgres
from server.store.migrate import revisions, upgrade

_COLUMNS = """
    select table_name, column_name, data_type, collation_name, is_nullable, column_default
    from information_schema.columns where table_schema = 'public' order by 1, 2
"""
_INDEXES = "select tablename, indexname, indexdef from pg_indexes where schemaname = 'public' order by 1, 2"


@pytest.fixture
def released(cluster: EmbeddedPostgres) -> Iterator[str]:
    """A database as release 0001 left it."""
    admin = cluster.url.replace("///hutong?", "///postgres?")
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("create database released")
    url = cluster.url.replace("///hutong?", "///released?")
    with psycopg.connect(url) as connection:
        connection.execute((Path(__file__).parent / "schema_0001.sql").read_bytes())
        connection.execute(SchemaManager.get_schema().encode())
        connection.execute("insert into tenant (tenant, name) values (1, 'default')")
        connection.execute(
            "create table alembic_version (version_num varchar(32) constraint alembic_version_pkc primary key)"
        )
        connection.execute("insert into alembic_version values ('0001')")
    yield url
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("drop database released with (force)")


def _facts(url: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(query.encode()).fetchall()


def test_an_earlier_release_is_brought_to_the_schema_of_a_fresh_one(released: str, database_url: str) -> None:
    database = Database(released)
    assert revisions(database)[0] == "0001"
    upgrade(database)
    current, wanted = revisions(database)
    database.close()
    assert current == wanted
    assert _facts(released, _COLUMNS) == _facts(database_url, _COLUMNS)
    assert _facts(released, _INDEXES) == _facts(database_url, _INDEXES)
