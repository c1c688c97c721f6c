"""Search parameters of one's own, and runs of reindex that go on where they stopped.

A fresh database got all tables, as they stand now, by 0001.
"""

from alembic import op

from server.store.tables import metadata

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Creates the tables that are missing."""
    metadata.create_all(op.get_bind(), checkfirst=True)
