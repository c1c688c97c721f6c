"""What the demo tells: findings beside the truth, where everything is, how long each step took."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.table import Table

from dicom_sr.findings import Finding, Point
from server.cli.output import out

#: 81827009 SCT "Diameter": the mean of the axes.
_DIAMETER = "81827009"


@dataclass(frozen=True, kw_only=True, slots=True)
class Truth:
    """One nodule of a phantom's truth.json."""

    center_mm: Point
    diameter_mm: float
    density: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One finding, beside the truth that it hits."""

    tracking_uid: str
    center_mm: Point | None
    diameter_mm: float | None
    confidence: float | None
    truth_diameter_mm: float | None


@dataclass(kw_only=True, slots=True)
class Report:
    """The object that ``demo --json`` prints."""

    study_uid: str
    sr_uids: list[str] = field(default_factory=list)
    findings: list[Row] = field(default_factory=list)
    missed: list[Truth] = field(default_factory=list)
    resources: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    page: str = ""

    def as_json(self) -> dict[str, object]:
        """Plain values."""
        return asdict(self)


def truth_of(folder: Path) -> list[Truth]:
    """The truth beside a phantom's images; empty for any other folder."""
    path = folder / "truth.json"
    if not path.is_file():
        return []
    nodules = json.loads(path.read_text(encoding="utf-8"))["nodules"]
    return [
        Truth(center_mm=tuple(n["center_mm"]), diameter_mm=n["diameter_mm"], density=n["density"]) for n in nodules
    ]  # fmt: skip


def compare(findings: Sequence[Finding], truths: Sequence[Truth]) -> tuple[list[Row], list[Truth]]:
    """Findings with the truth each hits by LUNA16's rule (within its radius), and what is missed."""
    left = list(truths)
    rows = []
    for finding in sorted(findings, key=lambda one: -(one.confidence or 0)):
        hit = _nearest_hit(finding.center_mm, left)
        if hit is not None:
            left.remove(hit)
        diameter = next((m.value for m in finding.measurements if m.concept.value == _DIAMETER), None)
        rows.append(
            Row(
                tracking_uid=finding.tracking_uid,
                center_mm=finding.center_mm,
                diameter_mm=diameter,
                confidence=finding.confidence,
                truth_diameter_mm=None if hit is None else hit.diameter_mm,
            )
        )
    return rows, left


def _nearest_hit(center: Point | None, truths: Sequence[Truth]) -> Truth | None:
    if center is None:
        return None
    near = [truth for truth in truths if math.dist(center, truth.center_mm) <= truth.diameter_mm / 2]
    return min(near, key=lambda truth: math.dist(center, truth.center_mm), default=None)


def show(report: Report, *, has_truth: bool) -> None:
    """Prints the report for people."""
    table = Table(title=f"Findings in study {report.study_uid}")
    for column in ("x, y, z (mm)", "diameter (mm)", "truth (mm)", "confidence", "Tracking UID"):
        table.add_column(column, overflow="fold")
    for row in report.findings:
        table.add_row(
            _point(row.center_mm),
            _mm(row.diameter_mm),
            _truth(row, has_truth),
            _mm(row.confidence, 2),
            row.tracking_uid,
        )
    out.print(table)
    for missed in report.missed:
        out.print(f"missed: {missed.density}, {missed.diameter_mm:.1f} mm at {_point(missed.center_mm)}")
    for uid in report.sr_uids:
        out.print(f"SR   {uid}", highlight=False, soft_wrap=True)
    for url in report.resources:
        out.print(f"FHIR {url}", highlight=False, soft_wrap=True)
    for step, seconds in report.seconds.items():
        out.print(f"{seconds:7.2f} s  {step}", highlight=False)
    out.print(f"Results page: {report.page}", highlight=False)


def _truth(row: Row, has_truth: bool) -> str:
    if row.truth_diameter_mm is not None:
        return f"{row.truth_diameter_mm:.1f}"
    return "false positive" if has_truth else "unknown"


def _mm(value: float | None, digits: int = 1) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _point(point: Point | None) -> str:
    return "" if point is None else ", ".join(f"{value:.1f}" for value in point)
