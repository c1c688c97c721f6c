"""What is on its way to peers: one delivery for each study, peer and rule; its instances are rows of ``sending``."""

from sqlalchemy import BigInteger, Column, DateTime, Identity, Index, Integer, SmallInteger, Table, Text, text

from server.store.tables.metadata import metadata


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False, server_default="")


#: A study (or a part of it) that a rule sends to a peer: a line of the visible queue.
delivery = Table(
    "delivery",
    metadata,
    Column("tenant", Integer, primary_key=True),
    Column("peer", Text, primary_key=True),
    Column("study", Text, primary_key=True),
    Column("rule", Text, primary_key=True),
    # How people call it.
    Column("number", BigInteger, Identity(), nullable=False),
    # 0 first: high, medium, low.
    Column("rank", SmallInteger, nullable=False, server_default=text("1")),
    # waiting, committing, done or dropped.
    Column("state", Text, nullable=False, server_default="waiting"),
    # Which of the peer's slots is at it; whoever holds the slot's lock owns the mark.
    Column("slot", SmallInteger),
    Column("queued", DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()")),
    Column("next_try", DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()")),
    # Tries since the last success.
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    _text("last_error"),
    # Transaction UID of the storage commitment that is waited for.
    _text("transaction"),
    Column("done", DateTime(timezone=True)),
)
# What slots look for, whatever the tenant: peers are the server's. Small, since what is done leaves it.
Index(
    "ix_delivery_open",
    delivery.c.peer,
    delivery.c.rank,
    delivery.c.queued,
    delivery.c.number,
    postgresql_where=text("state in ('waiting', 'committing')"),
)
Index(
    "ix_delivery_next_try",
    delivery.c.peer,
    delivery.c.next_try,
    postgresql_where=text("state in ('waiting', 'committing')"),
)
Index("ix_delivery_number", delivery.c.tenant, delivery.c.number)
Index(
    "ix_delivery_transaction",
    delivery.c.tenant,
    delivery.c.transaction,
    postgresql_where=text("transaction <> ''"),
)

#: One instance on its way to one peer.
sending = Table(
    "sending",
    metadata,
    Column("tenant", Integer, primary_key=True),
    Column("peer", Text, primary_key=True),
    Column("instance", Text, primary_key=True),
    Column("study", Text, nullable=False),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    _text("last_error"),
    # When the peer confirmed that it has it.
    Column("sent", DateTime(timezone=True)),
    # The rule that sends it; with peer and study it names the delivery.
    _text("rule"),
    # When the peer committed itself to keep it, and when a person called the sending off.
    Column("committed", DateTime(timezone=True)),
    Column("dropped", DateTime(timezone=True)),
    Index("ix_sending_delivery", "tenant", "peer", "study", "rule"),
)

#: Whether a peer can be reached, as the last try showed: one that can't is left alone for a while.
peer_state = Table(
    "peer_state",
    metadata,
    Column("tenant", Integer, primary_key=True),
    Column("peer", Text, primary_key=True),
    # Tries since it was last reached.
    Column("failures", Integer, nullable=False, server_default=text("0")),
    Column("next_try", DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()")),
    _text("last_error"),
    Column("reached", DateTime(timezone=True)),
)
