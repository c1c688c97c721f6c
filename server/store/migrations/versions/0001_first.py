"""The first schema: all tables of the first release, and the queue's."""

from alembic import op
from procrastinate.schema import SchemaManager
from sqlalchemy import text

from server.store.tables import metadata

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Creates everything; no release came before it, so the tables are taken as they stand."""
    connection = op.get_bind()
    metadata.create_all(connection)
    connection.execute(text("insert into tenant (tenant, name) values (1, 'default')"))
    connection.connection.driver_connection.execute(SchemaManager.get_schema())  # type: ignore[union-attr]
