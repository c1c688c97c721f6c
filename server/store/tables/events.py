"""The outbox of changes, the dispatcher's position in it, and every subscription's numbered events."""

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Identity, Index, Integer, Table, Text, text

from server.store.tables.metadata import metadata

#: One row for each version written, in the transaction that wrote it.
change = Table(
    "change",
    metadata,
    Column("tenant", Integer, primary_key=True),
    Column("seq", BigInteger, Identity(), primary_key=True),
    # The writing transaction's number: a sequence is not commit order, so readers stay below the oldest running one.
    Column("xid", BigInteger, nullable=False, server_default=text("(pg_current_xact_id()::text)::bigint")),
    Column("type", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("recorded", DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()")),
)
Index("ix_change_order", change.c.tenant, change.c.xid, change.c.seq)

#: How far the one dispatcher of a tenant has read.
dispatch_position = Table(
    "dispatch_position",
    metadata,
    Column("tenant", Integer, primary_key=True, autoincrement=False),
    Column("xid", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
)

#: What the dispatcher and the notifier know of one Subscription resource.
subscription = Table(
    "subscription",
    metadata,
    Column("tenant", Integer, primary_key=True),
    Column("id", Text, primary_key=True),
    # The version that was taken over last.
    Column("version", Integer, nullable=False),
    # requested, active, error or off.
    Column("status", Text, nullable=False),
    Column("topic", Text, nullable=False),
    # Newline-separated search queries, all of which must match.
    Column("filters", Text, nullable=False, server_default=""),
    # When it ends by itself (Subscription.end).
    Column("until", DateTime(timezone=True)),
    Column("handshaken", Boolean, nullable=False, server_default=text("false")),
    # Number of the newest event.
    Column("events", BigInteger, nullable=False, server_default=text("0")),
    # Number of the newest event that the subscriber acknowledged.
    Column("delivered", BigInteger, nullable=False, server_default=text("0")),
    # Whether a notify job for it exists, so that one is enough.
    Column("scheduled", Boolean, nullable=False, server_default=text("false")),
    Column("failures", Integer, nullable=False, server_default=text("0")),
    Column("last_error", Text, nullable=False, server_default=""),
)

#: One numbered event of one subscription.
event = Table(
    "event",
    metadata,
    Column("tenant", Integer, primary_key=True),
    Column("subscription", Text, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("topic", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("version", Integer, nullable=False),
    # create, update or delete.
    Column("interaction", Text, nullable=False),
    Column("recorded", DateTime(timezone=True), nullable=False),
)
