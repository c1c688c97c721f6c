"""``hutong phantom``: a chest CT whose nodules are known, as DICOM, with its truth."""

from pathlib import Path
from typing import Annotated

import typer

from conformance.phantom.make import Wishes
from conformance.phantom.nodules import Spec, SpecError, parse
from conformance.phantom.write import make
from server.cli.output import AsJson, err, out, print_json
from server.errors import BadRequest


def phantom(
    folder: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write into.")],
    seed: Annotated[int, typer.Option(help="The same seed makes the same patient.")] = 1,
    nodules: Annotated[
        str | None, typer.Option(help="'8 12:part-solid:pleura 9:solid:spiculated@-70,20,-30~250', or 'none'.")
    ] = None,
    prior_days: Annotated[int | None, typer.Option(help="Also make a prior study that many days before.")] = None,
    slices: Annotated[int | None, typer.Option(help="Number of slices.")] = None,
    spacing: Annotated[float | None, typer.Option(help="Distance of slices, mm.")] = None,
    thickness: Annotated[float | None, typer.Option(help="Slice thickness, mm; the spacing unless given.")] = None,
    kernel: Annotated[str | None, typer.Option(help="soft, standard or sharp.")] = None,
    noise: Annotated[float | None, typer.Option(help="Standard deviation, HU.")] = None,
    matrix: Annotated[int, typer.Option(help="Rows and columns.")] = 512,
    fresh_uids: Annotated[bool, typer.Option("--fresh-uids", help="New UIDs at every call.")] = False,
    as_json: AsJson = False,
) -> None:
    """Writes CT instances, truth.json and truth_sr.dcm; what is left open is drawn from the seed."""
    specs = _specs(nodules)
    try:
        wishes = Wishes(
            seed=seed,
            nodules=specs,
            slices=slices,
            spacing=spacing,
            thickness=thickness,
            kernel=kernel,
            noise=noise,
            matrix=matrix,
        )
        with err.status("making the phantom"):
            truths = make(folder, wishes, prior_days=prior_days, fresh=fresh_uids)
    except SpecError as error:
        raise BadRequest(str(error)) from error
    if as_json:
        print_json(truths if len(truths) > 1 else truths[0])
        return
    for truth in truths:
        sizes = ", ".join(f"{nodule['diameter_mm']:g} mm {nodule['density']}" for nodule in truth["nodules"])
        out.print(f"{truth['study_date']}: study {truth['study_uid']}: {sizes or 'no nodules'}", highlight=False)


def _specs(words: str | None) -> tuple[Spec, ...] | None:
    if words is None:
        return None
    try:
        return tuple(parse(word) for word in words.split() if word != "none")
    except SpecError as error:
        raise BadRequest(str(error), expression="nodules") from error
