"""The history of a type and of the system: superseded versions are found by the moment they were written."""

from alembic import op
from sqlalchemy import text

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the index; a fresh database got it with its table."""
    op.get_bind().execute(
        text(
            "create index if not exists ix_resource_history_last_updated "
            "on resource_history (tenant, type, last_updated)"
        )
    )
