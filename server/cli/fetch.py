"""``hutong fetch``: studies brought here from a peer."""

from dataclasses import asdict
from typing import Annotated

import typer

from server.app.outbound import fetcher
from server.app.parts import compose
from server.cli.archive import ConfigFile, DataFolder
from server.cli.output import AsJson, out, print_json, print_table
from server.cli.running import with_database
from server.security.access import system
from server.workflow.fetch import Asked
from server.workflow.priors import Wish


def fetch(
    peer: Annotated[str, typer.Argument(help="Name of a peer; without one, what was asked for is listed.")] = "",
    study: Annotated[str, typer.Option(help="Study Instance UID.")] = "",
    patient: Annotated[str, typer.Option(help="Patient ID.")] = "",
    issuer: Annotated[str, typer.Option(help="Issuer of Patient ID.")] = "",
    number: Annotated[int, typer.Option(min=1, help="Studies of the patient at most, the newest first.")] = 1,
    modality: Annotated[list[str] | None, typer.Option(help="Modality of a study; repeat for several.")] = None,
    analyse: Annotated[bool, typer.Option("--analyse", help="Let adapters see it as any new study.")] = False,
    only_look: Annotated[bool, typer.Option("--only-look", help="Only show the candidates.")] = False,
    data: DataFolder = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Asks a peer for a study or a patient's studies; the running server fetches those that were chosen."""
    with with_database(data, config) as settings:
        parts = compose(settings)
        fetching = fetcher(parts)
        if peer:
            wish = Wish(number=number, modalities=tuple(modality or ()))
            asked = Asked(
                study=study, patient_id=patient, issuer=issuer, wish=wish, analyse=analyse, only_look=only_look
            )
            rows = [asdict(one) for one in fetching.request(system(), peer, asked)]
        else:
            rows = [asdict(line) for line in fetching.lines(system())]
        parts.database.close()
    if as_json:
        print_json({"candidates" if peer else "fetches": rows})
        return
    candidate = ("study", "date", "modalities", "instances", "chosen", "why")
    shown = candidate if peer else ("study", "peer", "state", "instances", "last_error")
    print_table("Candidates" if peer else "Fetched", [{name: row[name] for name in shown} for row in rows])
    if peer and not only_look:
        out.print(f"{sum(bool(row['chosen']) for row in rows)} studies are queued; the server fetches them.")
