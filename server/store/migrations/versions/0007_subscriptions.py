"""All channels of subscriptions: whose they are, when they are told next, and tokens that bind websockets to them.

Notifications are no jobs of the queue any more: what is due is seen in the table of subscriptions.
"""

from alembic import op
from sqlalchemy import text

from server.store.tables import metadata

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

STATEMENTS: tuple[str, ...] = (
    "alter table subscription drop column if exists scheduled",
    "alter table subscription add column if not exists channel text not null default 'rest-hook'",
    "alter table subscription add column if not exists heartbeat integer",
    "alter table subscription add column if not exists next_try timestamptz not null default clock_timestamp()",
    "alter table subscription add column if not exists told timestamptz",
    "delete from procrastinate_jobs where task_name = 'notify'",
    # Whoever wrote it last that is not the server itself.
    """
    insert into subscriber (tenant, subscription, who)
    select distinct on (tenant, id) tenant, id, who from audit
    where type = 'Subscription' and action in ('create', 'update') and who <> 'system' and id <> ''
    order by tenant, id, version desc
    on conflict do nothing
    """,
)


def upgrade() -> None:
    """Creates the tables that are missing, then what is missing on the others."""
    connection = op.get_bind()
    metadata.create_all(connection, checkfirst=True)
    for statement in STATEMENTS:
        connection.execute(text(statement))
