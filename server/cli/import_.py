"""``hutong import``: folders, files and zip files into the archive, fast, and again from where it stopped."""

import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from server.app.archive import Archive, open_archive
from server.cli import supervise
from server.cli.archive import ConfigFile, DataFolder, opened
from server.cli.output import AsJson, err, out, print_json
from server.errors import Unavailable
from server.imaging.import_source import Source, Unreadable, find
from server.imaging.importer import Imported, Importer
from server.imaging.ingest import BATCH
from server.security.access import Access
from server.settings import Settings

_ACCESS = Access(who="import", scopes=frozenset({"read", "write"}))
#: Sources that are looked up together.
_LOOKED_UP_TOGETHER = 4096
_SHOWN = 20


@dataclass(kw_only=True, slots=True)
class Summary:
    """What became of all files."""

    counts: Counter[str] = field(default_factory=Counter)
    refused: list[dict[str, Any]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def add(self, done: Sequence[Imported]) -> None:
        """Counts a batch."""
        for one in done:
            self.counts[one.outcome] += 1
            self.missing += one.missing
            if one.refused is not None:
                self.refuse(one.source.shown, one.refused.details, f"{one.refused.reason:04X}", one.refused.expression)

    def refuse(self, file: str, details: str, reason: str = "", expression: str = "") -> None:
        """Notes a file that was not taken."""
        self.refused.append({"file": file, "reason": reason, "details": details, "expression": expression})


def import_(
    paths: Annotated[list[Path], typer.Argument(help="Folders, DICOM files and zip files.")],
    data: DataFolder = None,
    config: ConfigFile = None,
    readers: Annotated[int, typer.Option(help="Processes that read; 0 for one per core, at most 4.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Stores every DICOM instance under the paths; what an earlier run settled is passed over."""
    began = time.monotonic()
    summary = Summary()
    with opened(data, config) as archive, _progress() as progress:
        task = progress.add_task("import", total=None, told="")
        for counted in _run(archive, paths, readers or min(4, os.cpu_count() or 1), summary):
            seconds = time.monotonic() - began
            progress.update(task, told=f"{_told(summary)}, {counted / seconds:.0f} files/s")
    seconds = time.monotonic() - began
    if as_json:
        print_json(_object(summary, seconds))
    else:
        _print(summary, seconds)
    if summary.refused:
        raise typer.Exit(1)


def _progress() -> Progress:
    columns = SpinnerColumn(), TextColumn("{task.fields[told]}"), TimeElapsedColumn()
    return Progress(*columns, console=err, transient=True)


def _run(archive: Archive, paths: Sequence[Path], readers: int, summary: Summary) -> Iterator[int]:
    """Gives the number of files done, again and again."""
    importer = Importer(archive.database, archive.ingest, archive.limits)
    batches = _batches(importer, paths, summary)
    if readers == 1:
        for batch in batches:
            summary.add(importer.take(_ACCESS, batch))
            yield summary.counts.total()
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(readers, context, initializer=_Reader.open, initargs=(archive.settings, os.getpid()))
    running: set[Future[list[Imported]]] = set()
    try:
        for batch in batches:
            running.add(pool.submit(_Reader.take, batch))
            if len(running) < 2 * readers:
                continue
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for one in done:
                summary.add(one.result())
            yield summary.counts.total()
        for one in running:
            summary.add(one.result())
            yield summary.counts.total()
    except BrokenProcessPool as error:
        raise Unavailable("A process that reads died, perhaps for want of memory; run it again, it goes on.") from error
    finally:
        pool.shutdown(cancel_futures=True)


class _Reader:
    """One process of the pool."""

    importer: Importer

    @classmethod
    def open(cls, settings: Settings, parent: int) -> None:
        """Opens the archive for as long as the process lives; it dies with its parent and leaves Ctrl-C to it."""
        supervise.die_with(parent)
        archive = open_archive(settings)
        cls.importer = Importer(archive.database, archive.ingest, archive.limits)

    @classmethod
    def take(cls, batch: Sequence[Source]) -> list[Imported]:
        """Takes a batch in."""
        return cls.importer.take(_ACCESS, batch)


def _batches(importer: Importer, paths: Sequence[Path], summary: Summary) -> Iterator[list[Source]]:
    """What needs a look, in batches of one transaction."""
    found = find(paths)
    waiting: list[Source] = []
    while chunk := list(islice(found, _LOOKED_UP_TOGETHER)):
        for one in chunk:
            if isinstance(one, Unreadable):
                summary.refuse(os.fsencode(one.path).decode("utf-8", "replace"), one.details)
                summary.counts["refused"] += 1
        sources = [one for one in chunk if isinstance(one, Source)]
        fresh = importer.unsettled(_ACCESS, sources)
        summary.counts["skipped"] += len(sources) - len(fresh)
        waiting += fresh
        while len(waiting) >= BATCH:
            yield waiting[:BATCH]
            waiting = waiting[BATCH:]
    if waiting:
        yield waiting


def _told(summary: Summary) -> str:
    names = ("stored", "already", "skipped", "refused", "other")
    return ", ".join(f"{summary.counts[name]} {name}" for name in names)


def _object(summary: Summary, seconds: float) -> dict[str, Any]:
    counts = {name: summary.counts[name] for name in ("stored", "already", "skipped", "refused", "other", "directory")}
    return {
        **counts,
        "seconds": round(seconds, 2),
        "files_per_second": round(summary.counts.total() / seconds, 1),
        "refusals": summary.refused,
        "missing": summary.missing,
    }


def _print(summary: Summary, seconds: float) -> None:
    files = summary.counts.total()
    out.print(
        f"{files} files in {seconds:.1f} s ({files / seconds:.0f}/s): {summary.counts['stored']} stored, "
        f"{summary.counts['already']} stored already, {summary.counts['skipped']} known from an earlier import, "
        f"{summary.counts['refused']} refused, {summary.counts['other'] + summary.counts['directory']} no instances."
    )
    lines = [f"refused {one['file']}: {one['reason']} {one['details']}" for one in summary.refused[:_SHOWN]]
    lines += [f"named by a DICOMDIR, but not there: {name}" for name in summary.missing[:_SHOWN]]
    for line in lines:
        out.print(line, markup=False, highlight=False, soft_wrap=True)
    hidden = max(0, len(summary.refused) - _SHOWN) + max(0, len(summary.missing) - _SHOWN)
    if hidden:
        out.print(f"... and {hidden} more; --json names them all.")
