"""What the training draws is what it says."""

import numpy as np
import pytest

from training.cases import SPACING, Case
from training.patches import SIZE, patches
from training.synthesis import draw_nodule, draw_plate, draw_vessel, rotation


def case() -> Case:
    """A box of lung with one nodule of its own."""
    shape = (70, 70, 70)
    lung = np.zeros(shape, dtype=bool)
    lung[8:-8, 8:-8, 8:-8] = True
    away = np.sqrt(((np.indices(shape) - 35) ** 2).sum(axis=0))
    share = np.clip(5.5 - away, 0, 1)
    hu = np.where(lung, -850, 30) + share * 880 * lung
    return Case(
        name="box",
        hu=hu.astype(np.int16),
        lung=lung,
        share=(share * 255).astype(np.uint8),
        ignore=np.zeros(shape, dtype=bool),
        nodules=np.array([[35.0, 35.0, 35.0, 15.0]]),
        hard=np.zeros((0, 3), dtype=int),
        inside=np.flatnonzero(lung),
        border=np.flatnonzero(lung)[:100],
    )


def test_patches_are_seeded_and_consistent() -> None:
    one, other = patches([case()], [1.0], 5), patches([case()], [1.0], 5)
    for _ in range(6):
        patch, again = next(one), next(other)
        np.testing.assert_array_equal(patch.image, again.image)
        assert patch.image.shape == patch.share.shape == (SIZE,) * 3
        assert patch.image.min() >= -1
        assert patch.image.max() <= 1
        assert patch.heat.max() <= 1
        for place in np.argwhere((patch.heat == 1) & (patch.heat_weight > 0)):
            near = patch.share[tuple(slice(max(2 * p - 4, 0), 2 * p + 6) for p in place)]
            assert near.max() > 0.2


@pytest.mark.parametrize("size", [4.0, 9.0, 25.0])
def test_a_drawn_nodule_has_about_its_size_and_changes_its_voxels_only(size: float) -> None:
    rng = np.random.default_rng(2)
    patch = np.full((48, 48, 48), -850, dtype=np.float32)
    drawn = draw_nodule(patch, np.array([24.0, 23.5, 24.2]), size, SPACING, rng)
    assert drawn is not None
    assert drawn.diameter_mm == pytest.approx(size, rel=0.45)
    assert np.linalg.norm(np.array(drawn.center) - 24) < size / SPACING / 2
    assert (patch[:3] == -850).all()
    box = tuple(slice(a, a + b) for a, b in zip(drawn.origin, drawn.occupancy.shape, strict=True))
    inside = patch[box][drawn.occupancy > 0.9]
    assert not inside.size or inside.mean() > -800


def test_vessels_and_plates_only_add_tissue() -> None:
    rng = np.random.default_rng(4)
    patch = np.full((48, 48, 48), -850, dtype=np.float32)
    draw_vessel(patch, rng, SPACING)
    draw_plate(patch, rng, SPACING)
    assert patch.min() >= -850.5
    assert patch.max() > -800


def test_rotations_keep_lengths() -> None:
    turn = rotation(np.random.default_rng(1))
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
