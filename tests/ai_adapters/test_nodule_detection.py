"""How the networks of a nodule bundle work together, with networks whose answers are known."""

import numpy as np
import pytest
from scipy import ndimage

from ai_adapters.tasks.crops import Cube
from ai_adapters.tasks.nodule_detection import Block, Plan, detect
from ai_adapters.tasks.reduction import Reduction
from ai_adapters.volume import Volume, load
from tests.ai_adapters.chest import SPACING, chest
from tests.ai_adapters.series import series

NODULES = [((64.0, 130.0, 166.0), 14.0), ((80.0, 110.0, 90.0), 6.0)]
REDUCTION = Reduction(
    cube=Cube(size=16, spacings_mm=(1.0,)),
    peaks=20,
    least_heat=0.5,
    small=1000,
    least_small=0.25,
    apart_mm=4.0,
    batch=3,
)
PLAN = Plan(
    spacing_mm=2.0, window=(-1000.0, 400.0), tile=96, margin=8, crop=32, candidate=0.3, most_candidates=60,
    apart_mm=5.0, reduction=REDUCTION,
)  # fmt: skip


@pytest.fixture(scope="module")
def volume() -> Volume:
    return load(series(chest(NODULES), SPACING))


def blind(blocks: Block) -> tuple[Block, Block]:
    """A detector that sees nothing; what is denser than lung it takes for the nodule's."""
    coarse = blocks[:, ::2, ::2, ::2]
    return np.zeros_like(coarse), (blocks > -0.2).astype(np.float32)


def dots(blocks: Block) -> Block:
    """The middle of what is a ball of a few mm, by how much it stands out from all around."""
    fine = np.stack([ndimage.gaussian_filter(one, 1.2) - ndimage.gaussian_filter(one, 3.5) for one in blocks])
    return np.clip(fine, 0, 1)


def balls(cubes: Block) -> tuple[Block, Block, Block]:
    """Dense in the middle and not at the cube's border: a nodule, of which it says part-solid."""
    inner, outer = cubes[:, 0, 6:10, 6:10, 6:10].mean((1, 2, 3)), np.median(cubes[:, 0], axis=(1, 2, 3))
    chance = ((inner > -0.2) & (outer < -0.5)).astype(np.float32)[:, None]
    zeros = np.zeros((len(cubes), 3), dtype=np.float32)
    return chance, zeros, zeros + np.array([0.1, 0.7, 0.2], dtype=np.float32)


def away(volume: Volume, index: tuple[float, float, float], nodule: tuple[tuple[float, float, float], float]) -> float:
    return float(np.linalg.norm(np.array(index) * PLAN.spacing_mm - nodule[0]))


def test_what_the_heat_misses_is_found_by_what_points_at_small_ones(volume: Volume) -> None:
    found = detect(volume, blind, PLAN, judge=balls, pointer=dots)
    assert min(away(volume, one.index, NODULES[1]) for one in found.nodules) < 3
    assert all(one.confidence == 1 and one.densities == pytest.approx((0.1, 0.7, 0.2)) for one in found.nodules)


def test_without_it_a_blind_detector_finds_nothing(volume: Volume) -> None:
    assert detect(volume, blind, PLAN, judge=balls).nodules == ()


def test_what_the_second_network_rejects_is_no_candidate(volume: Volume) -> None:
    def rejecting(cubes: Block) -> tuple[Block, Block, Block]:
        chance, offset, density = balls(cubes)
        return chance * 0, offset, density

    found = detect(volume, blind, PLAN, judge=rejecting, pointer=dots)
    assert found.nodules == ()
