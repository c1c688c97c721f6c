"""Closure tables: what clients keep in step with, see https://hl7.org/fhir/R4/terminology-service.html#closure."""

from sqlalchemy import Column, Index, Integer, Table, Text

from server.store.tables.metadata import metadata

_C = Text(collation="C")

closure = Table(
    "closure",
    metadata,
    Column("tenant", Integer, primary_key=True),
    Column("name", _C, primary_key=True),
    # Rises with each call that adds concepts.
    Column("version", Integer, nullable=False),
)

closure_concept = Table(
    "closure_concept",
    metadata,
    Column("tenant", Integer, primary_key=True),
    Column("name", _C, primary_key=True),
    Column("system", _C, primary_key=True),
    Column("code", _C, primary_key=True),
    # The version of the table that it came with.
    Column("version", Integer, nullable=False),
    Index("ix_closure_concept_version", "tenant", "name", "version"),
)
