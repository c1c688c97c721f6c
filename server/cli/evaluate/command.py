"""``hutong evaluate``: the command itself."""

import json
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any

import typer

from ai_adapters.evaluation.drawing import draw
from ai_adapters.evaluation.figures import Difference, Evaluation, as_json, compare, estimate_json, evaluate
from ai_adapters.onnx_session import BrokenModel
from server.cli.evaluate.run import Readings, read_all
from server.cli.evaluate.studies import Rules, find
from server.cli.evaluate.system import Evaluated, named
from server.cli.evaluate.table import show
from server.cli.output import AsJson, err, print_json
from server.errors import BadRequest, Unprocessable
from server.fhir.instants import now
from server.workflow.evaluation_report import Data
from server.workflow.evaluation_report import measure_report as report_of


def evaluate_(
    bundle: Annotated[
        list[str], typer.Argument(help="Names of adapters, or folders with a manifest.json or with a product's SRs.")
    ],
    studies: Annotated[Path, typer.Option(help="Folder of DICOM files, of one study or many.")],
    reference: Annotated[
        list[Path] | None,
        typer.Option(help="SRs, SEGs, LIDC-IDRI XML: a folder or file; else those among the studies."),
    ] = None,
    readers: Annotated[int | None, typer.Option(help="Readers who must have marked a lesion; else over half.")] = None,
    unreported_is_empty: Annotated[
        bool, typer.Option("--unreported-is-empty", help="A study without a reference is one without lesions.")
    ] = False,
    threshold: Annotated[float | None, typer.Option(help="Instead of the manifests' own.")] = None,
    curve: Annotated[Path | None, typer.Option(help="Draw the FROC curves into this SVG file.")] = None,
    measure_report: Annotated[Path | None, typer.Option(help="Write a FHIR MeasureReport into this file.")] = None,
    data: Annotated[Path | None, typer.Option(help="Data folder of the server.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measures adapters against reference reports, by LUNA16's rule; nothing leaves the machine."""
    chosen = [named(name, data) for name in bundle]
    if len({one.name for one in chosen}) < len(chosen):
        raise BadRequest("Two systems have the same name; give one of them another.", expression="bundle")
    systems = frozenset(one.system.device_uid for one in chosen if one.system.device_uid)
    rules = Rules(readers=readers, unreported_is_empty=unreported_is_empty, systems=systems)
    found = find(studies, reference or [studies])
    try:
        with err.status("reading") as status:
            readings = read_all(chosen, found, rules, status.update)
    except BrokenModel as error:
        raise Unprocessable(f"An adapter does not run: {error}.", expression="bundle") from error
    evaluations = _evaluations(chosen, readings, threshold)
    pairs = [(f"{a.name} and {b.name}", compare(a, b)) for a, b in combinations(evaluations, 2)]
    if curve is not None:
        curve.write_text(draw(evaluations), encoding="utf-8")
    if measure_report is not None:
        measure_report.write_text(_report(evaluations, chosen, readings), encoding="utf-8")
    _print(evaluations, pairs, readings, as_json)


def _evaluations(chosen: list[Evaluated], readings: Readings, threshold: float | None) -> list[Evaluation]:
    if not any(readings.scans.values()):
        reasons = "; ".join(sorted({reason for _, reason in readings.left_out}))
        raise Unprocessable(
            f"No study could be evaluated: {reasons}. References are SRs by TID 1500 or LIDC-IDRI XML of the same"
            " studies (--reference); --unreported-is-empty takes studies without one as without lesions.",
            expression="reference",
        )
    return [
        evaluate(
            one.name,
            readings.scans[one.name],
            one.threshold if threshold is None else threshold,
        )
        for one in chosen
    ]


def _report(evaluations: list[Evaluation], chosen: list[Evaluated], readings: Readings) -> str:
    """The MeasureReport, or a collection of them where there are several systems."""
    data = Data(dates=readings.dates, moment=now())
    reports = [report_of(each, one.system, data) for each, one in zip(evaluations, chosen, strict=True)]
    collection = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": each} for each in reports]}
    return json.dumps(reports[0] if len(reports) == 1 else collection, indent=2) + "\n"


def _print(
    evaluations: list[Evaluation], pairs: list[tuple[str, list[Difference]]], readings: Readings, json_wanted: bool
) -> None:
    for uid, reason in readings.left_out:
        err.print(f"left out {uid}: {reason}", markup=False, highlight=False, soft_wrap=True)
    if not json_wanted:
        show(evaluations, pairs)
        return
    print_json(
        {
            "systems": [as_json(each) for each in evaluations],
            "comparisons": [_comparison(title, differences) for title, differences in pairs],
            "left_out": [{"study": uid, "reason": reason} for uid, reason in readings.left_out],
        }
    )


def _comparison(title: str, differences: list[Difference]) -> dict[str, Any]:
    return {
        "systems": title,
        "figures": {
            each.figure: {
                "first": round(each.first, 3),
                "second": round(each.second, 3),
                "difference": estimate_json(each.difference),
                "clear": each.clear,
            }
            for each in differences
        },
    }
