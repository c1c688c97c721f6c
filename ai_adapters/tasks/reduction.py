"""A second network looks at every candidate from near by: is it a nodule, where is its middle, of what is it?

LUNA16 calls it false positive reduction. Its input is (batch, channel, z, y, x) in -1..1: cubes about the candidate,
the finest first. Its outputs are ``chance`` (batch, 1) and ``offset`` (batch, 3: mm from the cubes' middle to the
nodule's, z, y, x); ``density`` (batch, 3), the chances of solid, part-solid and ground glass, may be left out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ai_adapters.tasks.candidates import Place
from ai_adapters.tasks.crops import Cube, cubes
from ai_adapters.volume import Volume

Block = npt.NDArray[np.float32]
#: (chance, offset, density) of a batch of cubes; density is (batch, 0) where the network doesn't tell it.
Judge = Callable[[Block], tuple[Block, Block, Block]]

#: The axes that are mirrored in the second view, and the chance in the first below which none is taken.
_MIRRORED, _POSSIBLE = (2, 3, 4), 0.02


@dataclass(frozen=True, kw_only=True)
class Reduction:
    """How candidates are looked at again; from the manifest."""

    cube: Cube
    #: Peaks of the heat that are looked at, at most, and the heat from which they are.
    peaks: int
    least_heat: float
    #: The same of the map of small ones, where there is a network for it.
    small: int
    least_small: float
    #: Two candidates nearer than this are one, mm.
    apart_mm: float
    #: Cubes that go through the network at once.
    batch: int


@dataclass(frozen=True, kw_only=True)
class Look:
    """What the second network says of one candidate."""

    #: On the network's grid: the middle of the nodule, if it is one.
    place: Place
    #: 0..1.
    chance: float
    #: Chances of solid, part-solid and ground glass; empty where they are not told.
    densities: tuple[float, ...] = ()


def looks(
    source: Volume,
    places: Sequence[Place],
    spacing: float,
    window: tuple[float, float],
    judge: Judge,
    plan: Reduction,
) -> list[Look]:
    """What the network says of each place (on a grid of ``spacing`` mm with the source's axes and first voxel)."""
    found = []
    for start in range(0, len(places), plan.batch):
        part = [place * spacing for place in places[start : start + plan.batch]]
        images = np.stack([_normalised(cubes(source, mm, plan.cube), window) for mm in part])
        for mm, chance, offset, density in zip(part, *_seen(images, judge), strict=True):
            kinds = tuple(float(one) for one in density)
            found.append(Look(place=(mm + offset) / spacing, chance=float(chance[0]), densities=kinds))
    return found


def _seen(images: Block, judge: Judge) -> tuple[Block, Block, Block]:
    """What is said of each; where a nodule is possible, the mean with what is said of a mirrored view."""
    chances, offsets, densities = (output.copy() for output in judge(images))
    possible = chances[:, 0] >= _POSSIBLE
    if possible.any():
        chance, offset, density = judge(np.ascontiguousarray(np.flip(images[possible], _MIRRORED)))
        chances[possible] = (chances[possible] + chance) / 2
        offsets[possible] = (offsets[possible] - offset) / 2
        densities[possible] = (densities[possible] + density) / 2
    return chances, offsets, densities


def _normalised(hounsfield: Block, window: tuple[float, float]) -> Block:
    """HU to -1..1."""
    low, high = window
    return ((np.clip(hounsfield, low, high) - low) * (2 / (high - low)) - 1).astype(np.float32)
