"""What the second network's cubes are; shared by those who cut, train and pack."""

from enum import IntEnum

from ai_adapters.tasks.crops import Cube
from ai_adapters.tasks.reduction import Reduction

MARGINS = ("circumscribed", "lobulated", "spiculated", "irregular", "ill-defined")
DENSITIES = ("solid", "part-solid", "ground-glass")
#: Edge of the cubes, voxels; their voxels' edges, mm.
SIZE, SPACINGS = 40, (0.75, 1.5)
#: What an offset of one means, mm.
OFFSET_MM = 3.0
#: Voxels on each side of the cubes kept for training, so that their middle can be moved.
JITTER = 4
#: How candidates are gathered, here as in the manifest.
LOOK = Reduction(
    cube=Cube(size=SIZE, spacings_mm=SPACINGS),
    peaks=100,
    least_heat=0.005,
    small=200,
    least_small=0.01,
    apart_mm=4.0,
    batch=16,
)


class Kind(IntEnum):
    """What a cube shows."""

    NOTHING = 0
    CANDIDATE = 1
    NODULE = 2
    DRAWN = 3
    #: The same place before a nodule was drawn.
    BEFORE = 4
