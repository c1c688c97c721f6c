"""Surfaces around masks: closed, turned outwards, as large as what they are around."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from server.imaging.surface import Surface, surface


def ball(radius: float, size: int = 40) -> NDArray[np.bool_]:
    grid = np.indices((size, size, size)) - (size - 1) / 2
    inside: NDArray[np.bool_] = (grid**2).sum(axis=0) <= radius**2
    return inside


def volume(of: Surface) -> float:
    """The volume inside, by the divergence theorem: negative where the front is inside."""
    a, b, c = (of.vertices[of.triangles[:, n]].astype(float) for n in range(3))
    return float((a * np.cross(b, c)).sum() / 6)


@pytest.mark.parametrize("radius", [3.0, 6.5, 12.0])
def test_a_ball_has_its_volume_and_its_centre(radius: float) -> None:
    found = surface(ball(radius))
    assert volume(found) == pytest.approx(float(ball(radius).sum()), rel=0.2)
    assert found.vertices.mean(axis=0) == pytest.approx([19.5] * 3, abs=0.05)


@given(arrays.arrays(np.bool_, st.tuples(*[st.integers(1, 6)] * 3)))
@settings(max_examples=60, deadline=None)
def test_every_surface_is_closed(mask: NDArray[np.bool_]) -> None:
    found = surface(mask, smoothing=0)
    assert bool(len(found.triangles)) == bool(mask.any())
    edges = Counter[tuple[int, int]]()
    for triangle in found.triangles.tolist():
        for one, other in zip(triangle, (*triangle[1:], triangle[0]), strict=True):
            edges[one, other] += 1
    assert all(count == edges[other, one] for (one, other), count in edges.items())
    if mask.any():
        assert volume(found) > 0


def test_a_box_lies_where_its_voxels_do() -> None:
    mask = np.zeros((5, 6, 7), np.bool_)
    mask[1:3, 2:4, 3:6] = True
    found = surface(mask, smoothing=0)
    assert found.vertices.min(axis=0) == pytest.approx([0.5, 1.5, 2.5], abs=0.4)
    assert found.vertices.max(axis=0) == pytest.approx([2.5, 3.5, 5.5], abs=0.4)
