"""Which lobe a place lies in, by its position within the lungs: no fissure is looked for.

Fissures lie much the same way in most lungs: the oblique one falls from high at the back to low in front, the
horizontal one crosses the right lung's front half. The planes were fitted to phantoms' fissures (seeds 20501 to
20510), within the box around each lung; a person's fissures may lie elsewhere by a centimetre and more. So confidence
falls slowly towards a plane, and near one no lobe is named.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ai_adapters.lung_mask import Mask
from ai_adapters.volume import Volume
from dicom_sr.findings import Point
from terminology.codings import Coding

# PS3.16 CID 6170 "Lobe of Lung" and CID 244 "Laterality".
UPPER = Coding(value="45653009", scheme="SCT", meaning="Upper lobe of lung")
MIDDLE = Coding(value="72481006", scheme="SCT", meaning="Middle lobe of right lung")
LOWER = Coding(value="90572001", scheme="SCT", meaning="Lower lobe of lung")
RIGHT = Coding(value="24028007", scheme="SCT", meaning="Right")
LEFT = Coding(value="7771000", scheme="SCT", meaning="Left")

#: Confidence from which a lobe is named.
NAMED_FROM = 0.9
#: How fast confidence grows with the distance from a plane (a logistic's width), as a share of the lung's height:
#: about 10 mm.
_WIDTH = 0.033
#: The oblique fissure's height in front, and how much higher it is at the back, as shares of the lung's height.
_OBLIQUE = {LEFT: (0.267, 0.588), RIGHT: (0.257, 0.581)}
#: The horizontal fissure's height at the lung's middle border, and how much higher it is at its side.
_HORIZONTAL = (0.501, 0.074)


@dataclass(frozen=True, kw_only=True)
class Lungs:
    """Where the lungs lie in the patient (mm, LPS)."""

    #: Halfway between their outer borders.
    middle: float
    #: Lower and upper corner of the box around each, by side; a lung that is not seen has none.
    boxes: dict[Coding, tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]


def lungs(mask: Mask, grid: Volume) -> Lungs:
    """The lungs of a mask."""
    places = np.argwhere(mask)
    points = places @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    middle = float(points[:, 0].min() + points[:, 0].max()) / 2
    boxes = {}
    for side, part in ((RIGHT, points[points[:, 0] <= middle]), (LEFT, points[points[:, 0] > middle])):
        if len(part):
            low, high = np.percentile(part, [0.5, 99.5], axis=0)
            boxes[side] = (low, high)
    return Lungs(middle=middle, boxes=boxes)


def side(point: Point, within: Lungs) -> Coding:
    """The side of a point; x grows towards the patient's left."""
    return LEFT if point[0] > within.middle else RIGHT


def lobe(point: Point, within: Lungs) -> tuple[Coding, float] | None:
    """The likeliest lobe and how sure that is (0..1); None where the lung isn't seen."""
    where = side(point, within)
    if where not in within.boxes:
        return None
    low, high = within.boxes[where]
    x, y, z = (np.asarray(point) - low) / np.maximum(high - low, 1.0)
    # From the middle of the body outwards.
    outwards = x if where == LEFT else 1 - x
    front, rise = _OBLIQUE[where]
    above = _sure(z - front - rise * y)
    if where == LEFT:
        return max(((UPPER, above), (LOWER, 1 - above)), key=lambda each: each[1])
    upper = _sure(z - _HORIZONTAL[0] - _HORIZONTAL[1] * outwards)
    shares = ((UPPER, above * upper), (MIDDLE, above * (1 - upper)), (LOWER, 1 - above))
    return max(shares, key=lambda each: each[1])


def _sure(height: float) -> float:
    return float(1 / (1 + np.exp(-height / _WIDTH)))
