"""Lobes by position, on the phantoms' own fissures (not those that the planes were fitted to)."""

import numpy as np
import pytest

from ai_adapters.lobes import LEFT, LOWER, MIDDLE, NAMED_FROM, RIGHT, UPPER, Lungs, lobe, lungs, side
from ai_adapters.volume import Volume
from conformance.phantom.anatomy import build
from conformance.phantom.patient import draw
from conformance.phantom.placement import lobe as true_lobe

SEED = 20521


def test_lobes_of_a_phantom() -> None:
    fields = build(draw(np.random.default_rng([SEED, 1])), SEED)
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2] = fields.grid.spacing
    affine[:3, 3], affine[3, 3] = fields.grid.origin, 1
    mask = fields.lung < 0
    within = lungs(mask, Volume(voxels=np.zeros((1, 1, 1), np.int16), affine=affine))
    picked = np.random.default_rng(1).permutation(np.argwhere(mask))[:300]
    points = picked @ affine[:3, :3].T + affine[:3, 3]
    words = {UPPER: "upper", MIDDLE: "middle", LOWER: "lower"}
    named = []
    for point in points:
        found, sure = lobe(tuple(point), within)
        if sure >= NAMED_FROM:
            named.append(words[found] == true_lobe(point, fields))
    assert len(named) > 0.5 * len(points)
    assert np.mean(named) > 0.97


BOX = (np.array([0.0, 0.0, 0.0]), np.array([100.0, 150.0, 300.0]))


@pytest.mark.parametrize(
    ("point", "expected"),
    [((50, 100, 290), UPPER), ((50, 140, 20), LOWER), ((50, 10, 110), MIDDLE), ((50, 10, 250), UPPER)],
)
def test_the_right_lung_has_a_middle_lobe(point, expected) -> None:
    within = Lungs(middle=120.0, boxes={RIGHT: BOX})
    assert side(point, within) == RIGHT
    found, sure = lobe(point, within)
    assert (found, sure > 0.7) == (expected, True)


def test_near_a_fissure_nothing_is_sure_and_without_a_lung_nothing_is_said() -> None:
    within = Lungs(middle=-10.0, boxes={LEFT: BOX})
    assert lobe((50.0, 75.0, 300 * (0.267 + 0.294)), within)[1] == pytest.approx(0.5, abs=0.01)
    assert lobe((-50.0, 75.0, 100.0), within) is None
