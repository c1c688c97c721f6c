"""An evaluation as tables for people."""

import math
from collections.abc import Sequence
from typing import Any

from ai_adapters.evaluation.figures import Difference, Estimate, Evaluation, Figures
from ai_adapters.evaluation.froc import RATES
from server.cli.output import out, print_table


def show(evaluations: Sequence[Evaluation], differences: Sequence[tuple[str, Sequence[Difference]]]) -> None:
    """One table a system, one of the curves, one for each pair."""
    places = [one for one in evaluations if one.finds_places]
    for one in places:
        false = _with_interval(one.false_positives)
        title = f"{one.name}: {len(one.scans)} scans, threshold {one.threshold:g}, {false} false positives a scan"
        print_table(title, [_row(each) for each in (one.total, *one.sizes, *one.densities)])
    if places:
        print_table("Sensitivity by false positives a scan", [_curve(one) for one in places])
    print_table("Scans with lesions told from those without", [_whole(one) for one in evaluations])
    for title, pair in differences:
        print_table(title, [_difference(each) for each in pair])
    out.print("In brackets 95 % intervals from 1,000 bootstraps over the scans.", highlight=False)


def _row(figures: Figures) -> dict[str, Any]:
    return {
        "lesions": figures.stratum.name,
        "asked for": figures.lesions,
        "found": figures.found,
        "sensitivity": _with_interval(figures.sensitivity),
        "CPM": _with_interval(figures.cpm),
        "volume error": None if figures.volume_error is None else f"{100 * figures.volume_error:.0f} %",
        "diameter error": None if figures.diameter_error_mm is None else f"{figures.diameter_error_mm:.1f} mm",
        "Dice": None if figures.dice is None else f"{figures.dice:.2f}",
    }


def _curve(evaluation: Evaluation) -> dict[str, Any]:
    values = evaluation.total.froc or (None,) * len(RATES)
    return {
        "": evaluation.name,
        **{
            f"{rate:g}": None if value is None else f"{value:.3f}"
            for rate, value in zip(RATES, values, strict=True)
        },
    }  # fmt: skip


def _whole(evaluation: Evaluation) -> dict[str, Any]:
    wholes = evaluation.as_wholes
    return {
        "": evaluation.name,
        "with": wholes.with_lesions,
        "without": wholes.without,
        "ROC area": _with_interval(wholes.area),
        "sensitivity": _with_interval(wholes.sensitivity),
        "specificity": _with_interval(wholes.specificity),
    }


def _difference(difference: Difference) -> dict[str, Any]:
    return {
        "figure": difference.figure,
        "first": f"{difference.first:.3f}",
        "second": f"{difference.second:.3f}",
        "difference": _with_interval(difference.difference),
        "": "differ" if difference.clear else "no clear difference",
    }


def _with_interval(estimate: Estimate | None) -> str | None:
    if estimate is None or math.isnan(estimate.value):
        return None
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"
