"""Which lesion of one time point is which of another: one to one, the nearest pairs as a whole.

Both lists are in one patient space (see ``registration``). A pair is possible where the places differ by no more than
what breath, registration and growth explain; among all possible pairings the cheapest one holds (the assignment
problem, Kuhn 1955, as scipy solves it).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dicom_sr.findings import Point

#: What is left of the way between two places after registration, mm: its own error and a centre set otherwise.
_REACH_MM = 6.0
#: Part of the larger radius by which a centre moves when a lesion grows to one side.
_REACH_RADIUS = 0.6
#: How much a size that is e times another's costs, as a part of the reach.
_SIZE_COST = 0.25
#: Of an impossible pair; more than all possible ones together.
_NEVER = 1e6


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """One lesion as far as matching goes."""

    center_mm: Point
    #: Of the sphere of its volume, or its mean diameter; nought where unknown.
    diameter_mm: float


def match(earlier: Sequence[Place], later: Sequence[Place]) -> dict[int, int]:
    """Index of a later lesion -> index of the earlier one that it is; those without a counterpart are left out."""
    if not earlier or not later:
        return {}
    # Large, and most processes that know of adapters match nothing.
    from scipy.optimize import linear_sum_assignment

    cost = np.array([[_cost(one, other) for other in earlier] for one in later])
    pairs = zip(*linear_sum_assignment(cost), strict=True)
    return {int(row): int(column) for row, column in pairs if cost[row, column] < _NEVER}


def _cost(one: Place, other: Place) -> float:
    """Distance as a part of what is allowed, and the difference of sizes beside it."""
    reach = _REACH_MM + _REACH_RADIUS * max(one.diameter_mm, other.diameter_mm) / 2
    distance = math.dist(one.center_mm, other.center_mm)
    if distance > reach:
        return _NEVER
    known = one.diameter_mm > 0 and other.diameter_mm > 0
    unlike = abs(math.log(one.diameter_mm / other.diameter_mm)) if known else 0.0
    return distance / reach + _SIZE_COST * unlike
