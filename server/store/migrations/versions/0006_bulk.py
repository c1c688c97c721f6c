"""Bulk export and import: tables of asynchronous requests and their files."""

from alembic import op

from server.store.tables import metadata

revision = "0006"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Creates the tables; a fresh database got them by 0001."""
    metadata.create_all(op.get_bind(), checkfirst=True)
