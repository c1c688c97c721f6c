"""How often the definitions that resources are validated by have changed: what was made of them is then made anew."""

from sqlalchemy import BigInteger, Column, Integer, Table

from server.store.tables.metadata import metadata

definition_generation = Table(
    "definition_generation",
    metadata,
    Column("tenant", Integer, primary_key=True),
    Column("number", BigInteger, nullable=False),
)
