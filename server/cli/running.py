"""The database for a short command: the running server's, or the embedded one for as long as the command takes."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from server.settings import Settings, load
from server.store.embedded import EmbeddedPostgres


@contextlib.contextmanager
def with_database(data: Path | None, config: Path | None = None) -> Iterator[Settings]:
    """Settings whose ``database_url`` answers until the block ends."""
    settings = load({"data": data}, file=config)
    if settings.database_url:
        yield settings
        return
    embedded = EmbeddedPostgres(settings.data)
    url = embedded.start()
    try:
        yield replace(settings, database_url=url, data=settings.data.absolute())
    finally:
        embedded.stop()
