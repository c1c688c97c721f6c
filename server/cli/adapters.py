"""``hutong adapters``: the AI models at hand."""

import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import pydicom
import typer

from ai_adapters import registry as bundles
from ai_adapters.manifest import BrokenManifest
from ai_adapters.onnx_session import BrokenModel
from ai_adapters.registry import Bundle, RefusedBundle, UnknownBundle
from ai_adapters.run import run as run_bundle
from ai_adapters.selection import select
from ai_adapters.volume import UnusableSeries
from ai_adapters.volume import load as load_volume
from server.cli.demo.client import dicom_files
from server.cli.output import AsJson, err, out, print_json, print_table
from server.errors import NotFound, Unprocessable
from server.settings import load

app = typer.Typer(help="AI models: list, show, add, run.", no_args_is_help=True)

Data = Annotated[Path | None, typer.Option(help="Data folder of the server.")]


@app.command("list")
def list_bundles(data: Data = None, as_json: AsJson = False) -> None:
    """Lists the adapters: those that come with Hutong and those that were added."""
    rows = [
        {
            "name": one.manifest.name,
            "version": one.manifest.version,
            "task": one.manifest.task,
            "folder": str(one.folder),
        }
        for one in _registry(data).bundles()
    ]
    if as_json:
        print_json(rows)
    else:
        print_table("Adapters", rows)


@app.command("show")
def show(name: str, data: Data = None, as_json: AsJson = False) -> None:
    """Shows an adapter's manifest: what it reads, what it was trained on, how it was measured, what it is for."""
    text = (_bundle(name, data).folder / "manifest.json").read_text(encoding="utf-8")
    if as_json:
        print(text)
    else:
        out.print_json(text)


@app.command("add")
def add(
    folder: Annotated[Path, typer.Argument(help="A folder with manifest.json and its ONNX files.")],
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Brings a foreign model in, after running it once in a child process with limits."""
    try:
        with err.status("running the model in a child process"):
            bundle = bundles.add(folder, load({"data": data}).bundle_folder)
    except (RefusedBundle, BrokenManifest) as error:
        raise Unprocessable(f"The adapter is refused: {error}.", expression=str(folder)) from error
    if as_json:
        print_json({"name": bundle.manifest.name, "folder": str(bundle.folder)})
    else:
        out.print(f"added {bundle.manifest.name} {bundle.manifest.version}")


@app.command("run")
def run(name: str, study: Path, data: Data = None, as_json: AsJson = False) -> None:
    """Runs an adapter on a folder of DICOM files, without a server, and prints its findings."""
    bundle = _bundle(name, data)
    try:
        with err.status("reading the series"):
            volume = load_volume(select(bundle.manifest, dicom_files(study)))
        with err.status("running the model"):
            findings = run_bundle(
                bundle,
                volume,
                identify=lambda _, index: (f"Lesion {index + 1}", pydicom.uid.generate_uid()),
                timestamp=datetime.now(UTC),
                key="",
            )
    except UnusableSeries as error:
        raise Unprocessable(f"The study can't be read: {error.reason}", expression=str(study)) from error
    except BrokenModel as error:
        raise Unprocessable(f"The adapter does not run: {error}.", expression="name") from error
    rows = [
        {
            "tracking": one.tracking_id,
            "center_mm": None if one.center_mm is None else [round(value, 1) for value in one.center_mm],
            **{m.concept.meaning: f"{m.value:.1f} {m.unit.value}" for m in one.measurements},
            "confidence": None if one.confidence is None else round(one.confidence, 3),
        }
        for one in findings.findings
    ]
    if as_json:
        print_json(rows)
    else:
        print_table(f"{len(rows)} findings", rows)
        for comment in findings.comments:
            out.print(comment, markup=False, highlight=False)


@app.command("bench")
def bench(
    name: str,
    study: Annotated[Path | None, typer.Option(help="A folder of DICOM files; else phantoms are made.")] = None,
    phantoms: Annotated[int, typer.Option(help="How many, where no study is given.")] = 1,
    workers: Annotated[int, typer.Option(help="Analyses at once, for the studies an hour.")] = 1,
    threads: Annotated[int, typer.Option(help="Of each inference; 0 shares the cores among the workers.")] = 0,
    provider: Annotated[list[str] | None, typer.Option(help="ONNX Runtime execution providers, in order.")] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Measures what an analysis costs: studies an hour, seconds by stage, memory, and the bare model's share."""
    from server.cli import bench as benching

    found = _bundle(name, data)
    each = threads or max(1, (os.cpu_count() or 1) // workers)
    try:
        with err.status("measuring"), benching.studies(study, phantoms) as places:
            works = [
                benching.Work(
                    bundle=found.folder, images=images, threads=each, providers=tuple(provider or ()), bare=True
                )
                for images in places
            ]
            costs = benching.one_by_one(works)
            several = [replace(work, bare=False) for work in works] * max(1, -(-2 * workers // len(works)))
            figures = benching.summary(costs, benching.at_once(several, workers))
    except UnusableSeries as error:
        raise Unprocessable(f"The study can't be read: {error.reason}", expression=str(study)) from error
    except BrokenModel as error:
        raise Unprocessable(f"The adapter does not run: {error}.", expression="name") from error
    if as_json:
        print_json(figures)
        return
    seconds = figures.pop("seconds")
    rows = [{"stage": stage, "seconds": f"{value:.2f}"} for stage, value in dict(seconds).items()]  # type: ignore[call-overload]
    print_table(f"One analysis by {name}, {each} threads", rows)
    print_table("All in all", [{"figure": key.replace("_", " "), "": value} for key, value in figures.items()])


def _registry(data: Path | None) -> bundles.Registry:
    return bundles.registry(load({"data": data}).bundle_folder)


def _bundle(name: str, data: Path | None) -> Bundle:
    try:
        return _registry(data).get(name)
    except UnknownBundle as error:
        raise NotFound(f"{error}.", expression="name") from error
