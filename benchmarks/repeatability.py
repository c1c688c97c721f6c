"""How far two measurements of an unchanged nodule lie apart: python -m benchmarks.repeatability BUNDLE.

Each phantom is scanned three times, lying anew each time, with another kernel, another distance of slices and other
noise; its nodules don't grow. The error is the root mean square of ln(V2 / V1) over all pairs of scans that both found
a nodule: what the doubling time's interval is made of (ai_adapters/growth.py). It takes in what scans of different
protocols differ by, so it is wide for scans of one protocol.
"""

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np

from ai_adapters.registry import read_bundle
from ai_adapters.run import Measured, read_nodules
from ai_adapters.volume import Volume
from conformance.phantom.make import Study, Wishes, plan, render
from conformance.phantom.nodules import parse
from training.phantoms import options

Reader = Callable[[Volume], Sequence[Measured]]

#: (slice distance mm, kernel) of the three scans of a phantom, by seed.
_PROTOCOLS = (
    ((1.25, "standard"), (2.5, "soft"), (1.0, "sharp")),
    ((2.0, "standard"), (1.0, "soft"), (1.5, "sharp")),
    ((0.8, "soft"), (2.0, "sharp"), (1.25, "standard")),
)
_DAYS = (90, 180)
#: Diameters (mm) up to which an error is given.
_UP_TO_MM = (6.0, 8.0, 12.0, 20.0, 40.0)


def scans(seed: int) -> Iterator[tuple[Study, Volume]]:
    """The three scans of one phantom."""
    words = options(seed)
    wanted = tuple(replace(parse(word), doubling_days=0.0) for word in words[words.index("--nodules") + 1 :])
    for number, (spacing, kernel) in enumerate(_PROTOCOLS[seed % len(_PROTOCOLS)]):
        study = plan(Wishes(seed=seed, nodules=wanted, spacing=spacing, kernel=kernel), _DAYS)[number]
        grid = study.scan.grid
        affine = np.zeros((4, 4))
        affine[2, 0], affine[1, 1], affine[0, 2] = grid.spacing
        affine[:3, 3], affine[3, 3] = grid.origin, 1
        yield study, Volume(voxels=render(study).hu, affine=affine)


def ratios(seed: int, read: Reader, threshold: float) -> Iterator[tuple[float, float]]:
    """(mean diameter found, ln(V2 / V1)) of each nodule in each pair of scans."""
    volumes: dict[int, list[tuple[float, float]]] = {}
    for study, volume in scans(seed):
        sure = [nodule for nodule in read(volume) if nodule.confidence >= threshold]
        for truth in study.truth:
            near = [each for each in sure if math.dist(each.center_mm, truth.center_mm) <= truth.diameter_mm / 2]
            if near:
                best = max(near, key=lambda each: each.confidence)
                size = (best.axes.long_mm + best.axes.short_mm) / 2
                volumes.setdefault(truth.number, []).append((size, best.volume_mm3))
    for found in volumes.values():
        for (one_mm, one), (other_mm, other) in combinations(found, 2):
            yield (one_mm + other_mm) / 2, math.log(other / one)


def errors(pairs: Sequence[tuple[float, float]]) -> list[dict[str, float]]:
    """Root mean square of ln(V2 / V1) in each range of diameters, and of how many pairs."""
    rows = []
    least = 0.0
    for up_to in _UP_TO_MM:
        here = [ratio for size, ratio in pairs if least < size <= up_to]
        if here:
            error = round(float(np.sqrt(np.mean(np.square(here)))), 2)
            rows.append({"up_to_mm": up_to, "log_volume_error": error, "pairs": len(here)})
        least = up_to
    return rows


def main(argv: list[str] | None = None) -> int:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--first-seed", type=int, default=20301)
    parser.add_argument("--phantoms", type=int, default=6)
    parser.add_argument("--json", type=Path, help="keeps the pairs")
    chosen = parser.parse_args(argv)
    bundle = read_bundle(chosen.bundle)
    pairs: list[tuple[float, float]] = []
    for seed in range(chosen.first_seed, chosen.first_seed + chosen.phantoms):
        pairs += ratios(seed, lambda volume: read_nodules(bundle, volume)[0], bundle.manifest.report)
        print(f"phantom {seed}: {len(pairs)} pairs so far", flush=True)
        if chosen.json:
            chosen.json.write_text(json.dumps(pairs) + "\n", encoding="utf-8")
    for row in errors(pairs):
        print(json.dumps(row))
    return 0


if __name__ == "__main__":
    sys.exit(main())
