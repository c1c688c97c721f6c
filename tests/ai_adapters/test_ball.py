"""The ball that the CT shows: as large as what is there, blind to what passes, silent where nothing is."""

import numpy as np
import pytest

from ai_adapters.tasks.ball import ball

SIZE = 40
MIDDLE = np.array([19.3, 20.1, 18.6])


def crop(radius: float, hu: float, noise: float = 20.0) -> np.ndarray:
    """A ball in lung, its border a voxel wide."""
    away = np.sqrt(((np.indices((SIZE,) * 3) - MIDDLE[:, None, None, None]) ** 2).sum(axis=0))
    share = np.clip(0.5 + radius - away, 0, 1)
    return (-860 + (hu + 860) * share + np.random.default_rng(2).normal(0, noise, share.shape)).astype(np.float32)


def filled(radius: float) -> float:
    return 4 / 3 * np.pi * radius**3


@pytest.mark.parametrize("radius", [2.0, 3.0, 5.0])
@pytest.mark.parametrize("hu", [-600.0, 30.0])
def test_it_is_as_large_as_what_is_there(radius: float, hu: float) -> None:
    shown = ball(crop(radius, hu), MIDDLE)
    assert shown is not None
    assert shown.sum() == pytest.approx(filled(radius), rel=0.3)


def test_a_vessel_that_passes_and_a_wall_beside_it_do_not_count() -> None:
    voxels = crop(3.0, -600.0)
    voxels[:, 19:22, 22:25] = 40
    voxels[30:] = 40
    shown = ball(voxels, MIDDLE)
    assert shown is not None
    assert shown.sum() == pytest.approx(filled(3.0), rel=0.4)


def test_in_lung_there_is_none() -> None:
    assert ball(crop(0.0, -860.0), MIDDLE) is None


def test_in_a_wall_there_is_none() -> None:
    assert ball(np.full((SIZE,) * 3, 40, dtype=np.float32), MIDDLE) is None
