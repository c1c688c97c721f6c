"""Says how the phantom of a seed is made to train on: python -m training.phantoms SEED prints the command's options.

Every distance of slices meets every kernel, and each phantom holds many nodules: most of them small up to seed 10430,
because these are the ones that are missed; of 6 mm and more with every margin from 10431 on, to learn margins from.
"""

import sys

import numpy as np

from conformance.phantom.nodules import MARGINS

_SPACINGS_MM = (0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 2.5)
_KERNELS = ("soft", "standard", "sharp")
_COUNT = 24
_WITH_MARGINS_FROM, _FEWER = 10431, 16


def options(seed: int) -> list[str]:
    """The words after ``python -m conformance.phantom OUT``."""
    rng = np.random.default_rng([seed, 77])
    spacing, kernel = _SPACINGS_MM[seed % len(_SPACINGS_MM)], _KERNELS[seed % len(_KERNELS)]
    if seed < _WITH_MARGINS_FROM:
        nodules = [_nodule(rng) for _ in range(_COUNT)]
    else:
        nodules = [_with_margin(rng) for _ in range(_FEWER)]
    return ["--seed", str(seed), "--spacing", str(spacing), "--kernel", kernel, "--nodules", *nodules]


def _nodule(rng: np.random.Generator) -> str:
    """DIAMETER:DENSITY; attachment and margin are left to the seed."""
    low, high = ((3.0, 7.0), (7.0, 12.0), (12.0, 22.0))[int(rng.choice(3, p=(0.64, 0.24, 0.12)))]
    size = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    density = str(rng.choice(("solid", "ground-glass", "part-solid"), p=(0.42, 0.38, 0.20)))
    if size < 5.0 and density == "part-solid":
        density = "solid"
    return f"{size:.1f}:{density}"


def _with_margin(rng: np.random.Generator) -> str:
    """DIAMETER:DENSITY:MARGIN."""
    size = float(np.exp(rng.uniform(np.log(6.0), np.log(20.0))))
    density = str(rng.choice(("solid", "ground-glass", "part-solid"), p=(0.7, 0.1, 0.2)))
    margin = str(rng.choice(MARGINS, p=(0.2, 0.2, 0.34, 0.16, 0.1)))
    return f"{size:.1f}:{density}:{margin}"


if __name__ == "__main__":
    print(" ".join(options(int(sys.argv[1]))))
