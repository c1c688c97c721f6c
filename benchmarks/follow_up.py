"""Measures what is said of lesions over time, where it is known what they did.

    python -m benchmarks.follow_up BUNDLE phantoms [--first-seed 9301] [--pairs 20] --out PAIRS.jsonl
    python -m benchmarks.follow_up BUNDLE warped STUDY XML [--first-seed 9301] [--pairs 10] --out PAIRS.jsonl
    python -m benchmarks.follow_up judge PAIRS.jsonl ...

A pair is two studies of one patient: a phantom with a prior of 90, 180 or 365 days before, its nodules grown since by
doubling times that are known; or a CT and what a warp makes of it (``benchmarks.warp``). Both are read by the bundle,
laid onto each other and compared as the server does it. A finding is a lesion where it lies within half the lesion's
diameter of its centre, or 3 mm. PAIRS.jsonl gets a line a pair, at once, and can be judged at any time.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

from ai_adapters import tracking
from ai_adapters.evaluation.lidc import lesions
from ai_adapters.registration import NotComparable, Registration, register
from ai_adapters.registry import Bundle, read_bundle
from ai_adapters.run import run
from ai_adapters.volume import Volume, load
from benchmarks.warp import field, moved, swelling, warp
from dicom_sr.findings import Finding, Findings, Point
from terminology import private_scheme

_INTERVALS = (90, 180, 365)
#: A small lesion's centre is not known better than this, mm.
_LEAST_REACH_MM = 3.0
#: Of a manifest's repeatability, mm.
_SIZES = (6, 8, 12, 20, 40)
_WHEN = datetime(2024, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Lesion:
    """A lesion at both times."""

    name: str
    #: None where it was not there yet.
    then_mm: Point | None
    now_mm: Point
    then_diameter: float
    now_diameter: float
    #: Of the volumes, now over then; None where it was not there yet.
    ratio: float | None


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two studies of one patient."""

    name: str
    then: Volume
    now: Volume
    days: int
    lesions: tuple[Lesion, ...]


def phantoms(first: int, count: int) -> Iterator[Pair]:
    """Phantoms with a prior, made by the command line as an outsider would."""
    for seed in range(first, first + count):
        days = _INTERVALS[seed % len(_INTERVALS)]
        with tempfile.TemporaryDirectory() as place:
            command = [sys.executable, "-m", "conformance.phantom", place, "--seed", str(seed), "--prior-days"]
            subprocess.run([*command, str(days)], check=True, stdout=subprocess.DEVNULL)
            yield _phantom(f"phantom {seed}", Path(place), days)


def _phantom(name: str, place: Path, days: int) -> Pair:
    folders = (place / "prior", place / "current")
    before, after = ({one["number"]: one for one in _truth(folder)} for folder in folders)
    found = []
    for number, now in after.items():
        then = before.get(number)
        found.append(
            Lesion(
                name=f"{now['density']} {now['attachment']} {number}",
                then_mm=tuple(then["center_mm"]) if then else None,
                now_mm=tuple(now["center_mm"]),
                then_diameter=then["diameter_mm"] if then else 0.0,
                now_diameter=now["diameter_mm"],
                ratio=now["volume_mm3"] / then["volume_mm3"] if then else None,
            )
        )
    volumes = [load([pydicom.dcmread(file) for file in sorted(folder.glob("IM*.dcm"))]) for folder in folders]
    return Pair(name=name, then=volumes[0], now=volumes[1], days=days, lesions=tuple(found))


def _truth(folder: Path) -> list[dict[str, Any]]:
    nodules: list[dict[str, Any]] = json.loads((folder / "truth.json").read_text(encoding="utf-8"))["nodules"]
    return nodules


def warped(study: Path, xml: Path, first: int, count: int) -> Iterator[Pair]:
    """A LIDC-IDRI study and warps of it; its lesions are those that all four readers outlined."""
    then = load([pydicom.dcmread(file) for file in sorted(study.rglob("*.dcm"))])
    known = [one for one in lesions(xml, then) if one.readers == 4]
    for seed in range(first, first + count):
        displacement = field(seed, then)
        found = []
        for number, one in enumerate(known, 1):
            ratio = swelling(one.center_mm, displacement)
            now_mm, now_diameter = moved(one.center_mm, displacement), one.diameter_mm * ratio ** (1 / 3)
            found.append(
                Lesion(
                    name=f"annotated {number}", then_mm=one.center_mm, now_mm=now_mm, then_diameter=one.diameter_mm,
                    now_diameter=now_diameter, ratio=ratio,
                )
            )  # fmt: skip
        now = replace(warp(then, displacement), study_instance_uid="warped")
        yield Pair(name=f"{study.name} warp {seed}", then=then, now=now, days=100, lesions=tuple(found))


