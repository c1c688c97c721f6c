"""Brings a database to the schema of this version."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, text

from server.store.database import Database

HEAD = "head"
#: Advisory lock held while migrating, so that processes that start together don't race.
_LOCK = 0x48_55_54_4F_4E_47


def upgrade(database: Database, revision: str = HEAD) -> None:
    """Applies all missing migrations; safe to call from several processes at once."""
    engine: Engine = database._engine
    with engine.begin() as connection:
        connection.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def revisions(database: Database) -> tuple[str, str]:
    """The revision that the database is at ("" for a fresh one), and the one that this version wants."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    engine: Engine = database._engine
    with engine.connect() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
    return current or "", ScriptDirectory.from_config(config).get_current_head() or ""
