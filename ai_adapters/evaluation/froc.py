"""LUNA16's rule for detectors (Setio 2017, https://doi.org/10.1016/j.media.2017.06.015).

A finding hits a lesion when it lies within half the lesion's diameter of its centre; a second hit on the same lesion
and a hit on a lesion that is not asked for count for nothing; all others are false positives. FROC is the sensitivity
at 1/8, 1/4, 1/2, 1, 2, 4 and 8 false positives a scan, CPM its mean, their intervals come from 1,000 bootstraps over
scans. Lengths are mm, volumes mm3.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dicom_sr.findings import Point

RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
BOOTSTRAPS = 1000
#: What no finding hit; below every confidence.
MISSED = -1.0
#: A mark without an outline is below 3 mm; findings this near to one that is not asked for count for nothing.
_SMALLEST_MM = 3.0


@dataclass(frozen=True, kw_only=True)
class Truth:
    """A lesion of the reference."""

    center_mm: Point
    diameter_mm: float
    #: None where the reference gives neither a volume nor a segment.
    volume_mm3: float | None = None
    #: As the reference words it; empty where it says nothing.
    density: str = ""
    #: Whether it is ever asked for (marked by enough readers).
    certain: bool = True


@dataclass(frozen=True, kw_only=True)
class Found:
    """One finding of the system that is evaluated."""

    center_mm: Point
    #: 0..1.
    confidence: float
    volume_mm3: float | None = None
    diameter_mm: float | None = None
    #: Dice coefficient with the segment of a truth, by the truth's number in its scan.
    dice: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Scan:
    """One scan: what is there and what was found, findings not cut by a threshold."""

    name: str
    seconds: float
    truths: tuple[Truth, ...]
    found: tuple[Found, ...]
    #: Chance, 0..1, where the system only says of the scan as a whole whether there is something.
    verdict: float | None = None


@dataclass(frozen=True, kw_only=True)
class Stratum:
    """Which lesions are asked for: a range of diameters, a density."""

    name: str
    above_mm: float = 0.0
    up_to_mm: float = math.inf
    #: None for every density.
    density: str | None = None

    def holds(self, truth: Truth) -> bool:
        """Whether a lesion is asked for."""
        in_size = self.above_mm < truth.diameter_mm <= self.up_to_mm
        return truth.certain and in_size and self.density in (None, truth.density)


ALL = Stratum(name="all")
#: The sizes that screening tells apart.
SIZES = (
    Stratum(name="<= 5 mm", up_to_mm=5.0),
    Stratum(name="5-6 mm", above_mm=5.0, up_to_mm=6.0),
    Stratum(name="6-8 mm", above_mm=6.0, up_to_mm=8.0),
    Stratum(name="> 8 mm", above_mm=8.0),
)


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A lesion asked for, with the surest finding on it."""

    truth: Truth
    #: The truth's number in its scan.
    number: int
    found: Found | None

    @property
    def confidence(self) -> float:
        """The finding's; MISSED where there is none."""
        return MISSED if self.found is None else self.found.confidence

    @property
    def dice(self) -> float | None:
        """Of the finding's segment and the truth's, where both have one."""
        return None if self.found is None else dict(self.found.dice).get(self.number)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One scan against its truth: what counts."""

    hits: tuple[Hit, ...]
    #: Confidences of the false positives.
    false: tuple[float, ...]


def judge(scan: Scan, asked: Stratum = ALL) -> Outcome:
    """Match the findings of a scan to its lesions."""
    best: dict[int, Found] = {}
    false = []
    for found in scan.found:
        touched = [number for number, truth in enumerate(scan.truths) if _touches(found, truth)]
        for number in touched:
            if number not in best or best[number].confidence < found.confidence:
                best[number] = found
        if not touched:
            false.append(found.confidence)
    hits = tuple(
        Hit(truth=truth, number=number, found=best.get(number))
        for number, truth in enumerate(scan.truths)
        if asked.holds(truth)
    )
    return Outcome(hits=hits, false=tuple(false))


def _touches(found: Found, truth: Truth) -> bool:
    reach = max(truth.diameter_mm, 0.0 if truth.certain else _SMALLEST_MM) / 2
    return math.dist(found.center_mm, truth.center_mm) <= reach


def sensitivities(outcomes: Sequence[Outcome]) -> list[float]:
    """Sensitivity at each of the RATES; nan where nothing was asked for."""
    return [point.sensitivity for point in _curve(outcomes, RATES)]


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """Where a threshold leads: false positives a scan that it lets through at most, and the sensitivity it leaves."""

    rate: float
    sensitivity: float


def curve(outcomes: Sequence[Outcome]) -> list[CurvePoint]:
    """The whole FROC curve from 1/8 to 8 false positives a scan, in 49 steps of equal ratio."""
    return _curve(outcomes, [float(rate) for rate in np.geomspace(RATES[0], RATES[-1], 49)])


def _curve(outcomes: Sequence[Outcome], rates: Sequence[float]) -> list[CurvePoint]:
    false = np.sort(_flat([outcome.false for outcome in outcomes]))[::-1]
    scores = _flat([[hit.confidence for hit in outcome.hits] for outcome in outcomes])
    points = []
    for rate in rates:
        allowed = int(rate * len(outcomes) + 1e-9)
        threshold = false[allowed] if allowed < len(false) else MISSED / 2
        share = float((scores > threshold).mean()) if scores.size else math.nan
        points.append(CurvePoint(rate=rate, sensitivity=share))
    return points


def _flat(lists: Sequence[Sequence[float]]) -> npt.NDArray[np.float64]:
    return np.array([value for values in lists for value in values], dtype=np.float64)


def cpm(outcomes: Sequence[Outcome]) -> float:
    """The mean of the sensitivities; nan where nothing was asked for."""
    return float(np.mean(sensitivities(outcomes)))


def interval(
    outcomes: Sequence[Outcome], figure: Callable[[Sequence[Outcome]], float] = cpm, draws: int = BOOTSTRAPS
) -> tuple[float, float]:
    """95 % interval of a figure (the CPM unless told) over bootstrapped scans; nan where there is none."""
    values = [figure([outcomes[number] for number in drawn]) for drawn in samples(len(outcomes), draws)]
    return percentiles(values)


def samples(scans: int, draws: int = BOOTSTRAPS) -> npt.NDArray[np.int64]:
    """Numbers of the scans in each draw; always the same ones, so that two systems are drawn alike."""
    return np.random.default_rng(0).integers(0, scans, (draws, scans))


def percentiles(values: Sequence[float]) -> tuple[float, float]:
    """2.5 % and 97.5 % of the values that are there; nan where there are none."""
    there = [value for value in values if not math.isnan(value)]
    if not there:
        return math.nan, math.nan
    low, high = np.percentile(there, [2.5, 97.5])
    return float(low), float(high)