@dataclass(kw_only=True)
class Reader:
    """Reads studies with one bundle; the study read last is kept, since warps share theirs."""

    bundle: Bundle
    threads: int
    _kept: tuple[Volume, Findings] | None = None

    def first(self, volume: Volume) -> Findings:
        """What is found without a prior."""
        if self._kept is None or self._kept[0] is not volume:
            self._kept = (volume, self._run(volume, "then"))
        return self._kept[1]

    def second(self, volume: Volume, prior: Findings, where: Registration | None) -> Findings:
        """What is found where lesions are known already."""
        return self._run(volume, "now", prior, where)

    def _run(
        self, volume: Volume, key: str, prior: Findings | None = None, where: Registration | None = None
    ) -> Findings:
        return run(
            self.bundle,
            volume,
            identify=lambda _, index: (f"{key} {index + 1}", f"{key}.{index + 1}"),
            timestamp=_WHEN,
            key=key,
            threads=self.threads,
            known=tracking.places(prior, where) if prior is not None and where is not None else (),
        )


def follow(pair: Pair, reader: Reader) -> dict[str, Any]:
    """Everything about one pair that is judged."""
    then = reader.first(pair.then)
    begin, spent = time.perf_counter(), time.process_time()
    try:
        where = register(pair.then, pair.now, reader.threads)
    except NotComparable as error:
        return {"name": pair.name, "days": pair.days, "not_compared": error.reason, "lesions": [], "matches": []}
    seconds, processor = time.perf_counter() - begin, time.process_time() - spent
    now = reader.second(pair.now, then, where)
    told = tracking.compared(now, then, where, days=pair.days, repeatability=reader.bundle.manifest.repeatability)
    return {
        "name": pair.name,
        "days": pair.days,
        "seconds": round(seconds, 1),
        "processor_seconds": round(processor, 1),
        "correlation": round(where.correlation, 4),
        "lesions": [_followed(lesion, pair, then, told, where) for lesion in pair.lesions],
        "matches": list(_matches(pair, then, told)),
        "findings": [[_plain(one) for one in report.findings] for report in (then, told)],
        "laid": [where(one.center_mm) for one in then.findings if one.center_mm],
    }


def _plain(finding: Finding) -> list[Any]:
    size = round(tracking.size_of(finding), 2)
    return [finding.tracking_uid, finding.center_mm, size, tracking.volume_of(finding), finding.confidence]


def _followed(lesion: Lesion, pair: Pair, then: Findings, now: Findings, where: Registration) -> dict[str, Any]:
    before = _at(then, lesion.then_mm, lesion.then_diameter) if lesion.then_mm else None
    after = _at(now, lesion.now_mm, lesion.now_diameter)
    record: dict[str, Any] = {
        "name": lesion.name, "then_diameter": lesion.then_diameter, "now_diameter": lesion.now_diameter,
        "ratio": lesion.ratio, "found_then": before is not None, "found_now": after is not None,
        "same": bool(before and after and before.tracking_uid == after.tracking_uid),
    }  # fmt: skip
    if lesion.then_mm:
        record["registration_mm"] = round(math.dist(where(lesion.then_mm), lesion.now_mm), 2)
        record["start_mm"] = round(_start(lesion.then_mm, lesion.now_mm, pair), 2)
    if record["same"] and before and after:
        volumes = (tracking.volume_of(before) or 0.0, tracking.volume_of(after) or 0.0)
        record |= {"volumes": volumes, **_said(after)}
    return record


def _start(then: Point, now: Point, pair: Pair) -> float:
    """How far apart they are before any registration, the middles of both scans on each other."""
    before, after = (np.array(one.to_patient([(n - 1) / 2 for n in one.voxels.shape])) for one in (pair.then, pair.now))
    return float(np.linalg.norm((np.array(then) - before) - (np.array(now) - after)))


def _said(finding: Finding) -> dict[str, Any]:
    answer = next((one.value.meaning for one in finding.qualities if one.concept == private_scheme.CHANGE), None)
    doubling = next((one for one in finding.measurements if one.concept == private_scheme.DOUBLING_TIME), None)
    stated: dict[str, Any] = {"change": answer, "doubling": None}
    if doubling is not None and doubling.uncertainty is not None:
        days, around = doubling.value, doubling.uncertainty
        upper = None if around.above is None else days + around.above
        stated["doubling"] = [days, days - around.below, upper]
    return stated


def _at(findings: Findings, center: Point | None, diameter: float) -> Finding | None:
    """The finding nearest to a lesion, within its reach."""
    reach = max(diameter / 2, _LEAST_REACH_MM)
    near = [
        (math.dist(one.center_mm, center), n) for n, one in enumerate(findings.findings) if one.center_mm and center
    ]
    distance, index = min(near, default=(math.inf, 0))
    return findings.findings[index] if distance <= reach else None


