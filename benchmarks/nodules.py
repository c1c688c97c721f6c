"""How well a bundle finds and measures nodules of known truth; what it found is kept, so that tables are cheap.

    python -m benchmarks.nodules read BUNDLE KEPT.json phantoms NPZ...      files of conformance.phantom --format npz
    python -m benchmarks.nodules read BUNDLE KEPT.json inserted STUDY XML [--scans 10] [--seed 1]
    python -m benchmarks.nodules table KEPT.json... [--json TABLE.json]

Sensitivity, FROC and CPM by LUNA16's rule for each size and density, with intervals from bootstraps over scans; errors
of volume, by density and by what a nodule is attached to, of the nodules found at the bundle's threshold.
"""

import argparse
import json
import math
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

from ai_adapters.density import GROUND_GLASS
from ai_adapters.evaluation.figures import of_stratum
from ai_adapters.evaluation.froc import (
    ALL,
    RATES,
    SIZES,
    Found,
    Hit,
    Scan,
    Stratum,
    Truth,
    interval,
    judge,
    sensitivities,
)
from ai_adapters.evaluation.lidc import lesions
from ai_adapters.lobes import Lungs
from ai_adapters.margin import MARGINS
from ai_adapters.registry import Bundle, read_bundle
from ai_adapters.run import Measured, finding, read_nodules
from ai_adapters.volume import Volume, load
from benchmarks import category, inserted
from benchmarks.froc import RANGES
from benchmarks.inserted import ATTACHMENTS, DENSITIES
from benchmarks.nodule_text import printed
from dicom_sr.findings import Findings, ImageReference
from terminology.private_scheme import PART_SOLID, SOLID

_KINDS = {SOLID: "solid", PART_SOLID: "part-solid", GROUND_GLASS: "ground-glass"}
#: Volumes are judged from this size on, mm.
_MEASURED_MM = 6.0
_ONE_A_SCAN = RATES.index(1.0)


@dataclass(frozen=True, kw_only=True)
class Known:
    """A nodule of the truth, and what tables are split by."""

    center_mm: tuple[float, float, float]
    diameter_mm: float
    volume_mm3: float
    density: str
    attachment: str
    #: Whether it is asked for; a real lesion of the CT that takes inserted ones is not.
    certain: bool = True
    #: Empty where the truth says none.
    margin: str = ""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A scan and its truth."""

    name: str
    volume: Volume
    known: tuple[Known, ...]
    #: As an unerring observer would report it; None where the truth says too little for a category.
    report: Findings | None = None


@dataclass(frozen=True, kw_only=True)
class Kept:
    """One scan: what is there, what was found."""

    name: str
    spacing_mm: float
    threshold: float
    known: tuple[Known, ...]
    found: tuple[Found, ...]
    #: The kind of each that was found; empty for candidates that are never reported.
    density: tuple[str, ...] = ()
    #: The margin that is told of each; empty where none is.
    margin: tuple[str, ...] = ()
    #: The category of what is there and of what was found; None where it was not asked for.
    true_category: str | None = None
    found_category: str | None = None

    @property
    def scan(self) -> Scan:
        """As the FROC takes it."""
        truths = [
            Truth(
                center_mm=each.center_mm,
                diameter_mm=each.diameter_mm,
                volume_mm3=each.volume_mm3,
                density=each.density,
                certain=each.certain,
            )
            for each in self.known
        ]
        return Scan(name=self.name, seconds=0.0, truths=tuple(truths), found=self.found)


def read_phantom(file: Path) -> tuple[Volume, dict[str, Any]]:
    """A phantom's npz (axial slices from feet to head) and its truth."""
    with np.load(file) as phantom:
        affine = np.zeros((4, 4))
        affine[2, 0], affine[1, 1], affine[0, 2] = phantom["spacing"]
        affine[:3, 3], affine[3, 3] = phantom["origin"], 1
        truth: dict[str, Any] = json.loads(str(phantom["truth"]))
        image = ImageReference(sop_class_uid="", sop_instance_uid="", series_instance_uid="")
        sources = (image,) * len(phantom["hu"])
        return Volume(voxels=phantom["hu"], affine=affine, sources=sources), truth


def phantoms(files: Sequence[Path]) -> Iterator[Case]:
    """Each phantom with its nodules."""
    for file in files:
        volume, truth = read_phantom(file)
        known = tuple(_known(**nodule) for nodule in truth["nodules"])
        yield Case(name=f"phantom {truth['seed']}", volume=volume, known=known, report=category.truth(truth))


def _known(**nodule: Any) -> Known:
    """A nodule of the truth, of which more is known than is asked."""
    return Known(
        center_mm=tuple(nodule["center_mm"]),
        diameter_mm=nodule["diameter_mm"],
        volume_mm3=nodule["volume_mm3"],
        density=nodule["density"],
        attachment=nodule["attachment"],
        margin=nodule.get("margin", ""),
    )


