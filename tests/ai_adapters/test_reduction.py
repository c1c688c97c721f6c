"""The second network: mirrored views agree about a place, where a nodule is."""

import numpy as np

from ai_adapters.tasks.crops import Cube
from ai_adapters.tasks.reduction import Reduction, looks
from ai_adapters.volume import Volume

PLAN = Reduction(
    cube=Cube(size=9, spacings_mm=(1.0,)),
    peaks=10,
    least_heat=0.1,
    small=5,
    least_small=0.1,
    apart_mm=4.0,
    batch=2,
)


def brightest(cubes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A network that knows one thing: where the brightest voxel of a cube lies."""
    places = np.array([np.unravel_index(one.argmax(), one.shape) for one in cubes[:, 0]], dtype=np.float32)
    chance = cubes.max(axis=(1, 2, 3, 4))[:, None]
    return chance, places - 4, np.zeros((len(cubes), 0), dtype=np.float32)


def test_what_is_seen_lies_where_it_is_in_every_view() -> None:
    voxels = np.full((30, 30, 30), -1000, dtype=np.int16)
    bright = [(12, 13, 14), (20, 9, 21), (6, 22, 8)]
    for place in bright:
        voxels[place] = 400
    volume = Volume(voxels=voxels, affine=np.eye(4)[[2, 1, 0, 3]])
    asked = [np.add(place, (1.0, -2.0, 0.0)) for place in bright]
    found = looks(volume, asked, 1.0, (-1000.0, 400.0), brightest, PLAN)
    assert [tuple(look.place) for look in found] == bright
    assert [look.chance for look in found] == [1.0] * 3
