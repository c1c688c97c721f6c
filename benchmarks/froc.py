"""Measures a detection bundle by LUNA16's rule, on phantoms and on LIDC-IDRI readings.

    python -m benchmarks.froc BUNDLE phantoms [--first-seed 9001] [--scans 30] [--keep FOLDER]
    python -m benchmarks.froc BUNDLE lidc STUDY XML [STUDY XML ...]

A finding hits a nodule when it lies within half the nodule's diameter of its centre; a second hit on the same nodule
and a hit on a lesion that is not asked for count for nothing; all others are false positives. CPM is the mean
sensitivity at 1/8, 1/4, 1/2, 1, 2, 4 and 8 false positives a scan, its interval from 1,000 bootstraps over scans
(LUNA16, Setio 2017).
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pydicom

from ai_adapters.registry import Bundle, read_bundle
from ai_adapters.run import read_nodules
from ai_adapters.volume import Volume, load
from training.lidc import lesions

RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
_BOOTSTRAPS = 1000
#: A mark below 3 mm has no outline; findings this near to it count for nothing.
_SMALLEST_MM = 3.0

Point = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Truth:
    """A known lesion."""

    center_mm: Point
    diameter_mm: float
    volume_mm3: float
    #: solid, part-solid, ground-glass; for LIDC the number of readers who outlined it.
    kind: str
    #: Whether it is ever asked for (LIDC: marked by all four readers).
    certain: bool


@dataclass(frozen=True, kw_only=True)
class Found:
    """What the bundle found."""

    center_mm: Point
    confidence: float
    volume_mm3: float


@dataclass(frozen=True, kw_only=True)
class Scan:
    """One scan, read."""

    name: str
    seconds: float
    truths: tuple[Truth, ...]
    found: tuple[Found, ...]


def phantoms(first: int, count: int, keep: Path | None) -> Iterator[tuple[str, Volume, tuple[Truth, ...]]]:
    """Phantoms by seed, made by the command line as an outsider would."""
    with tempfile.TemporaryDirectory() as place:
        for seed in range(first, first + count):
            folder = (keep or Path(place)) / str(seed)
            if not list(folder.glob("*.npz")):
                command = [sys.executable, "-m", "conformance.phantom", str(folder), "--seed", str(seed)]
                subprocess.run([*command, "--format", "npz"], check=True, stdout=subprocess.DEVNULL)
            file = next(folder.glob("*.npz"))
            yield (f"phantom {seed}", *read_phantom(file))
            if keep is None:
                file.unlink()


def read_phantom(file: Path) -> tuple[Volume, tuple[Truth, ...]]:
    """A phantom's npz: axial slices from feet to head."""
    with np.load(file) as phantom:
        affine = np.zeros((4, 4))
        affine[2, 0], affine[1, 1], affine[0, 2] = phantom["spacing"]
        affine[:3, 3], affine[3, 3] = phantom["origin"], 1
        nodules = json.loads(str(phantom["truth"]))["nodules"]
        volume = Volume(voxels=phantom["hu"], affine=affine)
    return volume, tuple(
        Truth(
            center_mm=tuple(nodule["center_mm"]),
            diameter_mm=nodule["diameter_mm"],
            volume_mm3=nodule["volume_mm3"],
            kind=nodule["density"],
            certain=True,
        )
        for nodule in nodules
    )


def read_lidc(study: Path, xml: Path) -> tuple[Volume, tuple[Truth, ...]]:
    """A LIDC-IDRI study and the lesions of its reading."""
    volume = load([pydicom.dcmread(file) for file in sorted(study.rglob("*.dcm"))])
    return volume, tuple(
        Truth(
            center_mm=lesion.center_mm,
            diameter_mm=lesion.diameter_mm,
            volume_mm3=np.pi / 6 * lesion.diameter_mm**3,
            kind=f"{lesion.readers} readers",
            certain=lesion.readers == 4,
        )
        for lesion in lesions(xml, volume)
    )


def read_scan(bundle: Bundle, name: str, volume: Volume, truths: tuple[Truth, ...]) -> Scan:
    """Run the bundle on one scan; all candidates, not cut by the threshold."""
    begin = time.perf_counter()
    nodules, _, _ = read_nodules(bundle, volume)
    found = tuple(
        Found(
            center_mm=(round(n.center_mm[0], 1), round(n.center_mm[1], 1), round(n.center_mm[2], 1)),
            confidence=round(n.confidence, 4),
            volume_mm3=round(n.volume_mm3, 1),
        )
        for n in nodules
    )
    return Scan(name=name, seconds=round(time.perf_counter() - begin, 2), truths=truths, found=found)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One scan against its truth: what counts."""

    #: Best confidence on each nodule asked for (-1 where there is none), with the finding's volume over the truth's.
    hits: tuple[tuple[Truth, float, float], ...]
    #: Confidences of the false positives.
    false: tuple[float, ...]


def judge(scan: Scan, least: float, largest: float, kind: str | None = None) -> Outcome:
    """Match findings to truths by LUNA16's rule; asked for are certain truths of a size (and kind)."""
    best: dict[int, Found] = {}
    false = []
    for found in scan.found:
        touched = [
            number
            for number, truth in enumerate(scan.truths)
            if np.linalg.norm(np.subtract(found.center_mm, truth.center_mm))
            <= max(truth.diameter_mm, _SMALLEST_MM if not truth.certain else 0.0) / 2
        ]
        for number in touched:
            if number not in best or best[number].confidence < found.confidence:
                best[number] = found
        if not touched:
            false.append(found.confidence)
    asked = [
        (truth, best.get(number))
        for number, truth in enumerate(scan.truths)
        if truth.certain and least <= truth.diameter_mm <= largest and kind in (None, truth.kind)
    ]
    hits = tuple(
        (truth, hit.confidence, hit.volume_mm3 / truth.volume_mm3) if hit else (truth, -1.0, float("nan"))
        for truth, hit in asked
    )
    return Outcome(hits=hits, false=tuple(false))


