"""What people decided on findings: a table of its own."""

from alembic import op

from server.store.tables import metadata

revision = "0012"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Creates the table; a fresh database got it by 0001."""
    metadata.create_all(op.get_bind(), checkfirst=True)
