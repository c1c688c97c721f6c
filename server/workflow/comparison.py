"""A study's findings against another study of the same patient: which one, and how their places map onto each other.

The nearest earlier study is compared with. Where there is none, but a later one is known already (the prior came in
late), its lesions lend their names, so that a Tracking UID never changes.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date

from pydicom import Dataset

from ai_adapters import tracking
from ai_adapters.growth import Repeatability
from ai_adapters.matching import Place
from ai_adapters.tracking import Mapping
from ai_adapters.volume import UnusableSeries, Volume, load
from dicom_sr.errors import UnreadableReport
from dicom_sr.findings import Findings
from dicom_sr.serialise import deserialise
from server.errors import NotAcceptable, NotFound, Unavailable, Unprocessable
from server.imaging.retrieve import Retrieve
from server.security.access import system
from server.store import analyses
from server.store.analyses import Analysis, Neighbour
from server.store.database import Database, UnitOfWork
from server.workflow.images import StudyImages

#: The job that compares an analysis anew; its arguments are ``tenant`` and ``key``.
COMPARE = "compare"
#: The algorithm's parameter that names the findings compared with.
COMPARED_KEY = "compared findings"


@dataclass(frozen=True, kw_only=True)
class Other:
    """Another study of the same patient, with what is found on it."""

    study: str
    #: Digest of the analyses' keys.
    key: str
    findings: Findings
    #: From that study to this one; negative for a later one.
    days: float


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Another study laid onto this one; without ``where`` it could not be, and ``reason`` says why."""

    other: Other
    where: Mapping | None = None
    reason: str = ""

    def known(self) -> tuple[Place, ...]:
        """Where its lesions lie in this study."""
        return tracking.places(self.other.findings, self.where) if self.where is not None else ()

    def told(self, findings: Findings, repeatability: Repeatability | None) -> Findings:
        """The findings with the names of the other study's lesions and, after an earlier one, what changed."""
        if self.where is None:
            return _by(tracking.not_compared(findings, self.reason), self.other.key)
        if self.other.days < 0:
            return tracking.renamed(tracking.without_comparison(findings), self.other.findings, self.where)
        told = tracking.compared(
            findings, self.other.findings, self.where, days=self.other.days, repeatability=repeatability
        )
        return _by(told, self.other.key)


@dataclass(frozen=True, kw_only=True)
class Comparer:
    """Everything that comparing needs."""

    database: Database
    retrieve: Retrieve
    threads: int | None = None

    def compare(self, tenant: int, study: str, volume: Volume) -> Comparison | None:
        """The study's neighbour in time, laid onto ``volume``; None where it has none."""
        with self.database.reading() as uow:
            other = neighbour(uow, tenant, study)
        return None if other is None else self._laid(tenant, other, volume)

    def _laid(self, tenant: int, other: Other, volume: Volume) -> Comparison:
        # Loads SimpleITK, which the other processes don't need.
        from ai_adapters.registration import NotComparable, register

        try:
            images = StudyImages.of(self.retrieve, system(tenant), other.study)
            theirs = load(_series(images, other.findings), images.pixels)
            return Comparison(other=other, where=register(theirs, volume, self.threads))
        except (NotComparable, UnusableSeries) as error:
            return Comparison(other=other, reason=error.reason)
        except (NotFound, NotAcceptable, Unprocessable):
            return Comparison(other=other, reason="the images of the other study can't be read")


def neighbour(uow: UnitOfWork, tenant: int, study: str) -> Other | None:
    """The nearest earlier study with findings, else the nearest later one; studies without a date have no place."""
    own = analyses.date_of(uow, tenant, study)
    rows = [row for row in analyses.neighbours(uow, tenant, study) if _day(row.study_date) is not None]
    if _day(own[0]) is None or not rows:
        return None
    earlier = [row for row in rows if (row.study_date, row.study_time) < own]
    chosen = earlier[-1].study if earlier else next((row.study for row in rows if _when(row) > own), "")
    return _other([row for row in rows if row.study == chosen], own[0]) if chosen else None


