"""How much a lesion changed between two scans, and how sure that is.

The volume doubling time is dt * ln 2 / ln(V2 / V1). Volumes are uncertain by a factor, so their logarithms have
normal errors; the interval follows from the doublings a day, whose error is symmetric, and is turned round last: it is
open where no change at all can't be ruled out.
"""

import math
from dataclasses import dataclass
from enum import Enum

#: Standard deviations on each side of a 95 % interval.
_SIGMAS = 1.959964


class Change(Enum):
    """What became of a lesion."""

    NEW = "new"
    GROWN = "grown"
    STABLE = "stable"
    SHRUNK = "shrunk"
    GONE = "gone"


@dataclass(frozen=True, kw_only=True, slots=True)
class Doubling:
    """A volume doubling time, days."""

    days: float
    #: Ends of the 95 % interval; no upper one where the scans don't rule out that nothing grew.
    lower: float
    upper: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Growth:
    """A lesion at two times."""

    days: float
    #: Of the earlier volume.
    volume_percent: float
    change: Change
    #: None where the volume did not grow, or no time passed.
    doubling: Doubling | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Repeatability:
    """How far two measurements of an unchanged lesion lie apart; from the manifest."""

    #: (mean diameter up to which it holds, standard deviation of ln(V2 / V1)), by growing diameter.
    errors: tuple[tuple[float, float], ...]
    #: Change of volume up to which it counts as none, percent.
    noise_percent: float

    def error(self, diameter_mm: float) -> float:
        """Of a lesion of that size."""
        return next((error for up_to, error in self.errors if diameter_mm <= up_to), self.errors[-1][1])


def growth(earlier_mm3: float, later_mm3: float, days: float, *, error: float, noise_percent: float) -> Growth:
    """The change from one volume (mm3) to another, ``days`` later.

    ``error`` is the standard deviation of ln(V2 / V1) of an unchanged lesion, ``noise_percent`` the change of volume
    up to which it counts as none. Raises ValueError for a volume that is not positive.
    """
    if earlier_mm3 <= 0 or later_mm3 <= 0:
        raise ValueError("volumes are positive")
    percent = (later_mm3 / earlier_mm3 - 1) * 100
    # A factor up is as much as the same factor down.
    noise = 1 + noise_percent / 100
    grown, shrunk = later_mm3 >= earlier_mm3 * noise, later_mm3 * noise <= earlier_mm3
    change = Change.GROWN if grown else Change.SHRUNK if shrunk else Change.STABLE
    doubling = _doubling(math.log(later_mm3 / earlier_mm3), days, error)
    return Growth(days=days, volume_percent=percent, change=change, doubling=doubling)


def _doubling(ratio: float, days: float, error: float) -> Doubling | None:
    if ratio <= 0 or days <= 0:
        return None
    scale = days * math.log(2)
    least, most = ratio - _SIGMAS * error, ratio + _SIGMAS * error
    return Doubling(days=scale / ratio, lower=scale / most, upper=scale / least if least > 0 else None)
