"""The definitions that resources are validated by: how often they have changed, and the packages that brought them."""

from sqlalchemy import BigInteger, Column, DateTime, Integer, Table, func
from sqlalchemy.dialects.postgresql import JSONB

from server.store.tables.metadata import metadata
from server.store.tables.resources import TEXT_C

definition_generation = Table(
    "definition_generation",
    metadata,
    Column("tenant", Integer, primary_key=True),
    Column("number", BigInteger, nullable=False),
)

package = Table(
    "package",
    metadata,
    Column("tenant", Integer, primary_key=True),
    Column("name", TEXT_C, primary_key=True),
    Column("version", TEXT_C, primary_key=True),
    Column("installed", DateTime(timezone=True), nullable=False, server_default=func.now()),
    # Name -> version.
    Column("dependencies", JSONB, nullable=False),
)

package_resource = Table(
    "package_resource",
    metadata,
    Column("tenant", Integer, primary_key=True),
    Column("name", TEXT_C, primary_key=True),
    Column("version", TEXT_C, primary_key=True),
    Column("type", TEXT_C, primary_key=True),
    Column("id", TEXT_C, primary_key=True),
)
