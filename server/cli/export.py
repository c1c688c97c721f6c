"""``hutong export``: studies to a folder or zip file with a DICOMDIR."""

import time
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer
from pydicom.uid import AllTransferSyntaxes
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from server.app.archive import pixel_pool
from server.cli.archive import ConfigFile, DataFolder, opened
from server.cli.output import AsJson, err, out, print_json
from server.errors import BadRequest, NotFound
from server.imaging.chosen import chosen, keys
from server.imaging.exporter import Exported, Exporter, FolderTarget, ZipTarget
from server.security.access import Access

_ACCESS = Access(who="export", scopes=frozenset({"read"}))
_MIB = 1 << 20


def export(
    target: Annotated[Path, typer.Argument(metavar="OUT", help="A folder, or a file that ends in .zip.")],
    match: Annotated[
        list[str] | None,
        typer.Option(help="A QIDO-RS key of study or series, e.g. PatientID=P1 or StudyDate=20240101-; repeatable."),
    ] = None,
    transfer_syntax: Annotated[
        str, typer.Option(help="UID or keyword, e.g. JPEG2000Lossless; as it is stored unless given.")
    ] = "",
    data: DataFolder = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Writes what matches, with a DICOMDIR; into a folder it goes on where an earlier run stopped."""
    began, syntax = time.monotonic(), _syntax(transfer_syntax)
    columns = SpinnerColumn(), TextColumn("{task.fields[told]}"), TimeElapsedColumn()
    with opened(data, config) as archive, Progress(*columns, console=err, transient=True) as progress:
        series = chosen(archive.database, _ACCESS, "series", keys(match or []))
        if not series:
            raise NotFound("Nothing that is stored matches.", expression="match")
        task = progress.add_task("export", total=None, told="")
        with closing(pixel_pool(archive.settings)) as pool:
            done = Exporter(archive.database, archive.retrieve, pool.transcode).run(
                _ACCESS,
                series,
                ZipTarget(target) if target.suffix.lower() == ".zip" else FolderTarget(target),
                transfer_syntax=syntax,
                tell=lambda done: progress.update(task, told=f"{done.written} written, {done.bytes / _MIB:.0f} MiB"),
            )
    _tell(done, target, time.monotonic() - began, as_json=as_json)
    if done.failed:
        raise typer.Exit(1)


def _syntax(name: str) -> str:
    """The UID of a transfer syntax; raises BadRequest."""
    if not name:
        return ""
    for uid in AllTransferSyntaxes:
        if name in (str(uid), uid.keyword):
            return str(uid)
    raise BadRequest(f"'{name}' is no transfer syntax; give a UID or a keyword of PS3.6.", expression="transfer-syntax")


def _tell(done: Exported, target: Path, seconds: float, *, as_json: bool) -> None:
    told: dict[str, Any] = {"written": done.written, "already": done.already, "bytes": done.bytes}
    if as_json:
        failed = [{"instance": uid, "details": details} for uid, details in done.failed]
        print_json(told | {"failed": failed, "target": str(target), "seconds": round(seconds, 2)})
        return
    out.print(
        f"{done.written} files, {done.bytes / _MIB:.1f} MiB, in {seconds:.1f} s to {target}; {done.already} were there "
        f"already, {len(done.failed)} failed.",
        soft_wrap=True,
    )
    for uid, details in done.failed:
        out.print(f"{uid}: {details}", markup=False, highlight=False, soft_wrap=True)
