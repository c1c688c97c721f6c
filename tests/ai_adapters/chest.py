"""A very small chest: a body, two lungs, a vessel, a chest wall, and balls for nodules."""

import numpy as np
import numpy.typing as npt

SHAPE = (64, 150, 150)
SPACING = (2.0, 1.6, 1.6)


def chest(nodules: list[tuple[tuple[float, float, float], float]]) -> npt.NDArray[np.int16]:
    """HU on a grid of SHAPE and SPACING; nodules are (centre z, y, x in mm, diameter in mm), of soft tissue."""
    rng = np.random.default_rng(3)
    z, y, x = np.indices(SHAPE) * np.array(SPACING)[:, None, None, None]
    hu = np.full(SHAPE, -1000.0)
    hu[((x - 120) / 112) ** 2 + ((y - 120) / 100) ** 2 < 1] = 30
    for middle in (72, 168):
        lung = ((x - middle) / 38) ** 2 + ((y - 120) / 66) ** 2 + ((z - 64) / 58) ** 2
        hu[lung < 1] = -850
    hu[(np.hypot(y - 100 - 0.2 * z, x - 66) < 2.5) & (hu < -500)] = 30
    for center, diameter in nodules:
        away = np.sqrt((z - center[0]) ** 2 + (y - center[1]) ** 2 + (x - center[2]) ** 2)
        share = np.clip(0.5 + (diameter / 2 - away) / 1.7, 0, 1)
        hu = np.maximum(hu, hu + share * (30 - hu))
    return (hu + rng.normal(0, 12, SHAPE)).astype(np.int16)
