"""Alembic's entry: runs on the connection that ``server.store.migrate`` hands over."""

from alembic import context

from server.store.tables import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata)
context.run_migrations()
