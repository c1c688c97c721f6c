"""Which declared attributes a search speaks of; the index is asked only where a key is not one of the standard ones."""

from collections.abc import Iterable

from server.imaging.query_keys import BY_TAG
from server.store import extended_tags as store
from server.store.database import Database
from server.store.extended_tags import ExtendedTag

_TIMEZONE = "00080201"


def for_keys(database: Database, tenant: int, paths: Iterable[tuple[str, ...]]) -> list[ExtendedTag]:
    """The declarations that the keys may need; none for standard keys alone."""
    if all(len(path) == 1 and (path[0] in BY_TAG or path[0] == _TIMEZONE) for path in paths):
        return []
    with database.reading() as uow:
        return store.declared(uow, tenant)
