"""The studies of a folder, and what their references say; one study's headers and pixels at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from ai_adapters.evaluation import lidc
from ai_adapters.evaluation.reference import Reference, of_lidc, of_reports
from ai_adapters.volume import Volume
from dicom_sr.errors import UnreadableReport
from dicom_sr.findings import Findings
from dicom_sr.read import predecessors
from dicom_sr.read import read as read_report
from dicom_sr.read_seg import read_seg
from server.errors import BadRequest, Unprocessable

_SR, _SEG = "1.2.840.10008.5.1.4.1.1.88.", "1.2.840.10008.5.1.4.1.1.66.4"
_INDEX_TAGS = ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "StudyDate"]


@dataclass(kw_only=True)
class Study:
    """Where the instances of one study lie."""

    uid: str
    #: DA of the study, empty where unknown.
    date: str = ""
    images: list[Path] = field(default_factory=list)
    reports: list[Path] = field(default_factory=list)
    segmentations: list[Path] = field(default_factory=list)
    lidc: Path | None = None

    def headers(self) -> list[Dataset]:
        """The images without their pixels, each knowing its file; those of the LIDC reading's series where it is."""
        found = []
        series = lidc.reading(self.lidc).series_instance_uid if self.lidc else ""
        for path in self.images:
            header = pydicom.dcmread(path, stop_before_pixels=True)
            if not series or header.get("SeriesInstanceUID") == series:
                header.filename = str(path)
                found.append(header)
        return found


def find(images: Path, references: Sequence[Path]) -> list[Study]:
    """The studies of a folder with the reports and LIDC readings that lie in the references' folders (or are files)."""
    studies: dict[str, Study] = {}
    for path, header in _instances([images]):
        if not str(header.SOPClassUID).startswith((_SR, _SEG)):
            study = studies.setdefault(str(header.StudyInstanceUID), Study(uid=str(header.StudyInstanceUID)))
            study.images.append(path)
            study.date = study.date or str(header.get("StudyDate") or "")
    if not studies:
        raise BadRequest(f"There is no DICOM image in {images}.", expression="studies")
    for path, header in _instances(references):
        known = studies.get(str(header.StudyInstanceUID))
        if known is not None and str(header.SOPClassUID).startswith(_SR):
            known.reports.append(path)
        elif known is not None and str(header.SOPClassUID) == _SEG:
            known.segmentations.append(path)
    for path in _files(references, ".xml"):
        uid = _reading(path).study_instance_uid
        if uid in studies:
            studies[uid].lidc = path
    return [studies[uid] for uid in sorted(studies)]


def reports(folder: Path) -> dict[str, Study]:
    """The reports and segmentations in a folder, by StudyInstanceUID."""
    found: dict[str, Study] = {}
    for path, header in _instances([folder]):
        study = found.setdefault(str(header.StudyInstanceUID), Study(uid=str(header.StudyInstanceUID)))
        if str(header.SOPClassUID).startswith(_SR):
            study.reports.append(path)
        elif str(header.SOPClassUID) == _SEG:
            study.segmentations.append(path)
    return {uid: study for uid, study in found.items() if study.reports}


def _files(places: Sequence[Path], suffix: str = "") -> Iterator[Path]:
    for place in places:
        if not place.exists():
            raise BadRequest(f"There is no {place}.", expression="reference")
        inside = sorted(place.rglob("*")) if place.is_dir() else [place]
        yield from (path for path in inside if path.is_file() and path.name.lower().endswith(suffix))


def _instances(places: Sequence[Path]) -> Iterator[tuple[Path, Dataset]]:
    """Every DICOM instance, with the few attributes that tell where it belongs."""
    for path in _files(places):
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_INDEX_TAGS)
        except InvalidDicomError:
            continue
        if header.get("SOPClassUID") and header.get("StudyInstanceUID"):
            yield path, header


def _reading(path: Path) -> lidc.Reading:
    try:
        return lidc.reading(path)
    except lidc.BrokenReading as error:
        raise Unprocessable(f"The reading is refused: {error}.", expression=path.name) from error


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What counts as the reference."""

    #: Readers who must have marked a lesion; None for more than half.
    readers: int | None
    #: Whether a study without a reference is one without lesions.
    unreported_is_empty: bool
    #: Device UIDs of the systems that are evaluated: their own reports are no reference.
    systems: frozenset[str]


def reference(study: Study, volume: Volume, headers: Sequence[Dataset], rules: Rules) -> Reference | None:
    """What the reference says of a study; None where it says nothing.

    A LIDC reading before reports; reports by people before those of programs; never a report that another one follows.
    """
    if study.lidc is not None:
        readers = lidc.reading(study.lidc).readers
        return of_lidc(study.lidc, volume, readers // 2 + 1 if rules.readers is None else rules.readers)
    reports = findings_of(study, headers, rules.systems)
    people = [report for report in reports if report.person]
    if not reports and not rules.unreported_is_empty:
        return None
    return of_reports(people or reports, volume, headers, rules.readers)


def findings_of(study: Study, headers: Sequence[Dataset], apart_from: frozenset[str] = frozenset()) -> list[Findings]:
    """The reports of a study that are the newest of their kind, with their masks; others than SRs of findings left."""
    datasets = {str(dataset.SOPInstanceUID): dataset for dataset in map(pydicom.dcmread, study.reports)}
    followed = {uid for dataset in datasets.values() for uid in predecessors(dataset)}
    found = []
    for uid, dataset in sorted(datasets.items()):
        try:
            report = read_report(dataset, images=headers)
        except UnreadableReport:
            # Dose reports, key object selections: SRs, but none of findings.
            continue
        own = report.person is None and report.algorithm is not None and report.algorithm.device_uid in apart_from
        if uid not in followed and not own:
            found.append(_with_masks(report, study))
    return found


def _with_masks(report: Findings, study: Study) -> Findings:
    for path in study.segmentations:
        segmentation = pydicom.dcmread(path)
        tracked = {str(item.get("TrackingUID", "")) for item in segmentation.get("SegmentSequence") or ()}
        wanted = tuple(finding for finding in report.findings if finding.tracking_uid in tracked)
        if wanted and segmentation.get("SegmentationType") == "BINARY":
            try:
                report = read_seg(segmentation, report)
            except UnreadableReport as error:
                raise Unprocessable(f"The segmentation is refused: {error}.", expression=path.name) from error
    return report
