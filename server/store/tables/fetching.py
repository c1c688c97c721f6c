"""What is fetched from peers: one row for each study and peer."""

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Identity, Index, Integer, SmallInteger, Table, Text, text
from sqlalchemy.dialects.postgresql import ARRAY

from server.store.tables.metadata import metadata

fetching = Table(
    "fetching",
    metadata,
    Column("tenant", Integer, primary_key=True),
    Column("peer", Text, primary_key=True),
    Column("study", Text, primary_key=True),
    # How people call it.
    Column("number", BigInteger, Identity(), nullable=False),
    # Who asked for it: a caller, or the rule and the study that it is a prior of.
    Column("requested_by", Text, nullable=False),
    Column("for_study", Text, nullable=False, server_default=""),
    # Whether it is a prior, which wakes no adapter.
    Column("prior", Boolean, nullable=False, server_default=text("true")),
    # By what its instances are known as fetched (see instance.sender).
    Column("senders", ARRAY(Text), nullable=False),
    # waiting, done or failed.
    Column("state", Text, nullable=False, server_default="waiting"),
    Column("slot", SmallInteger),
    Column("requested", DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()")),
    Column("next_try", DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()")),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("last_error", Text, nullable=False, server_default=""),
    Column("instances", Integer, nullable=False, server_default=text("0")),
    Column("done", DateTime(timezone=True)),
)
Index(
    "ix_fetching_open",
    fetching.c.peer,
    fetching.c.attempts,
    fetching.c.requested,
    postgresql_where=text("state = 'waiting'"),
)
Index("ix_fetching_study", fetching.c.tenant, fetching.c.study)
