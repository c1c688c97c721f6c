"""Pages of one moment and words: what a superseded version needs to be still found, and a table of words.

Every statement may meet a schema that has it already: a fresh database got all tables, as they stand now, by 0001.
"""

from alembic import op
from sqlalchemy import text

from server.store.tables import metadata

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

STATEMENTS: tuple[str, ...] = (
    # Without the default at first, which would write every row anew.
    "alter table resource add column if not exists written xid8",
    "alter table resource alter column written set default pg_current_xact_id()",
    "alter table resource_history add column if not exists key bigint",
    "alter table resource_history add column if not exists written xid8",
    "alter table resource_history add column if not exists superseded_by xid8",
    "alter table resource_history add column if not exists superseded timestamptz",
    "create unique index if not exists ix_resource_history_key on resource_history (tenant, key) where key is not null",
    "create index if not exists ix_resource_history_superseded on resource_history (tenant, superseded) "
    "where key is not null",
)


def upgrade() -> None:
    """Creates the tables that are missing, then what is missing on the others."""
    connection = op.get_bind()
    metadata.create_all(connection, checkfirst=True)
    for statement in STATEMENTS:
        connection.execute(text(statement))
