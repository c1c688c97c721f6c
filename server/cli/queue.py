"""``hutong queue``: what is on its way to peers."""

from typing import Annotated

import typer

from server.cli.archive import ConfigFile, DataFolder
from server.cli.output import AsJson, out, print_json, print_table
from server.cli.running import with_database
from server.errors import BadRequest
from server.security.access import system
from server.store.database import Database
from server.workflow.delivery_queue import DeliveryQueue

app = typer.Typer(help="What is on its way to peers.", no_args_is_help=True)

Number = Annotated[int | None, typer.Argument(help="Number of a delivery, as `hutong queue list` shows it.")]
OfPeer = Annotated[str, typer.Option("--peer", help="Name of a peer.")]


@app.callback()
def group() -> None:
    """What is on its way to peers."""


@app.command("list")
def listed(
    peer: OfPeer = "",
    everything: Annotated[bool, typer.Option("--all", help="Also what is done and dropped.")] = False,
    data: DataFolder = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Shows each peer's state and what waits for it, the most urgent first."""
    with with_database(data, config) as settings:
        database = Database(settings.database_url)
        found = DeliveryQueue(database=database, peers=settings.peers).list(system(), peer=peer, everything=everything)
        database.close()
    if as_json:
        print_json(found)
        return
    print_table("Peers", [{**row, "next_try": row["next_try"] if row["failures"] else None} for row in found["peers"]])
    shown = ("number", "peer", "rule", "state", "priority", "instances", "sent", "attempts", "last_error", "next_try")
    print_table("Deliveries", [{name: row[name] for name in shown} for row in found["deliveries"]])


@app.command("retry")
def retry(
    number: Number = None, peer: OfPeer = "", data: DataFolder = None, config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Makes a delivery due now, or all that wait for a peer, or everything; takes up one that was dropped."""
    with with_database(data, config) as settings:
        database = Database(settings.database_url)
        count = DeliveryQueue(database=database, peers=settings.peers).retry(system(), number=number, peer=peer)
        database.close()
    if as_json:
        print_json({"retried": count})
    else:
        out.print(f"{count} deliveries are due now.")


@app.command("drop")
def drop(
    number: Number = None, peer: OfPeer = "", data: DataFolder = None, config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Calls a delivery off, or all that wait for a peer."""
    if number is None and not peer:
        raise BadRequest("Say which: the number of a delivery, or --peer NAME.", expression="number")
    with with_database(data, config) as settings:
        database = Database(settings.database_url)
        count = DeliveryQueue(database=database, peers=settings.peers).drop(system(), number=number, peer=peer)
        database.close()
    if as_json:
        print_json({"dropped": count})
    else:
        out.print(f"{count} deliveries are called off.")
