"""``hutong gc``: gives the bytes of what was deleted back to the disk."""

from dataclasses import asdict
from typing import Annotated

import typer

from server.app.archive import keeper
from server.cli.archive import ConfigFile, DataFolder, opened
from server.cli.output import AsJson, err, out, print_json

_MIB = 1 << 20


def gc(
    data: DataFolder = None,
    config: ConfigFile = None,
    grace: Annotated[
        float | None, typer.Option(help="Seconds that bytes outlive their deletion; the setting gc_grace unless given.")
    ] = None,
    rate: Annotated[int, typer.Option(help="MiB a second to read at most; 0 for any.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Removes orphans, copies packs with little left alive together, and forgets what is long deleted."""
    with opened(data, config, gc_grace=grace) as archive, err.status("looking") as status:
        kept = keeper(archive.settings, archive.database, rate=rate * _MIB).run(whole=True, tell=status.update)
    done = kept.collected
    if as_json:
        print_json(asdict(kept))
    elif done.busy:
        out.print("Another run is clearing up the packs now; nothing was done to them.")
    else:
        out.print(
            f"{done.orphans} orphans and {done.removed} old packs removed, {done.freed / _MIB:.1f} MiB freed; "
            f"{done.compacted} packs compacted and {done.emptied} found empty: their files go after the grace time; "
            f"{kept.expired} rejected instances deleted, {kept.tombstones} tombstones forgotten."
        )
    if done.no_room:
        err.print("The disk had no room to copy packs together; free some space, then run it again.")
    if done.damaged:
        err.print(f"Not touched, since instances in them are not as they came: {', '.join(done.damaged)}.")
        err.print("Run `hutong verify`: it names the instances.")
        raise typer.Exit(1)
