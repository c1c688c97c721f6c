"""The margin of a solid nodule: even balls are circumscribed, stars spiculated; what is beside them changes neither."""

import numpy as np
import pytest

from ai_adapters.margin import CIRCUMSCRIBED, SIZE, SPICULATED, outline, told

STEP = 0.75
MIDDLE = np.full(3, (SIZE - 1) / 2)


def away(place: np.ndarray) -> np.ndarray:
    """Offsets (mm) of a cube's voxels from ``place``."""
    return np.moveaxis((np.indices((SIZE,) * 3).T - place).T * STEP, 0, -1)


def rays(radius: float, count: int, seed: int) -> np.ndarray:
    """How far a body of that radius (mm) with so many spikes reaches in each voxel's direction."""
    offset = away(MIDDLE)
    unit = offset / np.maximum(np.linalg.norm(offset, axis=-1, keepdims=True), 1e-6)
    spikes = np.random.default_rng(seed).normal(size=(count, 3))
    spikes /= np.linalg.norm(spikes, axis=1, keepdims=True)
    reach = np.ones(unit.shape[:-1])
    for spike in spikes:
        reach += 0.7 * np.exp((unit @ spike - 1) * 80)
    return reach * radius


def cube(reach: np.ndarray, noise: float = 0.0) -> np.ndarray:
    """A body of soft tissue in lung, its border a voxel wide."""
    inside = np.clip(0.5 - (np.linalg.norm(away(MIDDLE), axis=-1) - reach) / STEP, 0, 1)
    return (-860 + 900 * inside + np.random.default_rng(1).normal(0, noise, inside.shape)).astype(np.float32)


@pytest.mark.parametrize("diameter", [8.0, 14.0])
@pytest.mark.parametrize("noise", [0.0, 30.0])
def test_a_ball_is_circumscribed(diameter: float, noise: float) -> None:
    ball = cube(np.full((SIZE,) * 3, diameter / 2), noise)
    assert told(outline(ball, MIDDLE, diameter, STEP))[CIRCUMSCRIBED] > 0.7


@pytest.mark.parametrize("diameter", [9.0, 14.0])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_star_is_spiculated(diameter: float, seed: int) -> None:
    star = cube(rays(diameter / 2, 14, seed), 15.0)
    assert told(outline(star, MIDDLE, diameter, STEP))[SPICULATED] > 0.7


def test_a_ball_on_a_wall_and_on_a_vessel_is_no_star() -> None:
    ball = cube(np.full((SIZE,) * 3, 6.0))
    offset = away(MIDDLE)
    ball[offset[..., 0] > 5.0] = 40
    ball[np.linalg.norm(offset[..., :2], axis=-1) < 1.5] = 40
    assert told(outline(ball, MIDDLE, 12.0, STEP))[SPICULATED] < 0.5


def test_the_figures_do_not_depend_on_how_the_nodule_lies() -> None:
    star = cube(rays(6.0, 14, 5))
    one, turned = (
        outline(body, MIDDLE, 12.0, STEP) for body in (star, np.ascontiguousarray(star[::-1].swapaxes(1, 2)))
    )
    assert one.rough == pytest.approx(turned.rough, abs=0.02)
    assert one.uneven == pytest.approx(turned.uneven, abs=0.02)


def test_chances_add_up() -> None:
    assert sum(told(outline(cube(rays(5.0, 4, 2)), MIDDLE, 10.0, STEP)).values()) == pytest.approx(1)
