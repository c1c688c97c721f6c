"""``hutong reindex``: builds the search index anew from the stored resources."""

import time
from dataclasses import asdict
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from server.app.database import index
from server.cli.archive import ConfigFile, DataFolder
from server.cli.output import AsJson, err, out, print_json
from server.cli.running import with_database
from server.search.reindex import Scope
from server.search.reindex import reindex as run


def reindex(
    types: Annotated[list[str] | None, typer.Option("--type", help="Only this resource type; repeat.")] = None,
    parameters: Annotated[
        list[str] | None, typer.Option("--parameter", help="Only this search parameter, Type.code; repeat.")
    ] = None,
    anew: Annotated[bool, typer.Option("--anew", help="Begin anew where an earlier run was broken off.")] = False,
    data: DataFolder = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Indexes stored resources anew, beside a running server too; broken off, it goes on when it is called again."""
    began = time.monotonic()
    scope = Scope(types=tuple(types or ()), parameters=tuple(parameters or ()))
    columns = BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with (
        with_database(data, config) as settings,
        index(settings) as (database, search),
        Progress(*columns, console=err, transient=True) as progress,
    ):
        task = progress.add_task("reindex", total=None)
        done = run(
            database,
            search,
            scope,
            anew=anew,
            tell=lambda count, whole: progress.update(task, completed=count, total=whole),
        )
    seconds = time.monotonic() - began
    if as_json:
        print_json(asdict(done) | {"scope": scope.text, "seconds": round(seconds, 2)})
        return
    earlier = f", {done.earlier} of them by an earlier run" if done.earlier else ""
    rate = (done.resources - done.earlier) / seconds
    out.print(f"{done.resources} resources are indexed{earlier}, in {seconds:.1f} s ({rate:.0f}/s).")