def sensitivities(outcomes: Sequence[Outcome]) -> list[float]:
    """Sensitivity at each of the rates; nan where nothing was asked for."""
    false = sorted((score for outcome in outcomes for score in outcome.false), reverse=True)
    scores = np.array([score for outcome in outcomes for _, score, _ in outcome.hits])
    if not scores.size:
        return [float("nan")] * len(RATES)
    curve = []
    for rate in RATES:
        allowed = int(rate * len(outcomes))
        threshold = false[allowed] if allowed < len(false) else -0.5
        curve.append(float((scores > threshold).mean()))
    return curve


def cpm_interval(outcomes: Sequence[Outcome]) -> tuple[float, float]:
    """95 % interval of the CPM over bootstrapped scans."""
    rng = np.random.default_rng(0)
    means = []
    for _ in range(_BOOTSTRAPS):
        drawn = [outcomes[int(number)] for number in rng.integers(0, len(outcomes), len(outcomes))]
        means.append(float(np.mean(sensitivities(drawn))))
    low, high = np.nanpercentile(means, [2.5, 97.5])
    return float(low), float(high)


def stratum(
    scans: Sequence[Scan], threshold: float, least: float, largest: float, kind: str | None = None
) -> dict[str, object]:
    """The figures of one size and density."""
    outcomes = [judge(scan, least, largest, kind) for scan in scans]
    hits = [hit for outcome in outcomes for hit in outcome.hits]
    found = [hit for hit in hits if hit[1] >= threshold]
    errors = [abs(ratio - 1) for _, _, ratio in found]
    curve = sensitivities(outcomes)
    low, high = cpm_interval(outcomes) if hits else (float("nan"), float("nan"))
    return {
        "nodules": len(hits),
        "found": len(found),
        "sensitivity": round(len(found) / len(hits), 3) if hits else None,
        "froc": {str(rate): round(value, 3) for rate, value in zip(RATES, curve, strict=True)} if hits else None,
        "cpm": [round(float(np.mean(curve)), 3), round(low, 3), round(high, 3)] if hits else None,
        "volume_error_median": round(float(np.median(errors)), 3) if errors else None,
        "volume_ratio_median": round(float(np.median([r for _, _, r in found])), 3) if found else None,
    }


def summary(scans: Sequence[Scan], threshold: float) -> dict[str, object]:
    """All figures at the bundle's threshold."""
    false = [sum(score >= threshold for score in judge(scan, 0, 1000).false) for scan in scans]
    kinds = sorted({truth.kind for scan in scans for truth in scan.truths if truth.certain})
    sizes = {"3-6 mm": (3.0, 6.0 - 1e-9), "6-30 mm": (6.0, 30.0), ">=8 mm": (8.0, 1000.0)}
    return {
        "threshold": threshold,
        "scans": len(scans),
        "false_positives_a_scan": round(float(np.mean(false)), 3),
        "false_positives": dict(zip([scan.name for scan in scans], false, strict=True)),
        "strata": {name: stratum(scans, threshold, *size) for name, size in sizes.items()},
        "by_kind_3_6": {kind: stratum(scans, threshold, *sizes["3-6 mm"], kind) for kind in kinds},
        "by_kind_6_30": {kind: stratum(scans, threshold, *sizes["6-30 mm"], kind) for kind in kinds},
        "seconds_median": float(np.median([scan.seconds for scan in scans])),
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def listing(scan: Scan, threshold: float) -> list[str]:
    """One line a truth, and one a false positive above the threshold."""
    lines = [f"{scan.name}  {scan.seconds} s"]
    for truth, score, ratio in judge(scan, 0, 1000).hits:
        ranks = sum(found.confidence > score for found in scan.found) + 1 if score >= 0 else "-"
        mark = "found " if score >= threshold else "MISSED"
        lines.append(
            f"  {mark} {truth.kind:12} {truth.diameter_mm:5.1f} mm at {truth.center_mm}: confidence {score:.3f}, "
            f"rank {ranks}, volume x {ratio:.2f}"
        )
    false = sorted(judge(scan, 0, 1000).false, reverse=True)
    return [*lines, f"  false positives: {[score for score in false if score >= threshold]}; next {false[:3]}"]


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("data", choices=["phantoms", "lidc"])
    parser.add_argument("places", type=Path, nargs="*", help="lidc: STUDY XML pairs")
    parser.add_argument("--first-seed", type=int, default=9001)
    parser.add_argument("--scans", type=int, default=30)
    parser.add_argument("--keep", type=Path, help="folder that keeps the phantoms for the next run")
    parser.add_argument("--threshold", type=float, help="the manifest's unless given")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    bundle = read_bundle(options.bundle)
    threshold = bundle.manifest.report if options.threshold is None else options.threshold
    scans = []
    if options.data == "phantoms":
        source = phantoms(options.first_seed, options.scans, options.keep)
    else:
        pairs = zip(options.places[::2], options.places[1::2], strict=True)
        source = ((study.name, *read_lidc(study, xml)) for study, xml in pairs)
    for name, volume, truths in source:
        scans.append(read_scan(bundle, name, volume, truths))
        print("\n".join(listing(scans[-1], threshold)), flush=True)
    report = summary(scans, threshold)
    print(json.dumps(report, indent=1))
    if options.json:
        content = {**report, "readings": [asdict(scan) for scan in scans]}
        options.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
