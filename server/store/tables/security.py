"""Tenants and tokens."""

from sqlalchemy import BigInteger, Column, DateTime, Identity, Integer, LargeBinary, Table, Text, text
from sqlalchemy.dialects.postgresql import ARRAY

from server.store.tables.metadata import metadata

tenant = Table(
    "tenant",
    metadata,
    Column("tenant", Integer, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False, unique=True),
)

token = Table(
    "token",
    metadata,
    Column("tenant", Integer, primary_key=True),
    Column("token", BigInteger, Identity(), primary_key=True),
    Column("name", Text, nullable=False),
    # SHA-256 of the bearer token; the token itself is shown once and never kept.
    Column("sha256", LargeBinary, nullable=False, unique=True),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("created", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    Column("revoked", DateTime(timezone=True)),
)
