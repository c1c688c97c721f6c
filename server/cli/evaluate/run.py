"""Every study read by every system, beside its reference."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset

from ai_adapters.evaluation.froc import Scan
from ai_adapters.evaluation.reading import read_scan
from ai_adapters.registry import Bundle
from ai_adapters.selection import select
from ai_adapters.volume import UnusableSeries, Volume, decoders, load
from server.cli.evaluate.studies import Rules, Study, reference


@dataclass(kw_only=True)
class Readings:
    """What came of it."""

    #: By the system's name, all in the order of the studies.
    scans: dict[str, list[Scan]]
    #: StudyInstanceUID and why it was left out, for every system.
    left_out: list[tuple[str, str]] = field(default_factory=list)
    dates: list[str] = field(default_factory=list)


def read_all(
    bundles: Sequence[Bundle],
    studies: Sequence[Study],
    rules: Rules,
    progress: Callable[[str], None],
    threads: int | None = None,
) -> Readings:
    """Read study by study; one that a system can't read, or that has no reference, is left out for all of them."""
    readings = Readings(scans={bundle.manifest.name: [] for bundle in bundles})
    for number, study in enumerate(studies):
        progress(f"study {number + 1} of {len(studies)}")
        try:
            scans = _read(bundles, study, rules, threads)
        except UnusableSeries as error:
            readings.left_out.append((study.uid, error.reason))
            continue
        if scans is None:
            readings.left_out.append((study.uid, "no reference"))
            continue
        for name, scan in scans.items():
            readings.scans[name].append(scan)
        readings.dates += [study.date] if study.date else []
    return readings


def _read(bundles: Sequence[Bundle], study: Study, rules: Rules, threads: int | None) -> dict[str, Scan] | None:
    """One study by each bundle; None where the reference says nothing."""
    headers = study.headers()
    volumes: dict[str, Volume] = {}
    scans = {}
    for bundle in bundles:
        chosen = select(bundle.manifest, headers)
        series = str(chosen[0].SeriesInstanceUID)
        if series not in volumes:
            volumes[series] = load(chosen, _pixels, decoders(threads))
        truth = reference(study, volumes[series], headers, rules)
        if truth is None:
            return None
        scans[bundle.manifest.name] = read_scan(bundle, study.uid, volumes[series], truth, threads)
    return scans


def _pixels(header: Dataset) -> Dataset:
    return pydicom.dcmread(Path(str(header.filename)))