def into_lung(study: Path, xml: Path, scans: int, seed: int) -> Iterator[Case]:
    """A CT, again and again with other nodules put in; its own lesions are not asked for."""
    headers = [pydicom.dcmread(file) for file in sorted(study.rglob("*.dcm"))]
    volume = load(headers)
    marked = [(lesion.center_mm, lesion.diameter_mm) for lesion in lesions(xml, volume)]
    own = tuple(
        Known(center_mm=center, diameter_mm=max(size, 3.0), volume_mm3=1.0, density="", attachment="", certain=False)
        for center, size in marked
    )
    taker = inserted.host(volume, tuple(marked), float(headers[0].SliceThickness))
    for number in range(scans):
        rng = np.random.default_rng([seed, number])
        made, truths = inserted.insert(taker, list(inserted.wishes(rng, inserted.A_SCAN)), rng)
        known = (*(_known(**asdict(each)) for each in truths), *own)
        yield Case(name=f"{study.name} with nodules {number}", volume=made, known=known)


def read(bundle: Bundle, case: Case, nodules: Sequence[Measured]) -> Kept:
    """All candidates of one scan, not cut by the threshold; the category that those above it give."""
    found = []
    for nodule in nodules:
        x, y, z = (round(value, 2) for value in nodule.center_mm)
        found.append(
            Found(
                center_mm=(x, y, z),
                confidence=round(nodule.confidence, 4),
                volume_mm3=round(nodule.volume_mm3, 2),
                diameter_mm=round((nodule.axes.long_mm + nodule.axes.short_mm) / 2, 2),
            )
        )
    true = found_category = None
    if case.report is not None:
        sure = [nodule for nodule in nodules if nodule.confidence >= bundle.manifest.report]
        # The category hangs on no lobe.
        nowhere = Lungs(middle=0.0, boxes={})
        names = [(f"N{n}", f"2.25.{n}") for n in range(1, len(sure) + 1)]
        reported = [
            finding(bundle, case.volume, *each) for each in zip(sure, [nowhere] * len(sure), names, strict=True)
        ]
        true = category.category(case.report).code
        found_category = category.category(replace(case.report, person=None, findings=tuple(reported))).code
    return Kept(
        name=case.name,
        spacing_mm=round(case.volume.spacing[0], 3),
        threshold=bundle.manifest.report,
        known=case.known,
        found=tuple(found),
        density=tuple(_KINDS.get(each.density.kind, "") if each.density else "" for each in nodules),
        margin=tuple(_margin(each) for each in nodules),
        true_category=true,
        found_category=found_category,
    )


def _margin(nodule: Measured) -> str:
    """Which margin is told of it, in the phantoms' words."""
    return next((each.value.meaning.lower() for each in nodule.qualities if each.concept == MARGINS), "")


def keep(file: Path, kept: Sequence[Kept]) -> None:
    """Write what was found."""
    file.write_text(json.dumps([asdict(each) for each in kept], indent=1) + "\n", encoding="utf-8")


def kept(file: Path) -> list[Kept]:
    """What ``keep`` wrote."""

    def point(value: list[float]) -> tuple[float, float, float]:
        return (value[0], value[1], value[2])

    scans = []
    for each in json.loads(file.read_text(encoding="utf-8")):
        known = tuple(Known(**{**one, "center_mm": point(one["center_mm"])}) for one in each.pop("known"))
        found = tuple(Found(**{**one, "center_mm": point(one["center_mm"]), "dice": ()}) for one in each.pop("found"))
        density, margin = tuple(each.pop("density")), tuple(each.pop("margin", ()))
        scans.append(Kept(**each, known=known, found=found, density=density, margin=margin))
    return scans


def detection(scans: Sequence[Kept]) -> list[dict[str, Any]]:
    """One row for each size, and for each density within it."""
    rows = []
    for size in (ALL, *RANGES[:2], *SIZES):
        for density in (None, *DENSITIES):
            asked = Stratum(name=size.name, above_mm=size.above_mm, up_to_mm=size.up_to_mm, density=density)
            figures = of_stratum([each.scan for each in scans], scans[0].threshold, asked)
            if figures.lesions and figures.froc and figures.cpm:
                outcomes = [judge(each.scan, asked) for each in scans]
                low, high = interval(outcomes, lambda drawn: sensitivities(drawn)[_ONE_A_SCAN])
                rows.append(
                    {
                        "size": size.name,
                        "density": density or "all",
                        "nodules": figures.lesions,
                        "found": figures.found,
                        "at_one": [figures.froc[_ONE_A_SCAN], low, high],
                        "froc": list(figures.froc),
                        "cpm": [figures.cpm.value, figures.cpm.low, figures.cpm.high],
                    }
                )
    return rows


