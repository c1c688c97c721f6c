"""What a phantom's label becomes on its way to the training."""

import numpy as np
import pytest

from training.cases import body


@pytest.mark.parametrize("spacing", [(0.6, 0.7, 0.7), (2.5, 0.7, 0.7)])
@pytest.mark.parametrize("diameter", [3.0, 6.0, 14.0])
def test_a_body_fills_its_true_volume(spacing: tuple[float, float, float], diameter: float) -> None:
    gaps = np.array(spacing)
    shape = np.ceil(2.5 * diameter / gaps + 6).astype(int)
    center = (shape - 1) / 2 + (0.3, -0.2, 0.4)
    offset = (np.indices(tuple(shape)) - center[:, None, None, None]) * gaps[:, None, None, None]
    label = (offset**2).sum(axis=0) < (diameter / 2) ** 2
    volume = np.pi / 6 * diameter**3
    share = body(label, gaps, center, volume)
    assert share.min() >= 0
    assert share.max() <= 1
    assert share.sum() * np.prod(gaps) == pytest.approx(volume, rel=0.03)
    middle = np.average(np.indices(share.shape).reshape(3, -1), axis=1, weights=share.ravel())
    assert np.linalg.norm((middle - center) * gaps) < gaps.max() / 2


def test_a_body_without_label_is_a_ball_at_its_place() -> None:
    label = np.zeros((9, 21, 21), dtype=bool)
    share = body(label, np.array([2.5, 0.7, 0.7]), np.array([4.0, 10.0, 9.0]), 14.0)
    assert share[4, 10, 9] == share.max()
    assert share.sum() * 2.5 * 0.49 == pytest.approx(14.0, rel=0.03)
