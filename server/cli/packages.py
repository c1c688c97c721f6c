"""``hutong packages``: FHIR packages, whose profiles, value sets and code systems then hold."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from server.app.database import prepare
from server.app.parts import Parts, compose
from server.cli.archive import ConfigFile, DataFolder
from server.cli.output import AsJson, err, out, print_json, print_table
from server.cli.running import with_database
from server.outbound import package_registry
from server.security.access import Access
from server.workflow import packages

app = typer.Typer(help="FHIR packages: profiles, value sets, code systems.", no_args_is_help=True)
_ACCESS = Access(who="packages", scopes=frozenset({"read", "write", "delete"}))
_SHOWN = 20
Wanted = Annotated[str, typer.Argument(metavar="PACKAGE", help="A .tgz file, or NAME@VERSION from the registry.")]


@app.callback()
def group() -> None:
    """FHIR packages: profiles, value sets, code systems."""


@app.command("install")
def install(wanted: Wanted, data: DataFolder = None, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Stores the definitions of a package, all or none; running servers hold to them at once."""
    began = time.monotonic()
    with _opened(data, config) as parts, tempfile.TemporaryDirectory() as folder, _progress() as progress:
        task = progress.add_task("install", total=None, told="fetching")
        file = _file(parts, wanted, Path(folder))
        outcome = packages.install(
            parts.repository, _ACCESS, file, lambda count: progress.update(task, told=f"{count} definitions")
        )
    seconds = round(time.monotonic() - began, 1)
    if as_json:
        print_json({**asdict(outcome), "seconds": seconds})
        return
    for name, why in list(outcome.refused.items())[:_SHOWN]:
        err.print(f"refused {name}: {why}", highlight=False, markup=False)
    out.print(
        f"{outcome.name}@{outcome.version}: {outcome.stored} stored, {outcome.unchanged} were there, "
        f"{outcome.built_in} are built in, {len(outcome.refused)} refused; {seconds} s",
        highlight=False,
    )
    for name in outcome.missing:
        out.print(f"It builds on {name}, which is not installed.", highlight=False)


@app.command("list")
def list_(data: DataFolder = None, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Shows the packages that are installed."""
    with _opened(data, config) as parts:
        found = packages.listed(parts.repository, _ACCESS)
    rows: list[dict[str, Any]] = [
        {
            "package": each.name, "version": each.version, "resources": each.resources, "installed": each.installed,
            "missing": packages.missing(dict(each.dependencies), found),
        }
        for each in found
    ]  # fmt: skip
    if as_json:
        print_json({"packages": rows})
    else:
        print_table("Packages", [{**row, "missing": ", ".join(row["missing"])} for row in rows])


@app.command("remove")
def remove(
    wanted: Annotated[str, typer.Argument(metavar="PACKAGE", help="NAME, or NAME@VERSION if there are several.")],
    data: DataFolder = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Deletes the definitions that a package brought and no other one did."""
    name, version = _parts(wanted)
    with _opened(data, config) as parts:
        version, gone = packages.remove(parts.repository, _ACCESS, name, version)
    if as_json:
        print_json({"name": name, "version": version, "deleted": gone})
    else:
        out.print(f"{name}@{version}: {gone} deleted", highlight=False)


@contextmanager
def _opened(data: Path | None, config: Path | None) -> Iterator[Parts]:
    with with_database(data, config) as settings:
        prepare(settings)
        parts = compose(settings)
        try:
            yield parts
        finally:
            parts.database.close()


def _file(parts: Parts, wanted: str, folder: Path) -> Path:
    if wanted.endswith((".tgz", ".tar.gz")) or Path(wanted).is_file():
        return Path(wanted)
    name, version = _parts(wanted)
    return package_registry.fetch(parts.settings.package_registry, name, version, folder, parts.guard)


def _parts(wanted: str) -> tuple[str, str]:
    """Name and version of NAME@VERSION, or NAME#VERSION as FHIR's own tools write it; @scope/NAME may lead."""
    scope, text = ("@", wanted[1:]) if wanted.startswith("@") else ("", wanted)
    name, _, version = text.replace("#", "@").partition("@")
    return scope + name, version


def _progress() -> Progress:
    columns = SpinnerColumn(), TextColumn("{task.fields[told]}"), TimeElapsedColumn()
    return Progress(*columns, console=err, transient=True)
