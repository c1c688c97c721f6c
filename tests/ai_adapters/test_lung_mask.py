"""The lung mask on a small chest."""

import numpy as np

from ai_adapters.lung_mask import grown, lung_mask
from ai_adapters.volume import load, resample
from tests.ai_adapters.chest import SPACING, chest
from tests.ai_adapters.series import series


def test_nodules_on_the_border_and_vessels_are_inside_and_the_wall_is_not() -> None:
    volume = resample(load(series(chest([((60, 120, 40), 16.0)]), SPACING)), 3.0)
    mask = lung_mask(volume.voxels, 3.0)

    def seen(z: float, y: float, x: float) -> bool:
        return bool(mask[round(z / 3), round(y / 3), round(x / 3)])

    assert seen(60, 120, 43)
    assert seen(60, 112, 66)
    assert seen(60, 120, 168)
    assert not seen(60, 120, 14)
    assert not seen(60, 30, 120)


def test_no_air_no_lungs() -> None:
    assert not lung_mask(np.full((40, 40, 40), 30, dtype=np.int16), 3.0).any()
    assert not lung_mask(np.full((40, 40, 40), -1000, dtype=np.int16), 3.0).any()


def test_growing_is_by_distance() -> None:
    mask = np.zeros((9, 9, 9), dtype=bool)
    mask[4, 4, 4] = True
    assert grown(mask, 1.0).sum() == 7
