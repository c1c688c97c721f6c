"""The generation of the definitions that resources are validated by."""

from alembic import op

from server.store.tables import metadata

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the table; a fresh database got it with the others."""
    metadata.create_all(op.get_bind(), checkfirst=True)
