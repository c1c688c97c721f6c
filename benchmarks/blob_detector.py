"""How far a plain blob detector gets on the phantoms: the yardstick for their realism, not a product.

    python -m benchmarks.blob_detector [--first-seed 9001] [--scans 30] [--spacing 2.5] [--json FILE]

A multi-scale Laplacian of Gaussian inside the lung: isotropic voxels, HU clipped, everything outside the lung filled
with lung, scale-normalised responses, maxima over place and scale, weaker ones inside a stronger one's radius dropped.
It gets the true lung mask. Scoring by LUNA16's rule: a hit lies within the nodule's radius of its centre; findings on
nodules that are not asked for (smaller ones) count for nothing.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_closing, gaussian_filter, gaussian_laplace, maximum_filter, zoom

from conformance.phantom.make import Truth, Wishes, plan, render

#: Diameters (mm) looked for; a ball of diameter d answers most at sigma = d / (2 sqrt 3).
DIAMETERS = (4.0, 5.5, 7.5, 10.0, 13.0, 17.0, 22.0, 28.0)
#: False positives a scan at which LUNA16 reads the curve.
RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Blob:
    """One candidate, patient coordinates (x, y, z) in mm."""

    center: tuple[float, float, float]
    diameter: float
    score: float


def detect(
    hu: npt.NDArray[np.int16],
    lung: npt.NDArray[np.bool_],
    spacing: Sequence[float],
    origin: Sequence[float],
    most: int = 400,
) -> list[Blob]:
    """The strongest bright blobs in the lung, best first."""
    where = np.argwhere(lung)
    low, high = where.min(axis=0), where.max(axis=0) + 1
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    inside = hu[box].astype(np.float32).clip(-1000.0, 100.0)
    inside[~lung[box]] = np.median(inside[lung[box]])
    candidates = []
    for step, diameters in ((1.25, DIAMETERS[:4]), (2.5, DIAMETERS[4:])):
        grid, mask = _isotropic(inside, lung[box], spacing, step)
        # The zoom rounds the shape, so a voxel is not quite ``step``.
        voxel = np.asarray(inside.shape) * np.asarray(spacing) / np.asarray(grid.shape)
        responses = np.stack([_response(grid, d / (2 * 3**0.5) / step) for d in diameters])
        responses[:, ~mask] = 0.0
        best = responses.max(axis=0)
        peaks = np.argwhere((best == maximum_filter(best, size=3)) & (best > 15.0))
        for z, y, x in peaks[np.argsort(-best[tuple(peaks.T)])][: 3 * most]:
            index = (np.array([z, y, x]) + 0.5) * voxel - 0.5 * np.asarray(spacing) + low * np.asarray(spacing)
            center = (float(index[2] + origin[0]), float(index[1] + origin[1]), float(index[0] + origin[2]))
            scale = int(responses[:, z, y, x].argmax())
            candidates.append(Blob(center=center, diameter=diameters[scale], score=float(best[z, y, x])))
    return _apart(candidates, most)


def _isotropic(
    image: npt.NDArray[np.float32], mask: npt.NDArray[np.bool_], spacing: Sequence[float], step: float
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    factors = np.asarray(spacing) / step
    blur = np.where(factors < 0.75, 0.35 / factors, 0.0)
    smooth = gaussian_filter(image, blur)
    grid = zoom(smooth, factors, order=1, grid_mode=True, mode="nearest")
    coarse = zoom(mask.astype(np.uint8), factors, order=0, grid_mode=True, mode="nearest") > 0
    return grid, binary_closing(coarse, iterations=1) | coarse


def _response(grid: npt.NDArray[np.float32], sigma: float) -> npt.NDArray[np.float32]:
    out: npt.NDArray[np.float32] = -(sigma**2) * gaussian_laplace(grid, sigma, truncate=3.0)
    return out


def _apart(candidates: list[Blob], most: int) -> list[Blob]:
    """Keep the strongest; drop what lies within the radius of one kept."""
    kept: list[Blob] = []
    for blob in sorted(candidates, key=lambda b: -b.score):
        if all(np.linalg.norm(np.subtract(blob.center, k.center)) > max(k.diameter, blob.diameter) / 2 for k in kept):
            kept.append(blob)
            if len(kept) == most:
                break
    return kept


def froc(
    scans: Sequence[tuple[Sequence[Blob], Sequence[Truth]]], least: float = 6.0, largest: float = 30.0
) -> dict[float, float]:
    """Sensitivity for nodules of ``least`` to ``largest`` mm at each of LUNA16's rates of false positives a scan."""
    hits: list[float] = []
    false: list[float] = []
    total = 0
    for blobs, nodules in scans:
        found: dict[int, float] = {}
        for blob in blobs:
            touched = [n for n in nodules if np.linalg.norm(np.subtract(blob.center, n.center_mm)) <= n.diameter_mm / 2]
            for nodule in touched:
                found[nodule.number] = max(found.get(nodule.number, -np.inf), blob.score)
            if not touched:
                false.append(blob.score)
        wanted = [n for n in nodules if least <= n.diameter_mm <= largest]
        total += len(wanted)
        hits += [found[n.number] for n in wanted if n.number in found]
    false.sort(reverse=True)
    out = {}
    for rate in RATES:
        allowed = int(rate * len(scans))
        threshold = false[allowed] if allowed < len(false) else -np.inf
        out[rate] = sum(h > threshold for h in hits) / max(total, 1)
    return out


def main() -> None:
    """Make the phantoms, look for blobs, print the curve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first-seed", type=int, default=9001)
    parser.add_argument("--scans", type=int, default=30)
    parser.add_argument("--spacing", type=float, help="slice distance, mm; the seed's choice unless given")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    scans = []
    for seed in range(options.first_seed, options.first_seed + options.scans):
        begin = time.perf_counter()
        study = plan(Wishes(seed=seed, spacing=options.spacing))[0]
        volume = render(study)
        made = time.perf_counter()
        grid = study.scan.grid
        blobs = detect(volume.hu, volume.lung, grid.spacing, grid.origin)
        scans.append((blobs, study.truth))
        print(f"seed {seed}: made in {made - begin:.1f} s, searched in {time.perf_counter() - made:.1f} s", flush=True)
    report = {
        "scans": len(scans),
        "nodules_6_30": sum(6.0 <= n.diameter_mm <= 30.0 for _, nodules in scans for n in nodules),
        "sensitivity_6_30": {str(k): round(v, 3) for k, v in froc(scans).items()},
        "sensitivity_3_6": {str(k): round(v, 3) for k, v in froc(scans, 3.0, 6.0).items()},
        "by_density_6_30": {
            density: {str(k): round(v, 3) for k, v in froc(_only(scans, density)).items()}
            for density in ("solid", "part-solid", "ground-glass")
        },
    }
    print(json.dumps(report, indent=2))
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _only(
    scans: Sequence[tuple[Sequence[Blob], Sequence[Truth]]], density: str
) -> list[tuple[Sequence[Blob], Sequence[Truth]]]:
    """The same scans with the other densities' nodules counted for nothing: their findings are taken out."""
    out = []
    for blobs, nodules in scans:
        others = [n for n in nodules if n.density != density]
        free = [
            b for b in blobs
            if all(np.linalg.norm(np.subtract(b.center, n.center_mm)) > n.diameter_mm / 2 for n in others)
        ]  # fmt: skip
        out.append((free, [n for n in nodules if n.density == density]))
    return out


if __name__ == "__main__":
    main()
