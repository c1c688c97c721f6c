"""What the commands that keep the archive have in common: its parts, opened over a database that answers."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from server.app.archive import Archive, open_archive
from server.cli.running import with_database
from server.store.migrate import upgrade

DataFolder = Annotated[Path | None, typer.Option("--data", help="Data folder of the server.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="A TOML file of settings.")]


@contextlib.contextmanager
def opened(data: Path | None, config: Path | None, **changes: Any) -> Iterator[Archive]:
    """The archive of a server that runs, or of a data folder for as long as the command takes."""
    with with_database(data, config) as settings:
        archive = open_archive(
            replace(settings, **{name: value for name, value in changes.items() if value is not None})
        )
        try:
            upgrade(archive.database)
            yield archive
        finally:
            archive.close()
