"""``hutong worker``: one more process that runs adapters, on this or another machine."""

from pathlib import Path
from typing import Annotated

import typer

from server.app.processes import run_analysis
from server.errors import BadRequest
from server.settings import load
from server.store.embedded import EmbeddedPostgres


def worker(
    data: Annotated[Path | None, typer.Option(help="Data folder of the server, when it is on this machine.")] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file of settings.")] = None,
) -> None:
    """Runs adapters for a server: same database (HUTONG_DATABASE_URL or the data folder), same blobs."""
    settings = load({"data": data}, file=config)
    if not settings.database_url:
        embedded = EmbeddedPostgres(settings.data)
        if not embedded.answers():
            raise BadRequest(
                f"No server runs on {settings.data}; start `hutong serve` first, or set HUTONG_DATABASE_URL.",
                expression="data",
            )
        settings = load({"data": settings.data.absolute(), "database_url": embedded.url}, file=config)
    run_analysis(settings)
