"""``hutong verify``: reads everything that is stored and names what is not as it came."""

import time
from dataclasses import asdict
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

from server.cli.archive import ConfigFile, DataFolder, opened
from server.cli.output import AsJson, err, out, print_json
from server.imaging.throttle import Throttle
from server.imaging.verify import Verified, Verifier

_MIB = 1 << 20


def verify(
    data: DataFolder = None,
    config: ConfigFile = None,
    since: Annotated[
        float | None, typer.Option(help="Pass over packs that were verified within so many hours, e.g. to go on.")
    ] = None,
    rate: Annotated[int, typer.Option(help="MiB a second to read at most; 0 for any.")] = 0,
    repair: Annotated[bool, typer.Option("--repair", help="Count studies again whose counts are wrong.")] = False,
    as_json: AsJson = False,
) -> None:
    """Compares every stored instance with its digest; exit status 1 if anything is wrong. Changes nothing."""
    began = time.monotonic()
    columns = BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
    with opened(data, config) as archive, Progress(*columns, console=err, transient=True) as progress:
        verifier = Verifier(
            archive.database,
            archive.packs,
            archive.files,
            grace=archive.settings.gc_grace,
            throttle=Throttle(rate * _MIB),
        )
        if repair:
            verifier.recount()
        task = progress.add_task("verify", total=None)
        seen = verifier.run(
            since=None if since is None else since * 3600.0,
            tell=lambda done, whole: progress.update(task, completed=done, total=whole),
        )
    _tell(seen, time.monotonic() - began, as_json=as_json)
    if seen.problems:
        raise typer.Exit(1)


def _tell(seen: Verified, seconds: float, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(seen) | {"seconds": round(seconds, 2)})
        return
    out.print(
        f"{seen.instances} instances in {seen.packs} packs, {seen.bytes / _MIB:.1f} MiB in {seconds:.1f} s "
        f"({seen.bytes / _MIB / seconds:.0f} MiB/s); {len(seen.problems)} problems."
    )
    for problem in seen.problems:
        where = " ".join(part for part in (problem.uid, f"pack {problem.pack}" if problem.pack else "") if part)
        line = f"{problem.kind}: {where} (tenant {problem.tenant}). {problem.cure}"
        out.print(line, markup=False, highlight=False, soft_wrap=True)