def volumes(scans: Sequence[Kept]) -> list[dict[str, Any]]:
    """Errors of volume of the nodules of 6 mm and more that were found at the threshold."""
    hits = [
        (each.known[hit.number], hit)
        for each in scans
        for hit in judge(each.scan).hits
        if hit.confidence >= each.threshold and hit.truth.diameter_mm >= _MEASURED_MM
    ]
    rows = []
    for density in DENSITIES:
        for attachment in (None, *ATTACHMENTS):
            ratios = [
                _ratio(hit)
                for known, hit in hits
                if known.density == density and attachment in (None, known.attachment)
            ]
            if ratios:
                rows.append(
                    {
                        "density": density,
                        "attachment": attachment or "all",
                        "nodules": len(ratios),
                        "error_median": round(float(np.median(np.abs(np.array(ratios) - 1))), 3),
                        "ratio_median": round(float(np.median(ratios)), 3),
                    }
                )
    return rows


def _ratio(hit: Hit) -> float:
    if hit.found is None or hit.found.volume_mm3 is None or not hit.truth.volume_mm3:
        return math.nan
    return hit.found.volume_mm3 / hit.truth.volume_mm3


def densities(scans: Sequence[Kept]) -> dict[str, dict[str, int]]:
    """What each true kind was called, of the nodules found at the threshold."""
    called: dict[str, dict[str, int]] = {kind: dict.fromkeys(DENSITIES, 0) for kind in DENSITIES}
    for each in scans:
        for hit in judge(each.scan).hits:
            if hit.found is not None and hit.confidence >= each.threshold and hit.truth.density in called:
                word = each.density[each.found.index(hit.found)]
                called[hit.truth.density][word] = called[hit.truth.density].get(word, 0) + 1
    return called


def margins(scans: Sequence[Kept]) -> dict[str, dict[str, int]]:
    """Of solid nodules of 6 mm and more that were found: which margin is told of each kind."""
    told: dict[str, Counter[str]] = {}
    for each in scans:
        of = {known.center_mm: known.margin for known in each.known if known.density == DENSITIES[0]}
        for hit in judge(each.scan).hits:
            true = of.get(hit.truth.center_mm, "") if hit.truth.diameter_mm >= _MEASURED_MM else ""
            if true and each.margin and hit.found is not None and hit.confidence >= each.threshold:
                told.setdefault(true, Counter())[each.margin[each.found.index(hit.found)] or "none"] += 1
    return {true: dict(words) for true, words in sorted(told.items())}


def categories(scans: Sequence[Kept]) -> dict[str, Any]:
    """In how many scans the category of what was found is that of what is there, and which others there were."""
    asked = [(each.true_category, each.found_category) for each in scans if each.true_category is not None]
    return {
        "scans": len(asked),
        "equal": sum(true == found for true, found in asked),
        "other": dict(Counter(f"{true} called {found}" for true, found in asked if true != found)),
    }


def table(scans: Sequence[Kept]) -> dict[str, Any]:
    """All figures."""
    false = [sum(score >= each.threshold for score in judge(each.scan).false) for each in scans]
    return {
        "scans": len(scans),
        "threshold": scans[0].threshold,
        "false_positives_a_scan": round(float(np.mean(false)), 3),
        "detection": detection(scans),
        "volumes": volumes(scans),
        "densities": densities(scans),
        "margins": margins(scans),
        "categories": categories(scans),
    }


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    reading = commands.add_parser("read")
    reading.add_argument("bundle", type=Path)
    reading.add_argument("kept", type=Path)
    reading.add_argument("data", choices=["phantoms", "inserted"])
    reading.add_argument("places", type=Path, nargs="+", help="npz files; for inserted: STUDY XML")
    reading.add_argument("--scans", type=int, default=10, help="inserted: how often the CT is used")
    reading.add_argument("--seed", type=int, default=1, help="inserted")
    showing = commands.add_parser("table")
    showing.add_argument("kept", type=Path, nargs="+")
    showing.add_argument("--json", type=Path)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Read the command line; read scans or print the table."""
    options = _arguments().parse_args(argv)
    if options.command == "table":
        figures = table([each for file in options.kept for each in kept(file)])
        print(printed(figures))
        if options.json:
            options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        return 0
    bundle = read_bundle(options.bundle)
    if options.data == "phantoms":
        source = phantoms(options.places)
    else:
        source = into_lung(options.places[0], options.places[1], options.scans, options.seed)
    done: list[Kept] = []
    for case in source:
        done.append(read(bundle, case, read_nodules(bundle, case.volume)[0]))
        keep(options.kept, done)
        print(f"{case.name}: {len(case.known)} nodules, {len(done[-1].found)} candidates", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
