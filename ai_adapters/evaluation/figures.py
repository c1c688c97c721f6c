"""The figures of an evaluation: one system's on one set of scans, by size and density, and the difference of two.

Volume error is |found / true - 1|, diameter error |found - true| in mm, both medians over the lesions found at the
threshold. A difference is the second system's figure less the first's on the same bootstrapped scans.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from ai_adapters.evaluation.froc import (
    ALL,
    RATES,
    SIZES,
    CurvePoint,
    Hit,
    Outcome,
    Scan,
    Stratum,
    cpm,
    curve,
    interval,
    judge,
    percentiles,
    samples,
    sensitivities,
)
from ai_adapters.evaluation.scans import Case, area, case_of, sensitivity, specificity


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure with its 95 % interval over bootstrapped scans."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What holds of one stratum; None for what nothing was there to tell."""

    stratum: Stratum
    lesions: int
    #: At the threshold.
    found: int
    sensitivity: Estimate | None
    #: At each of the RATES.
    froc: tuple[float, ...] | None
    cpm: Estimate | None
    volume_error: float | None
    #: Median of found / true.
    volume_ratio: float | None
    diameter_error_mm: float | None
    dice: float | None
    #: Lesions that dice is the median of.
    segments: int


@dataclass(frozen=True, kw_only=True)
class Wholes:
    """How well scans with lesions are told from those without."""

    with_lesions: int
    without: int
    area: Estimate
    #: At the threshold.
    sensitivity: Estimate
    specificity: Estimate


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One system on one set of scans."""

    name: str
    threshold: float
    scans: tuple[Scan, ...]
    false_positives: Estimate
    total: Figures
    sizes: tuple[Figures, ...]
    densities: tuple[Figures, ...]
    curve: tuple[CurvePoint, ...]
    as_wholes: Wholes
    seconds: float

    @property
    def finds_places(self) -> bool:
        """Whether the system says where lesions are, and not only that there are some."""
        return all(scan.verdict is None for scan in self.scans)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One figure of two systems on the same scans."""

    figure: str
    first: float
    second: float
    #: second less first.
    difference: Estimate
    #: Whether the interval leaves out nought.
    clear: bool


def evaluate(name: str, scans: Sequence[Scan], threshold: float, draws: int = 1000) -> Evaluation:
    """All figures of a system at its threshold; needs at least one scan.

    A system that only gives verdicts on scans has no figures of lesions.
    """
    wholes = _wholes(scans, threshold, draws)
    # What the whole says is told above; no lesion is asked for, so none counts as missed.
    asked = [scan if scan.verdict is None else replace(scan, truths=()) for scan in scans]
    outcomes = [judge(scan) for scan in asked]
    densities = sorted({truth.density for scan in asked for truth in scan.truths if truth.certain and truth.density})
    return Evaluation(
        name=name,
        threshold=threshold,
        scans=tuple(scans),
        false_positives=_estimate(outcomes, lambda drawn: _false_rate(drawn, threshold), draws),
        total=of_stratum(asked, threshold, ALL, draws),
        sizes=tuple(of_stratum(asked, threshold, size, draws) for size in SIZES),
        densities=tuple(
            of_stratum(asked, threshold, Stratum(name=density, density=density), draws) for density in densities
        ),
        curve=tuple(curve(outcomes)),
        as_wholes=wholes,
        seconds=float(np.median([scan.seconds for scan in scans])),
    )


def _wholes(scans: Sequence[Scan], threshold: float, draws: int) -> Wholes:
    cases = [case_of(scan) for scan in scans]

    def estimate(figure: Callable[[Sequence[Case]], float]) -> Estimate:
        values = [figure([cases[number] for number in drawn]) for drawn in samples(len(cases), draws)]
        low, high = percentiles(values)
        return Estimate(value=figure(cases), low=low, high=high)

    return Wholes(
        with_lesions=sum(case.positive for case in cases),
        without=sum(not case.positive for case in cases),
        area=estimate(area),
        sensitivity=estimate(lambda drawn: sensitivity(drawn, threshold)),
        specificity=estimate(lambda drawn: specificity(drawn, threshold)),
    )


def of_stratum(scans: Sequence[Scan], threshold: float, asked: Stratum, draws: int = 1000) -> Figures:
    """The figures of one size or density."""
    outcomes = [judge(scan, asked) for scan in scans]
    hits = [hit for outcome in outcomes for hit in outcome.hits]
    found = [hit for hit in hits if hit.confidence >= threshold]
    ratios = [ratio for hit in found if (ratio := _volume_ratio(hit)) is not None]
    lengths = [error for hit in found if (error := _diameter_error(hit)) is not None]
    overlaps = [value for hit in found if (value := hit.dice) is not None]
    return Figures(
        stratum=asked,
        lesions=len(hits),
        found=len(found),
        sensitivity=_estimate(outcomes, lambda drawn: _share_found(drawn, threshold), draws) if hits else None,
        froc=tuple(sensitivities(outcomes)) if hits else None,
        cpm=_estimate(outcomes, cpm, draws) if hits else None,
        volume_error=_median([abs(ratio - 1) for ratio in ratios]),
        volume_ratio=_median(ratios),
        diameter_error_mm=_median(lengths),
        dice=_median(overlaps),
        segments=len(overlaps),
    )


