"""Measures a detection bundle by LUNA16's rule, on phantoms and on LIDC-IDRI readings.

    python -m benchmarks.froc BUNDLE phantoms [--first-seed 9001] [--scans 30] [--keep FOLDER]
    python -m benchmarks.froc BUNDLE lidc STUDY XML [STUDY XML ...]

The rule and the figures are the product's (ai_adapters/evaluation), as ``hutong evaluate`` prints them; here the
phantoms come as volumes without DICOM in between, and each lesion and false positive is listed. On LIDC-IDRI lesions
are asked for that all four readers outlined.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pydicom

from ai_adapters.evaluation.figures import Figures, as_json, evaluate, figures_json, of_stratum
from ai_adapters.evaluation.froc import Scan, Stratum, Truth, judge
from ai_adapters.evaluation.reading import read_scan
from ai_adapters.evaluation.reference import Reference, of_lidc
from ai_adapters.evaluation.segment import Segment
from ai_adapters.registry import read_bundle
from ai_adapters.volume import Volume, load

#: The ranges that the project's bars name, beside those of every evaluation.
RANGES = (
    Stratum(name="3-5 mm", above_mm=3 - 1e-9, up_to_mm=5 - 1e-9),
    Stratum(name=">= 5 mm", above_mm=5 - 1e-9),
    Stratum(name="3-6 mm", above_mm=3 - 1e-9, up_to_mm=6 - 1e-9),
    Stratum(name="6-30 mm", above_mm=6 - 1e-9, up_to_mm=30),
)
_DENSITIES = ("solid", "part-solid", "ground-glass")
_ALL_READERS = 4


def phantoms(first: int, count: int, keep: Path | None) -> Iterator[tuple[str, Volume, Reference]]:
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


def read_phantom(file: Path) -> tuple[Volume, Reference]:
    """A phantom's npz: axial slices from feet to head."""
    with np.load(file) as phantom:
        affine = np.zeros((4, 4))
        affine[2, 0], affine[1, 1], affine[0, 2] = phantom["spacing"]
        affine[:3, 3], affine[3, 3] = phantom["origin"], 1
        nodules = json.loads(str(phantom["truth"]))["nodules"]
        volume = Volume(voxels=phantom["hu"], affine=affine)
        segments = tuple(_segment(phantom["label"], int(nodule["number"])) for nodule in nodules)
    truths = tuple(
        Truth(
            center_mm=tuple(nodule["center_mm"]),
            diameter_mm=nodule["diameter_mm"],
            volume_mm3=nodule["volume_mm3"],
            density=nodule["density"],
        )
        for nodule in nodules
    )
    return volume, Reference(truths=truths, segments=segments)


def _segment(label: np.ndarray, number: int) -> Segment | None:
    """The voxels of one nodule; None where it is too small to fill any."""
    filled = np.argwhere(label == number)
    if not len(filled):
        return None
    low, high = filled.min(axis=0), filled.max(axis=0) + 1
    box = label[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] == number
    return Segment(origin=(int(low[0]), int(low[1]), int(low[2])), voxels=box)


def read_lidc(study: Path, xml: Path) -> tuple[Volume, Reference]:
    """A LIDC-IDRI study and the lesions of its reading."""
    volume = load([pydicom.dcmread(file) for file in sorted(study.rglob("*.dcm"))])
    return volume, of_lidc(xml, volume, _ALL_READERS)


def by_density(scans: Sequence[Scan], threshold: float, draws: int = 1000) -> list[Figures]:
    """The ranges above, for all densities and for each that the scans have."""
    there = {truth.density for scan in scans for truth in scan.truths if truth.certain}
    strata = [*RANGES]
    for density in (each for each in _DENSITIES if each in there):
        strata += [
            Stratum(name=f"{one.name} {density}", above_mm=one.above_mm, up_to_mm=one.up_to_mm, density=density)
            for one in RANGES
        ]
    return [of_stratum(scans, threshold, stratum, draws) for stratum in strata]


def summary(name: str, scans: Sequence[Scan], threshold: float) -> dict[str, object]:
    """All figures at the bundle's threshold."""
    evaluation = evaluate(name, scans, threshold)
    false = [sum(score >= threshold for score in judge(scan).false) for scan in scans]
    return {
        **as_json(evaluation),
        "ranges": {one.stratum.name: figures_json(one) for one in by_density(scans, threshold)},
        "false_positives": dict(zip([scan.name for scan in scans], false, strict=True)),
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def listing(scan: Scan, threshold: float) -> list[str]:
    """One line a truth, and one a false positive above the threshold."""
    lines = [f"{scan.name}  {scan.seconds} s"]
    for hit in judge(scan).hits:
        truth, score = hit.truth, hit.confidence
        rank = sum(found.confidence > score for found in scan.found) + 1 if hit.found else "-"
        mark = "found " if score >= threshold else "MISSED"
        size = hit.found.volume_mm3 / truth.volume_mm3 if hit.found and hit.found.volume_mm3 and truth.volume_mm3 else 0
        lines.append(
            f"  {mark} {truth.density:12} {truth.diameter_mm:5.1f} mm at "
            f"{tuple(round(value, 1) for value in truth.center_mm)}: confidence {score:.3f}, "
            f"rank {rank}, volume x {size:.2f}, Dice {hit.dice if hit.dice is not None else '-'}"
        )
    false = sorted(judge(scan).false, reverse=True)
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
    for name, volume, reference in source:
        scans.append(read_scan(bundle, name, volume, reference))
        print("\n".join(listing(scans[-1], threshold)), flush=True)
    report = summary(bundle.manifest.name, scans, threshold)
    print(json.dumps(report, indent=1))
    if options.json:
        content = {**report, "readings": [asdict(scan) for scan in scans]}
        options.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
