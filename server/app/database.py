"""What is done to the database before the first process starts, and by commands that keep the search index."""

import contextlib
from collections.abc import Iterator

from server.app.search import search_engine
from server.search.find import Search
from server.settings import Settings
from server.store import tokens
from server.store.database import Database
from server.store.migrate import upgrade


def prepare(settings: Settings) -> None:
    """Brings the database to this version's schema."""
    database = Database(settings.database_url)
    upgrade(database)
    database.close()


def has_tokens(settings: Settings) -> bool:
    """Whether anybody could be told apart."""
    database = Database(settings.database_url)
    with database.reading() as uow:
        found = tokens.any_valid(uow)
    database.close()
    return found


@contextlib.contextmanager
def index(settings: Settings) -> Iterator[tuple[Database, Search]]:
    """The database in this version's schema, and what its index is made by."""
    database = Database(settings.database_url)
    try:
        upgrade(database)
        yield database, search_engine(settings)
    finally:
        database.close()
