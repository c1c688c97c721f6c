"""Measurements against bodies whose size is known."""

import numpy as np
import pytest

from ai_adapters.measure import Region, axes, outline, sphere_diameter, to_source
from ai_adapters.volume import Volume


def grid(shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> Volume:
    """An empty volume."""
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2] = spacing
    affine[3, 3] = 1
    return Volume(voxels=np.zeros(shape, dtype=np.int16), affine=affine)


def ellipsoid(volume: Volume, center_mm: tuple[float, float, float], radii_mm: tuple[float, float, float], turn: float):
    """The share of each voxel that an ellipsoid fills, about; radii along (slice, column, row) before the turn."""
    z, y, x = (np.indices(volume.voxels.shape) * np.array(volume.spacing)[:, None, None, None]) - np.array(center_mm)[
        :, None, None, None
    ]
    u, v = np.cos(turn) * x + np.sin(turn) * y, -np.sin(turn) * x + np.cos(turn) * y
    rho = np.sqrt((z / radii_mm[0]) ** 2 + (u / radii_mm[1]) ** 2 + (v / radii_mm[2]) ** 2)
    return np.clip(0.5 + (1 - rho) * min(radii_mm) / min(volume.spacing), 0, 1).astype(np.float32)


@pytest.mark.parametrize("turn", [0.0, 0.5, 1.2])
def test_axes_of_an_ellipsoid(turn: float) -> None:
    volume = grid((20, 80, 80), (2.0, 0.7, 0.7))
    share = ellipsoid(volume, (20.0, 28.0, 27.0), (7.0, 12.0, 6.0), turn)
    found = axes(Region(origin=(0, 0, 0), share=share), volume)
    assert found.slice_index == 10
    assert found.long_mm == pytest.approx(24, abs=0.5)
    assert found.short_mm == pytest.approx(12, abs=0.5)
    (x1, y1), (x2, y2) = found.long
    (x3, y3), (x4, y4) = found.short
    across = (x2 - x1) * (x4 - x3) + (y2 - y1) * (y4 - y3)
    assert across == pytest.approx(0, abs=0.5)
    assert np.hypot(x2 - x1, y2 - y1) * 0.7 == pytest.approx(found.long_mm, rel=1e-6)
    # SCOORD: the centre of the first pixel is at (0.5, 0.5).
    assert ((x1 + x2) / 2, (y1 + y2) / 2) == pytest.approx((27 / 0.7 + 0.5, 28 / 0.7 + 0.5), abs=0.5)


def test_a_share_map_keeps_its_volume_on_the_source_grid() -> None:
    source, fine = grid((40, 120, 120), (2.5, 0.7, 0.7)), grid((66, 56, 56), (1.5, 1.5, 1.5))
    share = ellipsoid(fine, (45.0, 40.0, 42.0), (9.0, 9.0, 9.0), 0.0)[20:40, 10:50, 12:50]
    region = to_source(share, (20, 10, 12), fine, source)
    volume = float(region.share.sum()) * 2.5 * 0.7 * 0.7
    assert volume == pytest.approx(4 / 3 * np.pi * 9**3, rel=0.05)
    middle = np.argwhere(region.mask).mean(axis=0) + region.origin
    assert tuple(middle * (2.5, 0.7, 0.7)) == pytest.approx((45, 40, 42), abs=0.7)


def test_sphere_diameter_gives_the_printed_volumes() -> None:
    # Lung-RADS v2022: 6 mm = 113 mm3, 15 mm = 1767 mm3.
    assert sphere_diameter(113.1) == pytest.approx(6, abs=0.01)
    assert sphere_diameter(1767) == pytest.approx(15, abs=0.01)


def test_outline_runs_along_pixel_edges_and_closes() -> None:
    mask = np.zeros((5, 6), dtype=bool)
    mask[1:3, 2:5] = True
    mask[3, 2] = True
    corners = outline(mask, (10, 20))
    assert corners[0] == corners[-1]
    assert set(corners) == {(22, 11), (25, 11), (25, 13), (23, 13), (23, 14), (22, 14)}
    x, y = np.array(corners).T
    assert abs(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1])) / 2 == mask.sum()


def test_one_pixel_has_axes_and_outline() -> None:
    volume = grid((3, 5, 5), (1.0, 1.0, 1.0))
    share = np.zeros((3, 5, 5), dtype=np.float32)
    share[1, 2, 2] = 0.9
    found = axes(Region(origin=(0, 0, 0), share=share), volume)
    assert found.slice_index == 1
    assert 0 < found.short_mm <= found.long_mm < 2
    assert len(found.outline) == 5
