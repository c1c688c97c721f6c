"""Search parameters of one's own, and runs of reindex that go on where they stopped; the planner knows more codes.

A fresh database got all tables, as they stand now, by 0001.
"""

from alembic import op
from sqlalchemy import text

from server.store.tables import metadata

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


#: With the default of 100 the planner takes a code that hundreds of resources have for one of three.
_TARGET = 1000
_COLUMNS = (("index_token", "code"), ("index_reference", "target"))


def upgrade() -> None:
    """Creates the tables that are missing, and lets the planner look at more values."""
    connection = op.get_bind()
    metadata.create_all(connection, checkfirst=True)
    for table, column in _COLUMNS:
        for name in ("parameter", column):
            connection.execute(text(f"alter table {table} alter column {name} set statistics {_TARGET}"))
        # Earlier releases had none.
        wanted = f"create statistics if not exists st_{table} (dependencies, mcv) on parameter, {column} from {table}"
        connection.execute(text(wanted))
        connection.execute(text(f"alter statistics st_{table} set statistics {_TARGET}"))
