"""Workitems (PS3.4 annex CC), who is told of them, and what they were told."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    text,
)

from server.store.tables.metadata import metadata

_C = Text(collation="C")


def _now(name: str) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()"))


def _text(name: str) -> Column[str]:
    return Column(name, _C, nullable=False, server_default=text("''"))


#: One Unified Procedure Step SOP instance.
workitem = Table(
    "workitem",
    metadata,
    Column("tenant", Integer, primary_key=True),
    Column("workitem", _C, primary_key=True),
    # SCHEDULED, IN PROGRESS, COMPLETED or CANCELED.
    Column("state", Text, nullable=False),
    # The lock: Transaction UID of who claimed it; never given to anybody.
    _text("transaction_uid"),
    # Id of the FHIR Task that it shows, and the adapter that the Task asks for; empty for others' workitems.
    _text("task"),
    _text("adapter"),
    # DICOM JSON without the Transaction UID; empty once deleted.
    Column("attributes", LargeBinary, nullable=False),
    _now("created"),
    _now("updated"),
    # When it became COMPLETED or CANCELED, and when it was deleted after that.
    Column("ended", DateTime(timezone=True)),
    Column("deleted", DateTime(timezone=True)),
    Index("ix_workitem_listed", "tenant", "created", "workitem", postgresql_where=text("deleted is null")),
    Index("ix_workitem_ended", "ended", postgresql_where=text("ended is not null")),
)

#: One Application Entity that subscribed to something.
workitem_subscriber = Table(
    "workitem_subscriber",
    metadata,
    Column("tenant", Integer, primary_key=True),
    Column("subscriber", _C, primary_key=True),
    # Number of its newest event, and of the newest that it has for sure.
    Column("numbered", BigInteger, nullable=False, server_default=text("0")),
    Column("delivered", BigInteger, nullable=False, server_default=text("0")),
)

#: Subscription states (PS3.4 table CC.2.3-2): one row for each workitem, and for a global or filtered subscription.
workitem_subscription = Table(
    "workitem_subscription",
    metadata,
    Column("tenant", Integer, primary_key=True),
    Column("workitem", _C, primary_key=True),
    Column("subscriber", _C, primary_key=True),
    Column("deletion_lock", Boolean, nullable=False, server_default=text("false")),
    # Search parameters of a filtered subscription as JSON: [[name, value], ...].
    Column("filter", LargeBinary, nullable=False, server_default=text("''::bytea")),
    Index("ix_workitem_subscription_subscriber", "tenant", "subscriber"),
)

#: One event report for one subscriber.
workitem_event = Table(
    "workitem_event",
    metadata,
    Column("tenant", Integer, primary_key=True),
    Column("subscriber", _C, primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("workitem", _C, nullable=False),
    # Event Type ID (PS3.4 table CC.2.4-1).
    Column("type", SmallInteger, nullable=False),
    # The report as DICOM JSON.
    Column("report", LargeBinary, nullable=False),
    _now("created"),
)
