"""What people decided on findings."""

from sqlalchemy import Column, DateTime, Index, Integer, Table, Text, text

from server.store.tables.metadata import metadata

#: The decision that holds on one lesion of one report; a later version of the report replaces it.
review = Table(
    "review",
    metadata,
    Column("tenant", Integer, primary_key=True),
    # Id of the DiagnosticReport.
    Column("report", Text, primary_key=True),
    Column("tracking_uid", Text, primary_key=True),
    Column("adapter", Text, nullable=False),
    Column("adapter_version", Text, nullable=False),
    # accepted, edited, rejected or added.
    Column("decision", Text, nullable=False),
    Column("decided", DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()")),
)
Index("ix_review_adapter", review.c.tenant, review.c.adapter, review.c.adapter_version)