def _matches(pair: Pair, then: Findings, now: Findings) -> Iterator[list[str | None]]:
    """What each matched pair of findings is: the lesion then, the lesion now."""
    before = {one.tracking_uid: one for one in then.findings}
    for finding in now.findings:
        if (earlier := before.get(finding.tracking_uid)) is not None:
            yield [_lesion_at(earlier, pair, then=True), _lesion_at(finding, pair, then=False)]


def _lesion_at(finding: Finding, pair: Pair, *, then: bool) -> str | None:
    reaches = []
    for lesion in pair.lesions:
        place, size = (lesion.then_mm, lesion.then_diameter) if then else (lesion.now_mm, lesion.now_diameter)
        if place is not None and finding.center_mm is not None:
            distance = math.dist(place, finding.center_mm)
            if distance <= max(size / 2, _LEAST_REACH_MM):
                reaches.append((distance, lesion.name))
    return min(reaches)[1] if reaches else None


def judge(pairs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The figures of all pairs."""
    found = [one for pair in pairs for one in pair["lesions"]]
    both = [one for one in found if one["found_then"] and one["found_now"]]
    wrong = [pair["name"] for pair in pairs if any(then != now for then, now in pair["matches"])]
    errors = [one["registration_mm"] for one in found if "registration_mm" in one]
    starts = [one["start_mm"] for one in found if "start_mm" in one]
    stated = [(_covered(one, pair["days"])) for pair in pairs for one in pair["lesions"] if one.get("doubling")]
    times = [pair["seconds"] for pair in pairs if "seconds" in pair]
    return {
        "pairs": len(pairs),
        "not_compared": [pair["name"] for pair in pairs if "not_compared" in pair],
        "lesions_at_both_times": sum(one["ratio"] is not None for one in found),
        "found_at_both_times": len(both),
        "matched_right": _share([one["same"] for one in both]),
        "matches": sum(len(pair["matches"]) for pair in pairs),
        "matches_not_wrong": _share([then == now for pair in pairs for then, now in pair["matches"]]),
        "pairs_with_a_wrong_match": wrong,
        "start_mm_median": _middle(starts),
        "registration_mm": {"median": _middle(errors), "95 %": _at_95(errors), "most": max(errors, default=None)},
        "seconds": {"median": _middle(times), "most": max(times, default=None)},
        "processor_seconds_median": _middle([pair["processor_seconds"] for pair in pairs if "seconds" in pair]),
        "doubling_times_stated": len(stated),
        "doubling_time_in_its_interval": _share(stated),
        "log_volume_error": {
            f"to {most} mm": _spread(both, least, most) for least, most in zip((0, *_SIZES), _SIZES, strict=False)
        },
        "intervals_with_an_upper_end": sum(1 for one in both if one.get("doubling") and one["doubling"][2] is not None),
    }


def _covered(lesion: dict[str, Any], days: float) -> bool:
    """Whether the truth lies in the interval; what did not grow at all lies in those without an upper end."""
    _, lower, upper = lesion["doubling"]
    doublings = math.log2(lesion["ratio"])
    if abs(doublings) < 1e-6 or doublings < 0:
        return upper is None
    true = days / doublings
    return bool(lower <= true and (upper is None or true <= upper))


def _spread(lesions: Sequence[dict[str, Any]], least: float, most: float) -> list[float] | None:
    """How many lesions of a size, and the root mean square of ln(V2 / V1, measured over true)."""
    errors = [
        math.log(one["volumes"][1] / one["volumes"][0] / one["ratio"])
        for one in lesions
        if one.get("volumes") and one["ratio"] and least < (one["then_diameter"] + one["now_diameter"]) / 2 <= most
    ]
    return [len(errors), round(float(np.sqrt(np.mean(np.square(errors)))), 3)] if errors else None


def _share(answers: Sequence[bool]) -> float | None:
    return round(sum(answers) / len(answers), 4) if answers else None


def _middle(values: Sequence[float]) -> float | None:
    return round(float(np.median(values)), 2) if values else None


def _at_95(values: Sequence[float]) -> float | None:
    return round(float(np.percentile(values, 95)), 2) if values else None


def main() -> int:
    """Read the command line; follow, or judge."""
    if sys.argv[1:2] == ["judge"]:
        pairs = [json.loads(line) for name in sys.argv[2:] for line in Path(name).read_text().splitlines()]
        print(json.dumps(judge(pairs), indent=1))
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("data", choices=["phantoms", "warped"])
    parser.add_argument("places", type=Path, nargs="*", help="warped: STUDY XML")
    parser.add_argument("--first-seed", type=int, default=9301)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    reader = Reader(bundle=read_bundle(options.bundle), threads=options.threads)
    made = (
        phantoms(options.first_seed, options.pairs)
        if options.data == "phantoms"
        else warped(options.places[0], options.places[1], options.first_seed, options.pairs)
    )
    followed = []
    for pair in made:
        followed.append(follow(pair, reader))
        with options.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(followed[-1]) + "\n")
        print(pair.name, flush=True)
    print(json.dumps(judge(followed), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
