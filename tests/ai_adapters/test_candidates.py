"""Candidates keep their distance; cubes are where they should be."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ai_adapters.tasks.candidates import peaks
from ai_adapters.tasks.crops import Cube, cubes, sampled
from ai_adapters.volume import Volume


def test_peaks_come_by_height_and_apart() -> None:
    heat = np.zeros((20, 20, 20), dtype=np.float32)
    heat[5, 5, 5], heat[5, 5, 7], heat[14, 14, 14] = 0.9, 0.8, 0.3
    found = peaks(heat, np.ones((40, 40, 40), dtype=bool), 0.2, 10, 6.0)
    assert [tuple(place) for place in found] == [(10.5, 10.5, 10.5), (28.5, 28.5, 28.5)]
    assert len(peaks(heat, np.ones((40, 40, 40), dtype=bool), 0.2, 1, 1.0)) == 1


def test_a_map_as_fine_as_the_mask_is_read_at_its_voxels_and_beside_nothing_that_is_taken() -> None:
    lungs = np.zeros((41, 40, 40), dtype=bool)
    lungs[:, :20] = True
    chances = np.zeros(lungs.shape, dtype=np.float32)
    chances[9, 9, 9], chances[30, 10, 30], chances[40, 12, 3], chances[20, 35, 20] = 0.9, 0.8, 0.7, 1.0
    taken = [np.array([10.0, 9.0, 9.0])]
    found = peaks(chances, lungs, 0.2, 10, 4.0, taken)
    assert [tuple(place) for place in found] == [(30.0, 10.0, 30.0), (40.0, 12.0, 3.0)]


def ramp(spacing: tuple[float, float, float], shape: tuple[int, int, int] = (40, 50, 60)) -> Volume:
    """A volume whose HU are a linear function of place, so that a reading tells where it was made."""
    z, y, x = (axis * step for axis, step in zip(np.indices(shape), spacing, strict=True))
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = *spacing, 1
    return Volume(voxels=np.rint(8 * z + 4 * y + 2 * x).astype(np.int16), affine=affine)


@settings(max_examples=40, deadline=None)
@given(
    spacing=st.tuples(st.sampled_from([0.625, 1.25, 2.5]), *([st.sampled_from([0.5, 0.75, 1.0])] * 2)),
    share=st.tuples(*([st.floats(0.45, 0.55)] * 3)),
    step=st.sampled_from([0.5, 0.75, 1.5]),
)
def test_a_cube_shows_the_place_that_was_asked_for(
    spacing: tuple[float, float, float], share: tuple[float, float, float], step: float
) -> None:
    volume = ramp(spacing)
    place = np.array([s * (n - 1) * d for s, n, d in zip(share, volume.voxels.shape, spacing, strict=True)])
    cube = sampled(volume, place, 6, step)
    axes = [p + (np.arange(6) - 2.5) * step for p in place]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    # Voxels were rounded to whole HU; a fifteenth of a millimetre is more than half of one.
    assert np.abs(cube - (8 * z + 4 * y + 2 * x)).max() <= 1.0


def test_beyond_the_volume_its_border_goes_on() -> None:
    volume = ramp((1.0, 1.0, 1.0), (8, 8, 8))
    cube = cubes(volume, np.array([0.0, 3.0, 3.0]), Cube(size=8, spacings_mm=(1.0, 2.0)))
    assert cube.shape == (2, 8, 8, 8)
    assert cube[0, 0] == pytest.approx(cube[0, 3])
