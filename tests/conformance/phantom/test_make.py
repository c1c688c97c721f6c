"""The phantom in memory: the same seed, the same voxels; the truth is what the voxels show."""

from itertools import pairwise

import numpy as np
import pytest

from conformance.phantom.make import Study, Volume, Wishes, plan, render
from conformance.phantom.nodules import Spec, SpecError, parse
from conformance.phantom.placement import diameter
from conformance.phantom.scanner import KERNELS, Reconstruction

NODULES = tuple(
    parse(text) for text in ("12:solid:none~200", "18:ground-glass:vessel~400", "14:part-solid:pleura~-300")
)
SMALL = Wishes(seed=7, matrix=160, spacing=3.0, kernel="standard", noise=20.0, nodules=NODULES)


@pytest.fixture(scope="module")
def made() -> tuple[Study, Volume]:
    study = plan(SMALL)[0]
    return study, render(study)


def test_the_same_seed_makes_the_same_voxels_and_another_seed_others(made: tuple[Study, Volume]) -> None:
    study, volume = made
    again = plan(SMALL)[0]
    assert again.truth == study.truth
    assert again.scan.grid == study.scan.grid
    assert np.array_equal(render(again).hu, volume.hu)
    other = plan(Wishes(seed=8, matrix=160, spacing=3.0, nodules=NODULES))[0]
    assert [n.center_mm for n in other.truth] != [n.center_mm for n in study.truth]


def test_volume_and_diameter_of_the_truth_agree_and_are_what_was_asked_for(made: tuple[Study, Volume]) -> None:
    for nodule, spec in zip(made[0].truth, NODULES, strict=True):
        assert nodule.diameter_mm == pytest.approx(diameter(nodule.volume_mm3), abs=0.01)
        assert nodule.volume_mm3 == pytest.approx(np.pi / 6 * spec.diameter**3, rel=0.06)
        assert nodule.density == spec.density


def test_the_drawn_voxels_have_the_true_volume_and_centre(made: tuple[Study, Volume]) -> None:
    study, volume = made
    grid = study.scan.grid
    for nodule in study.truth:
        drawn = np.argwhere(volume.label == nodule.number)
        assert len(drawn) * np.prod(grid.spacing) == pytest.approx(nodule.volume_mm3, rel=0.15)
        center = (drawn.mean(axis=0) * grid.spacing)[::-1] + grid.origin
        assert np.linalg.norm(center - nodule.center_mm) < 1.5
        assert volume.lung[volume.label == nodule.number].all()


def test_densities_look_as_they_are_called(made: tuple[Study, Volume]) -> None:
    study, volume = made
    median = {n.density: float(np.median(volume.hu[volume.label == n.number])) for n in study.truth}
    assert -60 < median["solid"] < 130
    assert -780 < median["ground-glass"] < -430
    assert median["ground-glass"] < median["part-solid"] < median["solid"]
    part = next(n for n in study.truth if n.density == "part-solid")
    assert part.solid_diameter_mm is not None
    assert 0.25 * part.diameter_mm < part.solid_diameter_mm < 0.8 * part.diameter_mm


def test_hounsfield_values_are_those_of_a_chest(made: tuple[Study, Volume]) -> None:
    _, volume = made
    lung = volume.hu[volume.lung & (volume.label == 0)]
    assert -920 < np.median(lung) < -780
    assert 2.0e6 < volume.lung.sum() * np.prod(made[0].scan.grid.spacing) < 8.0e6
    outside = volume.hu[~volume.lung]
    assert np.mean((outside > -150) & (outside < 120)) > 0.3
    assert np.mean(outside > 300) > 0.005
    assert -1024 <= volume.hu.min() < -960
    assert np.median(volume.hu[:, 2, 2]) == pytest.approx(-1000, abs=40)


def test_growth_between_the_dates_follows_the_doubling_time() -> None:
    present, prior = plan(SMALL, (200,))
    assert (present.when - prior.when).days == 200
    grown, slower, shrunk = (n.volume_mm3 / o.volume_mm3 for n, o in zip(present.truth, prior.truth, strict=True))
    assert grown == pytest.approx(2.0, rel=0.05)
    assert slower == pytest.approx(2.0**0.5, rel=0.05)
    assert shrunk < 0.8
    assert present.scan.pose.shift.tolist() != prior.scan.pose.shift.tolist()


def test_the_kernel_sets_noise_and_sharpness() -> None:
    edge = np.zeros((128, 128), dtype=np.float32)
    edge[:, 64:] = 100.0
    width, spread = {}, {}
    for name, kernel in KERNELS.items():
        flat = Reconstruction(kernel, (128, 128), 0.7, 25.0).slice(np.zeros((128, 128)), 1.0, np.random.default_rng(1))
        spread[name] = float(flat.std())
        line = Reconstruction(kernel, (128, 128), 0.7, 0.0).slice(edge, 1.0, np.random.default_rng(1))[64]
        width[name] = float(np.diff(line[32:96]).max())
    assert all(value == pytest.approx(25.0, rel=0.06) for value in spread.values())
    assert all(width[a] < width[b] for a, b in pairwise(("soft", "standard", "sharp")))


def test_a_place_outside_the_lung_is_refused_with_its_reason() -> None:
    with pytest.raises(SpecError, match="not in the lung"):
        plan(Wishes(seed=7, nodules=(Spec(diameter=8.0, at=(0.0, 60.0, 0.0)),)))


@pytest.mark.parametrize("text", ["", "x", "1", "40:solid", "8:hard", "8@1,2"])
def test_descriptions_that_cannot_be_understood_are_refused(text: str) -> None:
    with pytest.raises(SpecError, match="nodule"):
        parse(text)


@pytest.mark.parametrize(("name", "value"), [("spacing", 0.0), ("slices", 1), ("matrix", 16), ("kernel", "blurry")])
def test_what_no_scanner_does_is_refused_by_name(name: str, value: float | str) -> None:
    with pytest.raises(SpecError, match=f"{name}.*must"):
        Wishes(**{name: value})  # type: ignore[arg-type]


def test_a_description_says_all_it_can() -> None:
    spec = parse("9.5:part-solid:pleura:spiculated@-70,20.5,-30~-250")
    assert spec == Spec(
        diameter=9.5,
        density="part-solid",
        attachment="pleura",
        margin="spiculated",
        at=(-70.0, 20.5, -30.0),
        doubling_days=-250.0,
    )
