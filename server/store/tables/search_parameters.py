"""Search parameters that SearchParameter resources declare, and how far the index of each has come."""

from sqlalchemy import ARRAY, BigInteger, Column, DateTime, Identity, Integer, Table, Text, text

from server.store.tables.metadata import metadata

_C = Text(collation="C")

search_parameter = Table(
    "search_parameter",
    metadata,
    Column("tenant", Integer, primary_key=True),
    # The id of the SearchParameter resource.
    Column("id", _C, primary_key=True),
    # Another one each time that what is declared changes.
    Column("revision", BigInteger, Identity(), nullable=False),
    # What is declared, as JSON; absent once it is taken back, until its index is gone.
    Column("facts", Text),
    # declared, clearing, indexing or active.
    Column("state", Text, nullable=False, server_default=text("'declared'")),
    # Numbers in the index tables whose rows go before anything is indexed.
    Column("stale", ARRAY(Integer), nullable=False, server_default=text("'{}'")),
    # The last resource that was indexed, and the last that has to be, in the order of their keys.
    Column("position", BigInteger, nullable=False, server_default=text("0")),
    Column("last", BigInteger, nullable=False, server_default=text("0")),
    # Resources looked at, and how many there are to look at.
    Column("indexed", BigInteger, nullable=False, server_default=text("0")),
    Column("total", BigInteger, nullable=False, server_default=text("0")),
    Column("created", DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()")),
)

#: Runs of ``hutong reindex`` that have not ended: where the next one goes on.
reindex_run = Table(
    "reindex_run",
    metadata,
    Column("tenant", Integer, primary_key=True),
    # What is indexed anew, as it was asked for.
    Column("scope", _C, primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("indexed", BigInteger, nullable=False),
)
