"""``hutong terminology``: releases of code systems that the user has a licence for, into the server."""

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from server.app.parts import compose
from server.cli.archive import ConfigFile, DataFolder
from server.cli.output import AsJson, err, out, print_json, print_table
from server.cli.running import with_database
from server.errors import NotFound, Unprocessable
from server.repository import Repository
from server.security.access import Access
from server.store import terminology as tables
from server.store.migrate import upgrade
from server.workflow.terminology_load import Loaded, Loader
from terminology.errors import TerminologyError
from terminology.load import icd10, loinc, package, radlex, snomed, ucum
from terminology.load.release import Release
from terminology.load.tables import Folder

app = typer.Typer(help="Releases of code systems: LOINC, SNOMED CT, ICD-10, RadLex, UCUM, FHIR packages.")
_ACCESS = Access(who="terminology", scopes=frozenset({"read", "write", "delete"}))
_SHOWN = 20


class Format(StrEnum):
    """What a file is."""

    LOINC = "loinc"
    SNOMED = "snomed"
    ICD10 = "icd10"
    RADLEX = "radlex"
    UCUM = "ucum"
    PACKAGE = "package"


@app.callback()
def group() -> None:
    """Releases of code systems: LOINC, SNOMED CT, ICD-10, RadLex, UCUM, FHIR packages."""


@app.command("load")
def load(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The release as its publisher gives it out.")],
    kind: Annotated[Format, typer.Option("--as", help="loinc, snomed, icd10, radlex, ucum or package.")],
    version: Annotated[str, typer.Option("--version", help="The version, where the release does not say it.")] = "",
    language: Annotated[
        str, typer.Option("--language", help="SNOMED CT: of the displays. LOINC: a linguistic variant besides.")
    ] = "",
    url: Annotated[str, typer.Option("--url", help="ICD-10: the canonical of a national edition.")] = "",
    data: DataFolder = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Loads a release, which is at hand once it is there as a whole; a load that ended early is gone on with."""
    if not file.exists():
        raise NotFound(f"There is no file {file}.")
    began = time.monotonic()
    with _repository(data, config) as repository, _progress() as progress:
        task = progress.add_task("load", total=None, told="reading")

        def tell(what: str, there: int, total: int) -> None:
            progress.update(task, completed=there, total=total or None, told=f"{what}: {there}")

        loader = Loader(repository, _ACCESS, tell)
        try:
            if kind is Format.PACKAGE:
                done = loader.store(package.resources(file))
            else:
                with Folder(file) as folder:
                    done = loader.load(_read(kind, folder, version, language, url), _digest(file))
        except (TerminologyError, KeyError) as error:
            missing = f"a column {error} that this format has is missing" if isinstance(error, KeyError) else error
            raise Unprocessable(f"{file.name}: {missing}") from error
    _tell(done, time.monotonic() - began, as_json)


@app.command("list")
def list_(data: DataFolder = None, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Every code system that is at hand, loaded or stored as a resource."""
    with _repository(data, config) as repository, repository.database.reading() as uow:
        found = [
            {
                "url": one.header.url,
                "version": one.header.version,
                "content": one.header.content,
                "concepts": one.concepts if one.apart else None,
                "from": f"CodeSystem/{one.id}" if one.id else "release",
            }
            for one in tables.every_entry(uow, _ACCESS.tenant)
        ]
    if as_json:
        print_json(found)
    else:
        print_table("Code systems", found)


@app.command("remove")
def remove(
    url: Annotated[str, typer.Argument(metavar="URL", help="Canonical of the code system.")],
    version: Annotated[str, typer.Argument(metavar="VERSION", help="Its version, as list tells it.")],
    data: DataFolder = None,
    config: ConfigFile = None,
) -> None:
    """Takes a loaded release out, with its concept maps."""
    with _repository(data, config) as repository:
        if not Loader(repository, _ACCESS).remove(url, version):
            raise NotFound(f"No release {url}|{version} is loaded; 'hutong terminology list' tells those that are.")
    out.print(f"{url}|{version} is removed.")


@contextmanager
def _repository(data: Path | None, config: Path | None) -> Iterator[Repository]:
    with with_database(data, config) as settings:
        parts = compose(settings)
        try:
            upgrade(parts.database)
            yield parts.repository
        finally:
            parts.database.close()


def _read(kind: Format, folder: Folder, version: str, language: str, url: str) -> Release:
    readers: dict[Format, Any] = {
        Format.LOINC: lambda: loinc.read(folder, version=version, language=language),
        Format.SNOMED: lambda: snomed.read(folder, version=version, language=language),
        Format.ICD10: lambda: icd10.read(folder, version=version, url=url),
        Format.RADLEX: lambda: radlex.read(folder, version=version),
        Format.UCUM: lambda: ucum.read(folder, version=version),
    }
    release: Release = readers[kind]()
    return release


def _digest(file: Path) -> str:
    """Of a file's bytes; of a folder the names and sizes of its files."""
    if file.is_dir():
        found = sorted((str(one.relative_to(file)), one.stat().st_size) for one in file.rglob("*") if one.is_file())
        return hashlib.sha256(repr(found).encode()).hexdigest()
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _progress() -> Progress:
    columns = SpinnerColumn(), TextColumn("{task.fields[told]}"), BarColumn(), TimeElapsedColumn()
    return Progress(*columns, console=err, transient=True)


def _tell(done: Loaded, seconds: float, as_json: bool) -> None:
    if as_json:
        print_json({**asdict(done), "seconds": round(seconds, 2)})
    else:
        for one in done.systems:
            resumed = f", {one['resumed_at']} of them by a load before" if one["resumed_at"] else ""
            out.print(f"{one['url']}|{one['version']}: {one['concepts']} concepts{resumed}", highlight=False)
        for one in done.maps:
            out.print(f"{one['url']}: {one['targets']} targets", highlight=False)
        for kind, count in done.resources.items():
            out.print(f"{count} {kind} resources stored", highlight=False)
        for each in done.refused[:_SHOWN]:
            out.print(f"refused {each['resource']}: {each['details']}", markup=False, highlight=False)
        if len(done.refused) > _SHOWN:
            out.print(f"... and {len(done.refused) - _SHOWN} more; --json names them all.")
        out.print(f"{seconds:.1f} s")
    if done.refused:
        raise typer.Exit(1)
