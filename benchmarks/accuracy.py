"""How far measurements lie from the truth: python -m benchmarks.accuracy BUNDLE [--first-seed 20301] [--out FILE.json].

Phantoms with many nodules, each scanned by three protocols as in ``benchmarks.repeatability``; what the bundle finds
and reports is held against the truth of the nodule that it lies in. For each kind that a nodule is called, and each
range of the size that is found, what 95 % of errors stayed within: of the axes and their mean (mm), and of ln(V), bias
included. FILE.json is of the form of ``training/accuracy.json``, which says how sure each reported number is
(ai_adapters/accuracy.py). What is called by a wrong kind counts under that kind, since the reader of a report knows no
other; part-solid and ground glass are taken together.
"""

import argparse
import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ai_adapters.density import GROUND_GLASS
from ai_adapters.measure import Axes
from ai_adapters.registry import read_bundle
from ai_adapters.run import Measured, read_nodules
from benchmarks.repeatability import Reader, scans
from conformance.phantom.make import Truth
from terminology.private_scheme import PART_SOLID, SOLID, SOLID_PART_DIAMETER

#: Kinds that share a row, and up to which size (mm) rows go.
_ROWS = (
    ((SOLID.value,), (6.0, 10.0, 40.0)),
    ((PART_SOLID.value, GROUND_GLASS.value), (12.0, 40.0)),
    ((SOLID_PART_DIAMETER.value,), (40.0,)),
)
#: Fewer errors say nothing of the worst 5 %.
_LEAST = 20


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One nodule in one scan, or the solid part of one."""

    #: Code of what it was called.
    kind: str
    #: What was found and decides which row holds: of the sphere as large, mm; of a solid part the mean axis.
    size_mm: float
    #: Found less true: each axis and their mean; of a solid part their mean only.
    lengths_mm: tuple[float, ...]
    #: ln(found / true).
    log_volume: float


def samples(truths: Sequence[Truth], nodules: Sequence[Measured], threshold: float) -> Iterator[Sample]:
    """What was found of one scan's nodules and would be reported, against the truth; the surest one of each."""
    sure = [nodule for nodule in nodules if nodule.confidence >= threshold]
    for truth in truths:
        near = [each for each in sure if math.dist(each.center_mm, truth.center_mm) <= truth.diameter_mm / 2]
        if near:
            yield from _compared(truth, max(near, key=lambda each: each.confidence))


def _compared(truth: Truth, found: Measured) -> Iterator[Sample]:
    if found.density is None:
        return
    lengths = (
        found.axes.long_mm - truth.long_axis_mm,
        found.axes.short_mm - truth.short_axis_mm,
        _mean(found.axes) - truth.mean_diameter_mm,
    )
    yield Sample(
        kind=found.density.kind.value,
        size_mm=found.diameter_mm,
        lengths_mm=lengths,
        log_volume=math.log(found.volume_mm3 / truth.volume_mm3),
    )
    solid_mm3, part = found.density.solid_mm3, found.solid_axes
    if part is not None and solid_mm3 and truth.solid_volume_mm3 and truth.solid_mean_diameter_mm:
        yield Sample(
            kind=SOLID_PART_DIAMETER.value,
            size_mm=_mean(part),
            lengths_mm=(_mean(part) - truth.solid_mean_diameter_mm,),
            log_volume=math.log(solid_mm3 / truth.solid_volume_mm3),
        )


def _mean(axes: Axes) -> float:
    return (axes.long_mm + axes.short_mm) / 2


def rows(measured: Sequence[Sample]) -> list[dict[str, Any]]:
    """The entries of accuracy.json; a range of too few errors is left to the next larger one."""
    entries = []
    for kinds, sizes in _ROWS:
        here: list[Sample] = []
        least = 0.0
        for up_to in sizes:
            here += [each for each in measured if each.kind in kinds and least < each.size_mm <= up_to]
            least = up_to
            if len(here) >= _LEAST:
                entries += [{"density": kind, "up_to_mm": up_to, **_within(here)} for kind in kinds]
                here = []
    return sorted(entries, key=lambda entry: (entry["density"], entry["up_to_mm"]))


def _within(measured: Sequence[Sample]) -> dict[str, float]:
    lengths = [abs(length) for each in measured for length in each.lengths_mm]
    volumes = [abs(each.log_volume) for each in measured]
    return {
        "length_mm": round(max(0.1, float(np.percentile(lengths, 95))), 1),
        "log_volume": round(max(0.01, float(np.percentile(volumes, 95))), 2),
    }


def measure(seed: int, read: Reader, threshold: float) -> Iterator[Sample]:
    """All samples of one phantom's scans."""
    for study, volume in scans(seed):
        yield from samples(study.truth, read(volume), threshold)


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--first-seed", type=int, default=20301)
    parser.add_argument("--phantoms", type=int, default=4)
    parser.add_argument("--kept", type=Path, help="keeps the errors, scan by scan")
    parser.add_argument("--out", type=Path)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Read the command line, measure, print."""
    chosen = _options(argv)
    bundle = read_bundle(chosen.bundle)
    done: list[Sample] = []
    last = chosen.first_seed + chosen.phantoms - 1
    for seed in range(chosen.first_seed, last + 1):
        done += measure(seed, lambda volume: read_nodules(bundle, volume)[0], bundle.manifest.report)
        print(f"phantom {seed}: {len(done)} errors so far", flush=True)
        if chosen.kept:
            chosen.kept.write_text(json.dumps([asdict(each) for each in done]) + "\n", encoding="utf-8")
    source = (
        f"{len(done)} measurements of nodules in phantoms {chosen.first_seed} to {last}, each in three protocols "
        "(benchmarks/accuracy.py); what 95 % of errors stayed within; part-solid and ground glass together"
    )
    text = json.dumps({"source": source, "errors": rows(done)}, indent=1)
    print(text)
    if chosen.out:
        chosen.out.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