def followers(uow: UnitOfWork, tenant: int, study: str) -> list[Neighbour]:
    """Our own analyses of the study that follows this one: its comparison is another one now."""
    own = analyses.date_of(uow, tenant, study)
    later = [row for row in analyses.neighbours(uow, tenant, study) if _day(row.study_date) and _when(row) > own]
    return [row for row in later if row.study == later[0].study and row.task]


def compare_later(uow: UnitOfWork, tenant: int, study: str, published: Analysis | None = None) -> None:
    """Defers a comparison for whoever these findings, just published, are news to.

    That is the study that follows, and this one itself where its neighbour's findings came in while it was analysed.
    """
    # Two studies of a patient may be published at the same time, and neither would see the other.
    uow.lock("compare", tenant, analyses.patient_of(uow, tenant, study))
    stale = [row.key for row in followers(uow, tenant, study)]
    if published is not None and published.findings is not None:
        other = neighbour(uow, tenant, study)
        if other is not None and other.days >= 0 and compared_key(deserialise(published.findings)) != other.key:
            stale.append(published.key)
    for key in stale:
        uow.defer(COMPARE, queue="analysis", lock=f"compare/{tenant}/{key}", tenant=tenant, key=key)


def compared_key(findings: Findings) -> str:
    """Digest of the findings that these were compared with; empty for none."""
    return _parameter(findings, COMPARED_KEY)


def compared_study(findings: Findings) -> str:
    """StudyInstanceUID of the study that these were compared with; empty for none."""
    return _parameter(findings, tracking.COMPARED_WITH)


def _parameter(findings: Findings, wanted: str) -> str:
    parameters = findings.algorithm.parameters if findings.algorithm is not None else ()
    return next((value for name, value in parameters if name == wanted), "")


def _by(findings: Findings, key: str) -> Findings:
    if findings.algorithm is None:
        return findings
    kept = tuple(pair for pair in findings.algorithm.parameters if pair[0] != COMPARED_KEY)
    return replace(findings, algorithm=replace(findings.algorithm, parameters=(*kept, (COMPARED_KEY, key))))


def _other(rows: Sequence[Neighbour], today: str) -> Other:
    first, last = _day(rows[0].study_date), _day(today)
    keys = "\n".join(sorted(row.key for row in rows))
    return Other(
        study=rows[0].study,
        key=hashlib.sha256(keys.encode()).hexdigest(),
        findings=_together([_read(row) for row in rows]),
        days=float((last - first).days) if first is not None and last is not None else 0.0,
    )


def _together(reports: Iterable[Findings]) -> Findings:
    """All lesions of one study: a person's report first, of the others what lies elsewhere."""
    ordered = sorted(reports, key=lambda one: (not one.verified, one.person is None))
    whole = max(ordered, key=lambda one: len(one.sources))
    found = list(ordered[0].findings)
    for report in ordered[1:]:
        if report.frame_of_reference_uid != ordered[0].frame_of_reference_uid:
            continue
        known = tracking.renamed(report, replace(ordered[0], findings=tuple(found)), lambda point: point)
        names = {one.tracking_uid for one in found}
        found += [one for one in known.findings if one.tracking_uid not in names]
    return replace(ordered[0], findings=tuple(found), sources=whole.sources)


def _read(row: Neighbour) -> Findings:
    try:
        return deserialise(row.findings)
    except UnreadableReport as error:
        raise Unavailable(f"The findings of an earlier analysis can't be read: {error}") from error


def _series(images: StudyImages, findings: Findings) -> list[Dataset]:
    """The whole series that the findings were made on; a person's report names some of its images only."""
    named = [source.series_instance_uid for source in findings.sources]
    longest = max(set(named), key=named.count, default="")
    return [header for header in images.headers() if str(header.SeriesInstanceUID) == longest]


def _when(row: Neighbour) -> tuple[str, str]:
    return row.study_date, row.study_time


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
