"""``hutong retention``: which studies the rules let go, and on demand lets them go."""

from dataclasses import asdict
from typing import Annotated

import typer

from server.app.archive import retainer
from server.cli.archive import ConfigFile, DataFolder, opened
from server.cli.output import AsJson, out, print_json, print_table


def retention(
    data: DataFolder = None,
    config: ConfigFile = None,
    apply: Annotated[bool, typer.Option("--apply", help="Do it; else it is only told what would be done.")] = False,
    as_json: AsJson = False,
) -> None:
    """Tells which studies the rules of the setting ``retention`` let go now; a running server applies them hourly."""
    with opened(data, config) as archive:
        found = retainer(archive.settings, archive.database).run(dry=not apply)
    if as_json:
        print_json({"applied": apply, "studies": [asdict(one) for one in found]})
    else:
        print_table("Retention", [asdict(one) for one in found])
        if found and not apply:
            out.print("Nothing was done; --apply does it.")
