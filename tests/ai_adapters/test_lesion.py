"""Volumes by attenuation, and what a nodule is made of, on bodies whose size is known."""

import numpy as np
import pytest

from ai_adapters.density import density
from ai_adapters.lesion import examine
from tests.ai_adapters.balls import scan

SPACINGS = [(0.8, 0.6, 0.6), (2.5, 0.8, 0.8)]


def ball(diameter: float) -> float:
    return np.pi / 6 * diameter**3


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("diameter", [5.0, 8.0, 14.0])
@pytest.mark.parametrize("rough", [-0.4, 0.0, 0.8])
def test_a_solid_nodules_volume_hangs_on_neither_slices_nor_the_networks_border(spacing, diameter, rough) -> None:
    volume, region, _ = scan((diameter, 40.0), spacing=spacing, rough_mm=rough)
    found = examine(region, volume)
    assert found.volume_mm3 == pytest.approx(ball(diameter), rel=0.08)
    assert found.lung == pytest.approx(-860, abs=15)
    assert not found.subsolid
    assert density(found).kind.value == "solid"


@pytest.mark.parametrize("spacing", SPACINGS)
def test_a_vessel_at_a_nodule_stays_outside(spacing) -> None:
    volume, region, _ = scan((9.0, 40.0), spacing=spacing, tube_mm=2.0)
    found = examine(region, volume)
    assert found.volume_mm3 == pytest.approx(ball(9.0), rel=0.2)
    assert found.others.any()


@pytest.mark.parametrize("spacing", SPACINGS)
def test_the_chest_wall_at_a_nodule_stays_outside(spacing) -> None:
    volume, region, _ = scan((9.0, 40.0), spacing=spacing, wall_mm=2.0)
    # The ball without its cap, pi h^2 (3 r - h) / 3, that lies in the wall.
    assert examine(region, volume).volume_mm3 == pytest.approx(ball(9.0) - np.pi * 4 * (13.5 - 2) / 3, rel=0.2)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_ground_glass(spacing) -> None:
    volume, region, _ = scan((12.0, -620.0), spacing=spacing)
    found = examine(region, volume)
    assert found.volume_mm3 == pytest.approx(ball(12.0), rel=0.12)
    kind = density(found)
    assert (kind.kind.value, kind.solid) == ("112120", None)
    assert kind.confidence > 0.9


def test_slices_that_hold_some_of_a_solid_nodule_are_no_ground_glass() -> None:
    # A disc: one whole slice, half of the one below, 0.45 of the one above.
    volume, region, _ = scan((12.0, -20.0), spacing=(2.5, 0.8, 0.8))
    middle = len(volume.voxels) // 2
    image, share = volume.voxels[middle].copy(), region.share[middle].copy()
    for number in range(len(volume.voxels)):
        part = {middle - 1: 0.5, middle: 1.0, middle + 1: 0.45}.get(number, 0.0)
        noise = np.random.default_rng(number).normal(0, 15, image.shape)
        volume.voxels[number] = -860 + part * (image + 860.0) + noise
        region.share[number] = part * share
    found = examine(region, volume)
    assert density(found).kind.value == "solid"
    assert found.volume_mm3 == pytest.approx(np.pi * 36 * 1.95 * 2.5, rel=0.15)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_a_faint_nodule_is_measured_whole_though_the_network_fills_no_voxel_by_half(spacing) -> None:
    volume, region, _ = scan((7.0, -600.0), spacing=spacing)
    places = np.argwhere(region.share > 0)
    away = np.linalg.norm((places - places.mean(axis=0)) * spacing, axis=1)
    region.share[tuple(places.T)] *= 0.45 - 0.04 * away
    assert examine(region, volume).volume_mm3 == pytest.approx(ball(7.0), rel=0.25)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_a_solid_part_is_measured_by_itself(spacing) -> None:
    volume, region, _ = scan((16.0, -620.0), (8.0, 20.0), spacing=spacing)
    found = examine(region, volume)
    assert found.volume_mm3 == pytest.approx(ball(16.0), rel=0.1)
    kind = density(found)
    assert kind.kind.value == "part-solid"
    assert kind.solid_mm3 == pytest.approx(ball(8.0), rel=0.15)


def test_a_vessel_across_ground_glass_is_no_solid_part() -> None:
    volume, region, _ = scan((16.0, -620.0))
    z, _, x = np.meshgrid(*(np.arange(n) - n / 2 for n in volume.voxels.shape), indexing="ij", sparse=True)
    vessel = np.broadcast_to(np.hypot(z * 1.25, x * 0.7) < 1.2, volume.voxels.shape)
    volume.voxels[vessel] = 40
    assert density(examine(region, volume)).kind.value == "112120"


def test_a_network_decides_whether_ground_glass_holds_a_solid_part() -> None:
    volume, region, _ = scan((16.0, -620.0), (8.0, 20.0))
    found = examine(region, volume)
    sure, unsure = density(found, (0.0, 0.9, 0.1)), density(found, (0.0, 0.2, 0.8))
    assert (sure.kind.value, unsure.kind.value) == ("part-solid", "112120")
    assert sure.method == unsure.method != density(found).method
    assert sure.confidence > unsure.confidence


def test_what_is_solid_all_through_a_network_does_not_change() -> None:
    volume, region, _ = scan((12.0, 40.0))
    assert density(examine(region, volume), (0.0, 1.0, 0.0)).kind.value == "solid"


def test_calcium_in_the_middle_is_benign_and_beside_it_is_not() -> None:
    volume, region, _ = scan((16.0, 30.0), (7.0, 500.0))
    assert density(examine(region, volume)).benign_calcification
    beside, own, _ = scan((16.0, 30.0))
    z, y, x = np.meshgrid(*(np.arange(n) - n / 2 for n in beside.voxels.shape), indexing="ij", sparse=True)
    off = np.sqrt((z * beside.spacing[0]) ** 2 + (y * beside.spacing[1]) ** 2 + (x * beside.spacing[2] - 4.5) ** 2)
    beside.voxels[off < 2.5] = 500
    kind = density(examine(own, beside))
    assert kind.calcified and not kind.benign_calcification


def test_calcium_is_told_from_soft_tissue() -> None:
    bone, soft = scan((10.0, 60.0), (5.0, 500.0)), scan((10.0, 60.0))
    assert density(examine(bone[1], bone[0])).calcified
    assert not density(examine(soft[1], soft[0])).calcified


@pytest.mark.parametrize("spacing", SPACINGS)
def test_where_nothing_is_denser_than_lung_the_networks_word_stands(spacing) -> None:
    volume, region, _ = scan((3.0, -930.0), spacing=spacing)
    found = examine(region, volume)
    assert found.volume_mm3 > 0
    assert found.region.mask.sum() * np.prod(spacing) < 4 * ball(3.0)
