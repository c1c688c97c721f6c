"""``hutong viewer install`` and ``hutong viewer status``."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from server.cli.output import AsJson, err, out, print_json
from server.cli.viewer import install as viewer
from server.settings import load

app = typer.Typer(help="OHIF, the viewer at /viewer: install, status.", no_args_is_help=True)

Data = Annotated[Path | None, typer.Option(help="Data folder of the server.")]


@app.command("install")
def install(
    package: Annotated[Path | None, typer.Option(help="The tarball, where npm has fetched it before.")] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Fetches OHIF through npm, checks that it is the tested build, and puts it where the server finds it."""
    with err.status(f"fetching and unpacking {viewer.PACKAGE}@{viewer.VERSION}"):
        done = viewer.install(load({"data": data}).viewer_folder, package)
    _say(done, as_json=as_json)


@app.command("status")
def status(data: Data = None, as_json: AsJson = False) -> None:
    """Says which viewer is installed."""
    _say(viewer.installed(load({"data": data}).viewer_folder), as_json=as_json)


def _say(done: viewer.Installed, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(done))
    else:
        out.print(f"OHIF {done.version}: {done.files} files, {done.bytes >> 20} MiB; the server shows it at /viewer")
