"""FHIR resources: current versions, superseded versions, search index rows, the audit.

Bodies are bytes (the digits of decimals, U+0000); deletes are versions; every version is kept. The index tables hold
what `server/search` derives from a body: one table for each kind of value, keyed by the version's ``key``. A superseded
version keeps its key and rows for a while, for searches whose first page was given before.
``parameter`` is the number of a search parameter of one resource type (``server.search.numbers``); ``item`` ties the
components of one composite value together and is 0 elsewhere.
"""

from typing import Any

from sqlalchemy import (
    DDL,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Numeric,
    Table,
    Text,
    event,
    func,
    text,
)
from sqlalchemy.types import UserDefinedType

from server.store.tables.metadata import metadata


class XID8(UserDefinedType[str]):
    """PostgreSQL's number of a transaction."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """Its name in SQL."""
        return "xid8"


class PgSnapshot(UserDefinedType[str]):
    """PostgreSQL's account of the transactions that had committed at a moment."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """Its name in SQL."""
        return "pg_snapshot"


#: Text compared byte by byte: fast, and the same on every machine.
TEXT_C = Text(collation="C")


resource = Table(
    "resource",
    metadata,
    Column("tenant", Integer, primary_key=True),
    Column("type", TEXT_C, primary_key=True),
    Column("id", TEXT_C, primary_key=True),
    Column("key", BigInteger, Identity(), nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("last_updated", DateTime(timezone=True), nullable=False),
    Column("deleted", Boolean, nullable=False),
    Column("body", LargeBinary, nullable=False),
    # The transaction that wrote this version; absent from before there was this column.
    Column("written", XID8, server_default=text("pg_current_xact_id()")),
    Index("ix_resource_key", "tenant", "key", unique=True),
    Index("ix_resource_type_key", "tenant", "type", "key", postgresql_where=text("not deleted")),
    Index("ix_resource_last_updated", "tenant", "type", "last_updated"),
)

resource_history = Table(
    "resource_history",
    metadata,
    Column("tenant", Integer, primary_key=True),
    Column("type", TEXT_C, primary_key=True),
    Column("id", TEXT_C, primary_key=True),
    Column("version", BigInteger, primary_key=True),
    Column("last_updated", DateTime(timezone=True), nullable=False),
    Column("deleted", Boolean, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index("ix_resource_history_last_updated", "tenant", "type", "last_updated"),
    # As long as pages that were begun before may still be turned: what the index rows refer to, the transactions that
    # wrote and superseded it, and when.
    Column("key", BigInteger),
    Column("written", XID8),
    Column("superseded_by", XID8),
    Column("superseded", DateTime(timezone=True)),
    Index("ix_resource_history_key", "tenant", "key", unique=True, postgresql_where=text("key is not null")),
    Index("ix_resource_history_superseded", "tenant", "superseded", postgresql_where=text("key is not null")),
)


def _index_table(kind: str, *columns: Column[Any], by: tuple[Any, ...]) -> Table:
    """One index table: found by tenant, parameter and value; rows of one resource are replaced by tenant and key."""
    name = f"index_{kind}"
    own = [Column(column, BigInteger if column == "key" else Integer, nullable=False) for column in _KEY]
    return Table(
        name,
        metadata,
        *own,
        *columns,
        Index(f"ix_{name}_value", "tenant", "parameter", *by, "key"),
        Index(f"ix_{name}_key", "tenant", "key"),
    )


_KEY = ("tenant", "parameter", "key", "item")

index_token = _index_table(
    "token",
    Column("system", TEXT_C),
    Column("code", TEXT_C),
    # The folded words beside the code, for :text.
    Column("text", TEXT_C),
    by=("code", "system"),
)
index_string = _index_table(
    "string",
    Column("folded", TEXT_C, nullable=False),
    Column("exact", TEXT_C, nullable=False),
    by=(func.left(text("folded"), 64),),
)
# A target is "Type/id" on this server, or else the whole URL, URN or canonical.
index_reference = _index_table("reference", Column("target", TEXT_C, nullable=False), by=("target",))
# Microseconds since 1970 in UTC, both ends included; open ends are the ends of bigint.
index_date = _index_table(
    "date", Column("low", BigInteger, nullable=False), Column("high", BigInteger, nullable=False), by=("low", "high")
)
index_number = _index_table(
    "number", Column("low", Numeric, nullable=False), Column("high", Numeric, nullable=False), by=("low", "high")
)
index_quantity = _index_table(
    "quantity",
    Column("low", Numeric, nullable=False),
    Column("high", Numeric, nullable=False),
    Column("system", TEXT_C),
    Column("code", TEXT_C),
    Column("unit", TEXT_C),
    by=("code", "low"),
)
index_uri = _index_table("uri", Column("uri", TEXT_C, nullable=False), by=("uri",))
# WGS 84 degrees.
index_position = _index_table(
    "position",
    Column("latitude", Numeric, nullable=False),
    Column("longitude", Numeric, nullable=False),
    by=("latitude", "longitude"),
)

# Words joined by spaces: of a narrative (_text), of a whole resource (_content).
index_words = Table(
    "index_words",
    metadata,
    *(Column(column, BigInteger if column == "key" else Integer, nullable=False) for column in _KEY),
    Column("words", TEXT_C, nullable=False),
    Index("ix_index_words_value", text("string_to_array(words, ' ')"), postgresql_using="gin"),
    Index("ix_index_words_key", "tenant", "key"),
)

INDEX_TABLES: dict[str, Table] = {
    "token": index_token,
    "string": index_string,
    "reference": index_reference,
    "date": index_date,
    "number": index_number,
    "quantity": index_quantity,
    "uri": index_uri,
    "position": index_position,
    "words": index_words,
}

for _table, _column in ((index_token, "code"), (index_reference, "target"), (index_uri, "uri")):
    # A code belongs to few parameters: told so, the planner does not take two conditions for two independent ones.
    event.listen(
        _table,
        "after_create",
        DDL(  # type: ignore[no-untyped-call]
            f"create statistics st_{_table.name} (dependencies, mcv) on parameter, {_column} from {_table.name}"
        ),
    )

audit = Table(
    "audit",
    metadata,
    Column("tenant", Integer, primary_key=True),
    Column("audit", BigInteger, Identity(), primary_key=True),
    Column("at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    Column("who", Text, nullable=False),
    # create, update or delete.
    Column("action", Text, nullable=False),
    Column("type", TEXT_C, nullable=False),
    Column("id", TEXT_C, nullable=False),
    Column("version", BigInteger, nullable=False),
    Index("ix_audit_entity", "tenant", "type", "id"),
)
