"""Analyses by their key."""

from sqlalchemy import Column, DateTime, Float, Index, Integer, LargeBinary, Table, Text, text

from server.store.tables.metadata import metadata

#: One run of one adapter on one choice of input; the key is the digest of both.
analysis = Table(
    "analysis",
    metadata,
    Column("tenant", Integer, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("study", Text, nullable=False),
    Column("adapter", Text, nullable=False),
    Column("adapter_version", Text, nullable=False),
    # The Task that asked for it first.
    Column("task", Text, nullable=False),
    Column("claimed", DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()")),
    # The serialised Findings; committed before anything is written from them.
    Column("findings", LargeBinary),
    Column("found", DateTime(timezone=True)),
    Column("seconds", Float),
    Column("provider", Text, nullable=False, server_default=""),
    # Key of the analysis of the same study and adapter that this one supersedes.
    Column("predecessor", Text, nullable=False, server_default=""),
    Column("sr_instance", Text, nullable=False, server_default=""),
    Column("seg_instance", Text, nullable=False, server_default=""),
    Column("report", Text, nullable=False, server_default=""),
    Column("published", DateTime(timezone=True)),
)
Index("ix_analysis_sr_instance", analysis.c.tenant, analysis.c.sr_instance)
Index("ix_analysis_study", analysis.c.tenant, analysis.c.study, analysis.c.adapter, analysis.c.claimed)