def compare(first: Evaluation, second: Evaluation, draws: int = 1000) -> list[Difference]:
    """Paired differences; both systems must have read the same scans in the same order.

    Of lesions where both systems say where they are, of scans as wholes always.
    """
    if [scan.name for scan in first.scans] != [scan.name for scan in second.scans]:
        raise ValueError("the two systems did not read the same scans")
    drawn = samples(len(first.scans), draws).tolist()
    pair = (first, second)
    cases = [[case_of(scan) for scan in one.scans] for one in pair]
    # Where all scans are of one kind there is no curve.
    told = [_difference("area under the ROC curve of scans", (area, area), cases, drawn)]
    told = [one for one in told if not math.isnan(one.difference.value)]
    if not (first.finds_places and second.finds_places):
        return told
    outcomes = [[judge(scan) for scan in one.scans] for one in pair]
    return [
        _difference("CPM", (cpm, cpm), outcomes, drawn),
        _difference("sensitivity", [_at(_share_found, one.threshold) for one in pair], outcomes, drawn),
        _difference("false positives a scan", [_at(_false_rate, one.threshold) for one in pair], outcomes, drawn),
        *told,
    ]


#: What is known of one scan.
_One = TypeVar("_One")
_Figure = Callable[[Sequence[Outcome]], float]


def _at(figure: Callable[[Sequence[Outcome], float], float], threshold: float) -> _Figure:
    return lambda outcomes: figure(outcomes, threshold)


def _difference(
    name: str,
    figures: Sequence[Callable[[Sequence[_One]], float]],
    outcomes: Sequence[Sequence[_One]],
    drawn: Sequence[Sequence[int]],
) -> Difference:
    first, second = (figure(each) for figure, each in zip(figures, outcomes, strict=True))
    values = []
    for numbers in drawn:
        one, other = (
            figure([each[number] for number in numbers]) for figure, each in zip(figures, outcomes, strict=True)
        )
        values.append(other - one)
    low, high = percentiles(values)
    estimate = Estimate(value=second - first, low=low, high=high)
    return Difference(figure=name, first=first, second=second, difference=estimate, clear=low > 0 or high < 0)


def _estimate(outcomes: Sequence[Outcome], figure: _Figure, draws: int) -> Estimate:
    low, high = interval(outcomes, figure, draws)
    return Estimate(value=figure(outcomes), low=low, high=high)


def _share_found(outcomes: Sequence[Outcome], threshold: float) -> float:
    scores = [hit.confidence >= threshold for outcome in outcomes for hit in outcome.hits]
    return sum(scores) / len(scores) if scores else math.nan


def _false_rate(outcomes: Sequence[Outcome], threshold: float) -> float:
    return sum(score >= threshold for outcome in outcomes for score in outcome.false) / len(outcomes)


def _volume_ratio(hit: Hit) -> float | None:
    if hit.found is None or hit.found.volume_mm3 is None or not hit.truth.volume_mm3:
        return None
    return hit.found.volume_mm3 / hit.truth.volume_mm3


def _diameter_error(hit: Hit) -> float | None:
    if hit.found is None or hit.found.diameter_mm is None:
        return None
    return abs(hit.found.diameter_mm - hit.truth.diameter_mm)


def _median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if values else None


def as_json(evaluation: Evaluation) -> dict[str, object]:
    """The figures as JSON; no reading of any scan among them, only counts and medians."""
    return {
        "name": evaluation.name,
        "threshold": evaluation.threshold,
        "scans": len(evaluation.scans),
        "false_positives_a_scan": estimate_json(evaluation.false_positives) if evaluation.finds_places else None,
        "all": figures_json(evaluation.total),
        "by_size": {one.stratum.name: figures_json(one) for one in evaluation.sizes},
        "by_density": {one.stratum.name: figures_json(one) for one in evaluation.densities},
        "scans_as_wholes": {
            "with_lesions": evaluation.as_wholes.with_lesions,
            "without": evaluation.as_wholes.without,
            "roc_area": estimate_json(evaluation.as_wholes.area),
            "sensitivity": estimate_json(evaluation.as_wholes.sensitivity),
            "specificity": estimate_json(evaluation.as_wholes.specificity),
        },
        "seconds_median": round(evaluation.seconds, 2),
    }


def estimate_json(estimate: Estimate | None) -> list[float | None] | None:
    """[value, low, high], rounded to thousandths."""
    if estimate is None:
        return None
    values = (estimate.value, estimate.low, estimate.high)
    return [None if math.isnan(value) else round(value, 3) for value in values]


def figures_json(figures: Figures) -> dict[str, object]:
    """The figures of one stratum as JSON."""

    def rounded(value: float | None) -> float | None:
        return None if value is None else round(value, 3)

    froc = None if figures.froc is None else [round(value, 3) for value in figures.froc]
    return {
        "lesions": figures.lesions,
        "found": figures.found,
        "sensitivity": estimate_json(figures.sensitivity),
        "froc": None if froc is None else {f"{rate:g}": value for rate, value in zip(RATES, froc, strict=True)},
        "cpm": estimate_json(figures.cpm),
        "volume_error_median": rounded(figures.volume_error),
        "volume_ratio_median": rounded(figures.volume_ratio),
        "diameter_error_median_mm": rounded(figures.diameter_error_mm),
        "dice_median": rounded(figures.dice),
        "segments": figures.segments,
    }
