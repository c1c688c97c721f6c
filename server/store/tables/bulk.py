"""Asynchronous requests over many resources (bulk export and import): what was asked, how far it is, its files."""

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Index, Integer, LargeBinary, Table, Text, text

from server.store.tables.metadata import metadata
from server.store.tables.resources import TEXT_C

bulk_request = Table(
    "bulk_request",
    metadata,
    Column("tenant", Integer, primary_key=True),
    Column("request", TEXT_C, primary_key=True),
    # export or import.
    Column("kind", Text, nullable=False),
    Column("who", Text, nullable=False),
    # What was asked, as JSON.
    Column("asked", LargeBinary, nullable=False),
    Column("requested", DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()")),
    # accepted, running, done or failed.
    Column("state", Text, nullable=False, server_default="accepted"),
    # What the answer is of: set once, with what is to be given.
    Column("moment", DateTime(timezone=True)),
    Column("progress", Text, nullable=False, server_default=""),
    # Why it failed.
    Column("reason", Text, nullable=False, server_default=""),
    Column("expires", DateTime(timezone=True)),
    Index("ix_bulk_request_expires", "expires", postgresql_where=text("expires is not null")),
)

# The versions that an export gives.
bulk_entry = Table(
    "bulk_entry",
    metadata,
    Column("tenant", Integer, primary_key=True),
    Column("request", TEXT_C, primary_key=True),
    Column("type", TEXT_C, primary_key=True),
    Column("id", TEXT_C, primary_key=True),
    Column("version", BigInteger, nullable=False),
    # What index rows refer to.
    Column("key", BigInteger, nullable=False),
    Column("deleted", Boolean, nullable=False),
)

# Whose compartments an export is of.
bulk_subject = Table(
    "bulk_subject",
    metadata,
    Column("tenant", Integer, primary_key=True),
    Column("request", TEXT_C, primary_key=True),
    Column("id", TEXT_C, primary_key=True),
)

# Finished files; one that has no row is not finished.
bulk_file = Table(
    "bulk_file",
    metadata,
    Column("tenant", Integer, primary_key=True),
    Column("request", TEXT_C, primary_key=True),
    Column("name", TEXT_C, primary_key=True),
    # input, output, deleted or error.
    Column("kind", Text, nullable=False),
    Column("type", TEXT_C, nullable=False),
    # How many resources are in it.
    Column("count", BigInteger, nullable=False),
    # Where it ended: the next file begins behind it.
    Column("last", TEXT_C, nullable=False, server_default=""),
    # Of what the client named, for import.
    Column("source", Text, nullable=False, server_default=""),
)
