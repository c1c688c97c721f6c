"""Which lesion is which: Tracking UIDs belong to lesions and outlive the analyses that find them."""

import math
from dataclasses import dataclass, field

from dicom_sr.findings import Finding, Findings, Point
from dicom_sr.identity import uid

#: A lesion's centre may move by its radius between two analyses of one study, and by this much anyway, mm.
_LEAST_DISTANCE = 3.0


@dataclass(kw_only=True)
class Tracker:
    """Gives lesions their names: those of the analysis before, where one lies at the same place."""

    key: str
    #: Names that are new start with it, e.g. the adapter's name.
    prefix: str
    uid_root: str
    #: The analysis that is superseded, if there is one in the same frame of reference.
    before: Findings | None = None
    _given: set[str] = field(default_factory=set)
    _new: int = 0

    def identify(self, center: Point, index: int) -> tuple[str, str]:
        """Tracking identifier and UID of the lesion at ``center`` (mm, LPS), the index-th of this analysis."""
        known = self._nearest(center)
        if known is not None:
            self._given.add(known.tracking_uid)
            return known.tracking_id, known.tracking_uid
        return self._new_name(), uid(self.uid_root, "lesion", self.key, str(index))

    def _nearest(self, center: Point) -> Finding | None:
        earlier = self.before.findings if self.before is not None else ()
        near = [
            (math.dist(center, finding.center_mm), finding)
            for finding in earlier
            if finding.center_mm is not None and finding.tracking_uid not in self._given
        ]
        near = [(distance, finding) for distance, finding in near if distance <= _reach(finding)]
        return min(near, key=lambda pair: pair[0])[1] if near else None

    def _new_name(self) -> str:
        taken = {finding.tracking_id for finding in self.before.findings} if self.before is not None else set()
        while True:
            self._new += 1
            name = f"{self.prefix} {self._new}"
            if name not in taken:
                return name


def _reach(finding: Finding) -> float:
    """How far the centre may have moved, mm: half of the largest length that was measured."""
    lengths = [measurement.value for measurement in finding.measurements if measurement.unit.value == "mm"]
    return max([_LEAST_DISTANCE, *(length / 2 for length in lengths)])
