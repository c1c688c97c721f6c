"""Nodules put into lung: where they are asked for, as large as they say, and nothing else is touched."""

import numpy as np
import pytest

from ai_adapters.volume import Volume
from benchmarks.inserted import host, insert, wishes

TISSUE, LUNG = 40, -860


def chest() -> Volume:
    """Soft tissue with two lungs of air and a straight vessel in each, 2 mm slices, pixels of 1 mm."""
    rng = np.random.default_rng(3)
    slices, rows, columns = np.indices((70, 150, 200)).astype(np.float32)
    body = ((rows - 75) / 70) ** 2 + ((columns - 100) / 95) ** 2 < 1
    hu = np.where(body, TISSUE, -1000).astype(np.float32)
    for middle in (52, 148):
        lung = ((slices - 35) / 33) ** 2 + ((rows - 75) / 55) ** 2 + ((columns - middle) / 38) ** 2 < 1
        hu[lung] = LUNG
        hu[lung & (np.hypot(rows - 75, columns - middle) < 2.5)] = TISSUE
    hu += rng.normal(0, 8, hu.shape)
    return Volume(voxels=np.rint(np.maximum(hu, -1024)).astype(np.int16), affine=_axes())


def _axes() -> np.ndarray:
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = 2.0, 1.0, 1.0, 1.0
    return affine


@pytest.fixture(scope="module")
def volume() -> Volume:
    return chest()


def test_nodules_have_the_volume_that_the_truth_says(volume: Volume) -> None:
    taker = host(volume, (), 2.0)
    assert 0.2 < taker.spread_mm < 0.9
    asked = [(14.0, "solid", "none"), (8.0, "solid", "pleura"), (9.0, "ground-glass", "none"), (4.0, "solid", "vessel")]
    made, truths = insert(taker, asked, np.random.default_rng(5))
    assert [(each.density, each.attachment) for each in truths] == [(density, place) for _, density, place in asked]
    changed = made.voxels != volume.voxels
    slices, rows, columns = np.indices(changed.shape)
    for (diameter, _, _), truth in zip(asked, truths, strict=True):
        assert truth.volume_mm3 == pytest.approx(np.pi / 6 * truth.diameter_mm**3, rel=0.01)
        assert 0.7 * diameter < truth.diameter_mm < 1.05 * diameter
        k, j, i = volume.to_index(truth.center_mm)
        away = np.sqrt(((slices - k) * 2) ** 2 + (rows - j) ** 2 + (columns - i) ** 2)
        near = away < truth.diameter_mm * 1.5 + 4
        assert changed[near].any()
        changed &= ~near
        if truth.density == "solid" and truth.attachment == "none":
            # The tissue that came in, as a volume: what the point spread blurs is not lost.
            tissue = float((made.voxels[near].astype(float) - volume.voxels[near]).sum()) / (TISSUE - LUNG) * 2
            assert tissue == pytest.approx(truth.volume_mm3, rel=0.05)
    assert not changed.any()


def test_part_solid_nodules_hold_a_smaller_solid_part(volume: Volume) -> None:
    _, truths = insert(host(volume, (), 2.0), [(12.0, "part-solid", "none")], np.random.default_rng(1))
    assert truths[0].solid_diameter_mm is not None
    assert 3 < truths[0].solid_diameter_mm < truths[0].diameter_mm


def test_nothing_comes_near_what_is_there(volume: Volume) -> None:
    there = (((52.0, 75.0, 70.0), 400.0),)
    made, truths = insert(host(volume, there, 2.0), [(6.0, "solid", "none")], np.random.default_rng(1))
    assert truths == []
    np.testing.assert_array_equal(made.voxels, volume.voxels)


def test_wishes_are_seeded_and_half_of_them_small() -> None:
    drawn = list(wishes(np.random.default_rng(1), 60))
    assert drawn == list(wishes(np.random.default_rng(1), 60))
    assert sum(size < 6 for size, _, _ in drawn) == 30
