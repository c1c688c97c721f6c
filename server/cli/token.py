"""``hutong token``: bearer tokens for callers that are not on loopback."""

from pathlib import Path
from typing import Annotated

import typer

from server.cli.output import AsJson, err, print_json
from server.cli.running import with_database
from server.security import token as tokens
from server.security.access import DEFAULT_TENANT
from server.store.database import Database
from server.store.migrate import upgrade

app = typer.Typer(help="Bearer tokens for callers.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Bearer tokens for callers."""


@app.command("create")
def create(
    scope: Annotated[list[str], typer.Option(help="read, write, delete or admin; repeat for several.")],
    name: Annotated[str, typer.Option(help="Who will carry it; appears in the audit.")] = "token",
    data: Annotated[Path | None, typer.Option(help="Data folder of the server.")] = None,
    as_json: AsJson = False,
) -> None:
    """Makes a token and shows it once; only its digest is kept."""
    with with_database(data) as settings:
        database = Database(settings.database_url)
        upgrade(database)
        text = tokens.create(database, tenant=DEFAULT_TENANT, name=name, scopes=frozenset(scope))
        database.close()
    if as_json:
        print_json({"token": text, "name": name, "scopes": sorted(scope)})
    else:
        err.print("Keep it now; it can't be shown again. Send it as 'Authorization: Bearer <token>'.")
        print(text)
