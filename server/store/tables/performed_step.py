"""Performed procedure steps that modalities tell of (PS3.4 annex F), and storage commitments asked of us (annex J)."""

from sqlalchemy import Column, DateTime, Index, Integer, LargeBinary, Table, Text, text

from server.store.tables.metadata import metadata

_C = Text(collation="C")


def _now(name: str) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()"))


#: One Modality Performed Procedure Step SOP instance.
performed_step = Table(
    "performed_step",
    metadata,
    Column("tenant", Integer, primary_key=True),
    Column("instance", _C, primary_key=True),
    # IN PROGRESS, COMPLETED or DISCONTINUED.
    Column("status", Text, nullable=False),
    # Study Instance UID of the first scheduled step attributes.
    Column("study", _C, nullable=False),
    # AE title of the modality.
    Column("modality", Text, nullable=False),
    # The SOP instance's attributes as DICOM JSON.
    Column("attributes", LargeBinary, nullable=False),
    # The orders and tasks it performs: references, one in a line.
    Column("orders", Text, nullable=False, server_default=""),
    _now("created"),
    _now("updated"),
    Index("ix_performed_step_study", "tenant", "study"),
)

#: One storage commitment transaction in which we are the provider.
commitment = Table(
    "commitment",
    metadata,
    Column("tenant", Integer, primary_key=True),
    Column("transaction", _C, primary_key=True),
    # AE title of who asked.
    Column("requester", Text, nullable=False),
    # [[SOP Class UID, SOP Instance UID], ...] as JSON.
    Column("instances", LargeBinary, nullable=False),
    _now("requested"),
    # When the requester acknowledged the report.
    Column("reported", DateTime(timezone=True)),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("last_error", Text, nullable=False, server_default=""),
)
