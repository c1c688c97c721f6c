"""What the results page shows, as frozen values."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dicom_sr.findings import Finding
from server.store.results import Arrival, DocumentRow
from server.store.reviews import Share

Resource = dict[str, Any]

#: FHIR TaskStatus of work that is not over.
_OPEN = frozenset({"draft", "requested", "received", "accepted", "ready", "in-progress", "on-hold"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Label:
    """What the manifest of an adapter says to people."""

    title: str
    intended_use: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Graphic:
    """One line or outline on the key slice: (column, row) pairs, pixels."""

    #: outline, long or short.
    kind: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class KeySlice:
    """The image that a finding is shown on."""

    series: str
    instance: str
    rows: int
    columns: int
    #: Position of the slice in the volume, from 1, and how many there are.
    number: int
    slices: int
    graphics: tuple[Graphic, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class FindingView:
    """One finding."""

    finding: Finding
    #: None where the report has no graphic, or its image is not stored here.
    key_slice: KeySlice | None
    #: The program or person who reported it.
    author: str
    observation: str
    body_structure: str


@dataclass(frozen=True, kw_only=True, slots=True)
class AnalysisView:
    """One Task and the analysis that came of it, or a report that somebody else sent."""

    #: Empty for somebody else's report.
    task: str
    adapter: str
    title: str
    #: Who verified it; empty for nobody.
    reviewer: str
    version: str
    intended_use: str
    #: FHIR TaskStatus, or "superseded" when a newer analysis of the study took its place.
    state: str
    reason: str
    started: datetime | None
    seconds: float | None
    provider: str
    #: None until it is known.
    count: int | None
    report: str
    #: The report's own words.
    conclusion: str
    #: The Observations that the report consists of.
    results: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyView:
    """One line of the list."""

    arrival: Arrival
    #: Seconds of quiet still missing; 0 when the study is complete.
    quiet_left: float
    imaging_study: str
    analyses: tuple[AnalysisView, ...]

    @property
    def state(self) -> str:
        """receiving, complete, working, failed, rejected or done; results that come in are no new receiving."""
        current = [one for one in self.analyses if one.state != "superseded"]
        if not current:
            return "complete" if self.arrival.complete else "receiving"
        if any(one.state in _OPEN for one in current):
            return "working"
        return next((one.state for one in current if one.state in {"failed", "rejected"}), "done")

    @property
    def count(self) -> int | None:
        """Findings of the analyses that hold; None where there is no result."""
        counts = [one.count for one in self.analyses if one.state == "completed" and one.count is not None]
        return sum(counts) if counts else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """A FHIR resource of this server."""

    type: str
    id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyDetail:
    """Everything about one study."""

    study: StudyView
    findings: tuple[FindingView, ...]
    #: Observations that were derived from the findings, CarePlans, ServiceRequests and the like.
    consequences: tuple[Resource, ...]
    documents: tuple[DocumentRow, ...]
    #: How people judged the findings of the models that read it, over all studies.
    shares: tuple[Share, ...]
    #: Every FHIR resource named on the page.
    references: tuple[Reference, ...]
