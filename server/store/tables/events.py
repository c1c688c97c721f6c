"""The outbox of changes, the dispatcher's position in it, and every subscription's numbered events."""

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Identity, Index, Integer, LargeBinary, Table, Text, text
from sqlalchemy.dialects.postgresql import ARRAY

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
    Column("failures", Integer, nullable=False, server_default=text("0")),
    Column("last_error", Text, nullable=False, server_default=""),
    # rest-hook, websocket, message or email.
    Column("channel", Text, nullable=False, server_default="rest-hook"),
    # Seconds without a notification after which there is a heartbeat; null for none.
    Column("heartbeat", Integer),
    # Before this moment nothing is sent: the pause after a failure.
    Column("next_try", DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()")),
    # When the subscriber was last told something.
    Column("told", DateTime(timezone=True)),
)

#: Whose a Subscription is, and what of it nobody may read again.
subscriber = Table(
    "subscriber",
    metadata,
    Column("tenant", Integer, primary_key=True),
    Column("subscription", Text, primary_key=True),
    # As in the audit: a token's name. Notifications go out with the rights it has at that moment.
    Column("who", Text, nullable=False),
    # Lines "Name: value" of channel.header; the resource only has the names.
    Column("headers", Text, nullable=False, server_default=""),
)

#: A token by which a websocket is bound to subscriptions.
binding = Table(
    "subscription_binding",
    metadata,
    Column("tenant", Integer, primary_key=True),
    # SHA-256 of the token, which is shown once and never kept.
    Column("sha256", LargeBinary, primary_key=True),
    Column("who", Text, nullable=False),
    Column("subscriptions", ARRAY(Text), nullable=False),
    Column("expires", DateTime(timezone=True), nullable=False),
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
