"""Scans as wholes: is a scan with lesions told from one without, by the surest finding or by the system's verdict.

The area under the ROC curve is the share of pairs (one scan with a lesion that is asked for, one without) in which the
former has the higher score, ties counting half (Hanley and McNeil 1982, https://doi.org/10.1148/radiology.143.1.7063747).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from ai_adapters.evaluation.froc import Scan


@dataclass(frozen=True, kw_only=True)
class Case:
    """One scan: what the system said of it, and whether there is a lesion that is asked for."""

    #: 0..1; nought where nothing was found.
    score: float
    positive: bool


def case_of(scan: Scan) -> Case:
    """The scan's verdict, or the confidence of its surest finding."""
    surest = max((found.confidence for found in scan.found), default=0.0)
    score = surest if scan.verdict is None else scan.verdict
    return Case(score=score, positive=any(truth.certain for truth in scan.truths))


def area(cases: Sequence[Case]) -> float:
    """Area under the ROC curve; nan where all scans are of one kind."""
    positive = np.array([case.positive for case in cases])
    with_lesions = int(positive.sum())
    without = len(cases) - with_lesions
    if not with_lesions or not without:
        return math.nan
    ranks = rankdata([case.score for case in cases])
    return float((ranks[positive].sum() - with_lesions * (with_lesions + 1) / 2) / (with_lesions * without))


def sensitivity(cases: Sequence[Case], threshold: float) -> float:
    """Share of the scans with lesions that reach the threshold; nan where there are none."""
    return _share([case.score >= threshold for case in cases if case.positive])


def specificity(cases: Sequence[Case], threshold: float) -> float:
    """Share of the scans without lesions that stay below the threshold; nan where there are none."""
    return _share([case.score < threshold for case in cases if not case.positive])


def _share(told: Sequence[bool]) -> float:
    return sum(told) / len(told) if told else math.nan
