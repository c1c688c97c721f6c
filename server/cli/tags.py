"""``hutong tags``: attributes that searches may use beside the standard keys (extended query tags)."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from server.cli.output import AsJson, out, print_json, print_table
from server.cli.running import with_database
from server.imaging import extended_tags
from server.security.access import system
from server.store.database import Database
from server.store.migrate import upgrade

app = typer.Typer(help="Attributes that searches may use (extended query tags).", no_args_is_help=True)
DataFolder = Annotated[Path | None, typer.Option("--data", help="Data folder of the server.")]
TagPath = Annotated[str, typer.Argument(metavar="PATH", help="Keyword or tag, or several joined by dots.")]


@app.callback()
def group() -> None:
    """Attributes that searches may use (extended query tags)."""


@app.command("list")
def list_(data: DataFolder = None, as_json: AsJson = False) -> None:
    """Every declared attribute, and whether its index is complete."""
    with with_database(data) as settings:
        database = Database(settings.database_url)
        upgrade(database)
        found = [asdict(tag) for tag in extended_tags.listed(database, system())]
        database.close()
    if as_json:
        print_json(found)
    else:
        print_table("Extended query tags", found)


@app.command("add")
def add(
    path: TagPath,
    vr: Annotated[str, typer.Option(help="Value representation, where the data dictionary has none.")] = "",
    level: Annotated[str, typer.Option(help="study, series or instance: whose attribute it is.")] = "instance",
    creator: Annotated[str, typer.Option(help="Private creator of a private attribute.")] = "",
    data: DataFolder = None,
) -> None:
    """Declares an attribute; a running server indexes what is stored, and then searches by it."""
    with with_database(data) as settings:
        database = Database(settings.database_url)
        upgrade(database)
        new = extended_tags.declare(database, system(), path, vr=vr, level=level, creator=creator)
        database.close()
    out.print(f"{path} is {'declared' if new else 'declared already'}.")


@app.command("remove")
def remove(path: TagPath, data: DataFolder = None) -> None:
    """Takes a declaration back, with its index."""
    with with_database(data) as settings:
        database = Database(settings.database_url)
        upgrade(database)
        extended_tags.withdraw(database, system(), path)
        database.close()
    out.print(f"{path} is no longer searched by.")
