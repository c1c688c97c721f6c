"""Every study read by every system, beside its reference."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset

from ai_adapters.evaluation.froc import Scan
from ai_adapters.evaluation.reading import read_scan, reported_scan
from ai_adapters.selection import select
from ai_adapters.volume import UnusableSeries, Volume, decoders, load
from dicom_sr.findings import Findings
from server.cli.evaluate.studies import Rules, Study, findings_of, reference
from server.cli.evaluate.system import Evaluated


@dataclass(kw_only=True)
class Readings:
    """What came of it."""

    #: By the system's name, all in the order of the studies.
    scans: dict[str, list[Scan]]
    #: StudyInstanceUID and why it was left out, for every system.
    left_out: list[tuple[str, str]] = field(default_factory=list)
    dates: list[str] = field(default_factory=list)


def read_all(
    systems: Sequence[Evaluated],
    studies: Sequence[Study],
    rules: Rules,
    progress: Callable[[str], None],
    threads: int | None = None,
) -> Readings:
    """Read study by study; one that a system can't read, or that has no reference, is left out for all of them."""
    readings = Readings(scans={one.name: [] for one in systems})
    for number, study in enumerate(studies):
        progress(f"study {number + 1} of {len(studies)}")
        try:
            scans = _read(systems, study, rules, threads)
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


def _read(systems: Sequence[Evaluated], study: Study, rules: Rules, threads: int | None) -> dict[str, Scan] | None:
    """One study by each system; None where the reference says nothing."""
    headers = study.headers()
    volumes: dict[str, Volume] = {}
    scans = {}
    for one in systems:
        own = _own_reports(one, study, headers)
        chosen = select(one.bundle.manifest, headers) if one.bundle is not None else _reported_series(own, headers)
        series = str(chosen[0].SeriesInstanceUID)
        if series not in volumes:
            volumes[series] = load(chosen, _pixels, decoders(threads))
        truth = reference(study, volumes[series], headers, rules)
        if truth is None:
            return None
        if one.bundle is not None:
            scans[one.name] = read_scan(one.bundle, study.uid, volumes[series], truth, threads)
        else:
            scans[one.name] = reported_scan(study.uid, own, volumes[series], truth, headers)
    return scans


def _own_reports(one: Evaluated, study: Study, headers: Sequence[Dataset]) -> list[Findings]:
    """What a system that isn't run reported of a study; raises UnusableSeries where it reported nothing."""
    if one.reports is None:
        return []
    found = findings_of(one.reports[study.uid], headers) if study.uid in one.reports else []
    if not found:
        raise UnusableSeries(f"no report by {one.name}")
    return found


def _reported_series(reports: Sequence[Findings], headers: Sequence[Dataset]) -> list[Dataset]:
    """The series that the reports are of: the one that most of their images lie in."""
    known = {str(header.SOPInstanceUID): str(header.SeriesInstanceUID) for header in headers}
    named = Counter(
        known[image.sop_instance_uid] for one in reports for image in one.sources if image.sop_instance_uid in known
    )
    if not named:
        raise UnusableSeries("the reports name no image of the study")
    series = named.most_common(1)[0][0]
    return [header for header in headers if header.SeriesInstanceUID == series]


def _pixels(header: Dataset) -> Dataset:
    return pydicom.dcmread(Path(str(header.filename)))
