"""Code systems and concept maps taken apart, in tables of their own.

CodeSystem resources that are stored already are entered, and read from the resource as long as nobody writes them anew.
"""

from alembic import op
from sqlalchemy import text

from server.store.tables import metadata

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

#: Text with U+0000, which jsonb can't hold, is left out by its spelling, \\u0000.
_STORED = """
    insert into code_system (tenant, url, version, header, id, resource_version, complete)
    select tenant, coalesce(body ->> 'url', ''), coalesce(body ->> 'version', ''), jsonb_build_object(
        'url', coalesce(body ->> 'url', ''), 'version', coalesce(body ->> 'version', ''),
        'name', coalesce(body ->> 'name', ''), 'title', coalesce(body ->> 'title', ''),
        'content', coalesce(body ->> 'content', 'complete'),
        'case_sensitive', coalesce((body ->> 'caseSensitive')::boolean, true),
        'value_set', coalesce(body ->> 'valueSet', ''), 'language', coalesce(body ->> 'language', ''),
        'supplements', coalesce(body ->> 'supplements', ''), 'status', coalesce(body ->> 'status', 'active'),
        'experimental', coalesce((body ->> 'experimental')::boolean, false),
        'properties', coalesce(body -> 'property', '[]'::jsonb)
    ), id, version, true
    from (
        select tenant, id, version, convert_from(body, 'UTF8')::jsonb as body from resource
        where type = 'CodeSystem' and not deleted and position('\\x5c7530303030'::bytea in body) = 0
    ) stored
    where not exists (select from code_system)"""


def upgrade() -> None:
    """Creates the tables that are missing, and enters what is stored."""
    connection = op.get_bind()
    metadata.create_all(connection, checkfirst=True)
    connection.execute(text(_STORED.replace(":", "\\:")))
