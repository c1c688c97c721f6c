"""``hutong peers``: the DICOM neighbours of the settings, and whether they answer."""

import time
from typing import Annotated, Any

import typer

from server.app.outbound import entity
from server.cli.archive import ConfigFile
from server.cli.output import AsJson, print_json, print_table
from server.errors import HutongError, NotFound
from server.outbound import dicomweb
from server.outbound.dimse.echo import echo as c_echo
from server.outbound.dimse.entity import Entity
from server.outbound.fhir import connect_fhir
from server.settings import Peer, Settings, load

app = typer.Typer(help="DICOM neighbours.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """DICOM neighbours."""


@app.command("list")
def listed(config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Shows the peers of the settings."""
    rows = [_row(peer) for peer in load(file=config).peers]
    if as_json:
        print_json({"peers": rows})
    else:
        print_table("Peers", rows)


@app.command("echo")
def echo(
    name: Annotated[str, typer.Argument(help="Name of a peer; all of them unless given.")] = "",
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Asks peers whether they answer: by C-ECHO, and by a search at each URL. Exits 1 unless all do."""
    settings = load(file=config)
    peers = [peer for peer in settings.peers if name in ("", peer.name)]
    if name and not peers:
        raise NotFound(f"There is no peer '{name}' in the settings.", expression="peers")
    rows = [row for peer in peers for row in _asked(settings, peer)]
    if as_json:
        print_json({"peers": rows})
    else:
        print_table("Peers", rows)
    if not all(row["answers"] for row in rows):
        raise typer.Exit(1)


def _row(peer: Peer) -> dict[str, Any]:
    address = f"{peer.ae_title}@{peer.host}:{peer.port}" if peer.ae_title else ""
    return {
        "peer": peer.name, "dimse": address, "tls": peer.tls, "dicomweb": peer.url, "results": peer.send_results,
        "commit": peer.commit, "query": peer.query, "fetch_by": "dicomweb" if peer.url else peer.fetch_by,
        "fhir": peer.fhir_url,
    }  # fmt: skip


def _asked(settings: Settings, peer: Peer) -> list[dict[str, Any]]:
    us = entity(settings)
    ways = [("C-ECHO", _by_dimse)] if peer.ae_title else []
    ways += [("DICOMweb", _by_web)] if peer.url else []
    ways += [("FHIR", _by_fhir)] if peer.fhir_url else []
    rows = []
    for way, ask in ways:
        began, why = time.monotonic(), ""
        try:
            ask(us, peer)
        except HutongError as error:
            why = error.details
        seconds = round(time.monotonic() - began, 3)
        rows.append({"peer": peer.name, "by": way, "answers": not why, "seconds": seconds, "why": why})
    return rows


def _by_dimse(us: Entity, peer: Peer) -> None:
    c_echo(us, peer)


def _by_web(us: Entity, peer: Peer) -> None:
    with dicomweb.connect(us, peer) as web:
        web.search("/studies", {"limit": "1"})


def _by_fhir(us: Entity, peer: Peer) -> None:
    with connect_fhir(us, peer) as fhir:
        next(fhir.resources("ImagingStudy", {"_count": "1"}), None)
