"""Directions spread evenly over a sphere, to look at a lesion from its middle."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]


@lru_cache(maxsize=4)
def directions(count: int) -> Floats:
    """Unit vectors (count, 3) along a spiral from pole to pole (Fibonacci lattice)."""
    number = np.arange(count) + 0.5
    polar, around = np.arccos(1 - 2 * number / count), np.pi * (1 + 5**0.5) * number
    vectors = np.stack([np.cos(polar), np.sin(polar) * np.sin(around), np.sin(polar) * np.cos(around)], axis=1)
    return vectors.astype(np.float32)
