"""``hutong check``: derives the search index and the terminology again, and compares them with what is stored."""

import time
from dataclasses import asdict
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from server.app.database import index
from server.cli.archive import ConfigFile, DataFolder
from server.cli.output import AsJson, err, out, print_json
from server.cli.running import with_database
from server.search.check import Checked
from server.search.check import check as run
from server.search.reindex import Scope

_SHOWN = 50


def check(
    types: Annotated[list[str] | None, typer.Option("--type", help="Only this resource type; repeat.")] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Mend what differs.")] = False,
    data: DataFolder = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Compares every index row with what its resource says; exit status 1 if anything differs and is not mended."""
    began = time.monotonic()
    scope = Scope(types=tuple(types or ()))
    columns = BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with (
        with_database(data, config) as settings,
        index(settings) as (database, search),
        Progress(*columns, console=err, transient=True) as progress,
    ):
        scope.check(search.definitions)
        task = progress.add_task("check", total=None)
        seen = run(
            database,
            search,
            scope.resource_types,
            repair=repair,
            tell=lambda count, whole: progress.update(task, completed=count, total=whole),
        )
    _tell(seen, time.monotonic() - began, as_json=as_json)
    if seen.differences and not repair:
        raise typer.Exit(1)


def _tell(seen: Checked, seconds: float, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(seen) | {"seconds": round(seconds, 2)})
        return
    mended = " (mended)" if seen.repaired and seen.differences else ""
    out.print(
        f"{seen.resources} resources with {seen.rows} index rows in {seconds:.1f} s; "
        f"{len(seen.differences)} differences{mended}."
    )
    for one in seen.differences[:_SHOWN]:
        where = f"{one.resource} {one.parameter}".rstrip() if one.resource else "rows of no resource"
        line = f"{where} in {one.table} (tenant {one.tenant}): {one.missing} missing, {one.extra} too many"
        out.print(line, markup=False, highlight=False, soft_wrap=True)
    if len(seen.differences) > _SHOWN:
        out.print(f"... and {len(seen.differences) - _SHOWN} more; --json names them all.")
    if seen.differences and not seen.repaired:
        out.print("Mend them by --repair, or build the index anew by `hutong reindex`.")
