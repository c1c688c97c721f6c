"""Closure tables of terminology clients: two tables of their own."""

from alembic import op

from server.store.tables import metadata

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Creates the tables; a fresh database got them by 0001."""
    metadata.create_all(op.get_bind(), checkfirst=True)
