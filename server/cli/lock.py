"""``hutong lock``: studies that may be neither changed nor deleted."""

from dataclasses import asdict
from typing import Annotated

import typer

from server.cli.archive import ConfigFile, DataFolder, opened
from server.cli.output import AsJson, print_json, print_table
from server.imaging.lock import StudyLocks
from server.security.access import Access

app = typer.Typer(help="Studies that may be neither changed nor deleted.", no_args_is_help=True)
_ACCESS = Access(who="command line", scopes=frozenset({"read", "admin"}))
Study = Annotated[str, typer.Argument(metavar="STUDY", help="Study Instance UID.")]


@app.callback()
def group() -> None:
    """Studies that may be neither changed nor deleted."""


@app.command("add")
def add(
    study: Study,
    reason: Annotated[str, typer.Option(help="Why; whoever is refused is told.")],
    data: DataFolder = None,
    config: ConfigFile = None,
) -> None:
    """Locks a study."""
    with opened(data, config) as archive:
        StudyLocks(archive.database).lock(_ACCESS, study, reason)


@app.command("remove")
def remove(study: Study, data: DataFolder = None, config: ConfigFile = None) -> None:
    """Takes a study's lock off."""
    with opened(data, config) as archive:
        StudyLocks(archive.database).unlock(_ACCESS, study)


@app.command("list")
def list_(data: DataFolder = None, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Shows every lock."""
    with opened(data, config) as archive:
        found = [asdict(lock) for lock in StudyLocks(archive.database).find(_ACCESS)]
    if as_json:
        print_json(found)
    else:
        print_table("Locks", found)
