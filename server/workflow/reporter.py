"""A report with everything that goes on paper: who, which study, findings with their images, what follows, by whom."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dicom_sr.findings import Findings
from server.errors import NotFound
from server.imaging.pixels import PixelData
from server.imaging.rendering import Rendering, Viewport
from server.imaging.retrieve import Retrieve
from server.repository import Repository
from server.security.access import Access
from server.store import analyses
from server.store.analyses import Analysis
from server.store.database import Database
from server.store.results import Arrival
from server.workflow import report_view
from server.workflow.comparison import compared_study
from server.workflow.images import StudyImages
from server.workflow.publish import findings_of
from server.workflow.report_view import Line, Point
from server.workflow.results import Results

if TYPE_CHECKING:
    from server.workflow.shapes import Shape

Resource = dict[str, Any]
Box = tuple[float, float, float, float]

#: Centre and width in HU by which lungs are read.
_LUNG = (-600.0, 1500.0, "linear")
_PICTURE = 480


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """A report on paper."""

    #: Id of the DiagnosticReport.
    report: str
    status: str
    #: FHIR instant.
    issued: str
    #: Who verified it; empty for nobody.
    reviewer: str
    #: Who found it: the program's name and version.
    author: str
    patient: Arrival
    #: Study Date of the study compared with; empty for none.
    compared: str
    lines: tuple[Line, ...]
    #: What a person said besides.
    comments: tuple[str, ...]
    #: What follows for the patient; what was concluded of one lesion alone is with its line.
    consequences: tuple[Resource, ...]
    #: SOPInstanceUID of the SR.
    sr_instance: str
    #: What it says.
    found: Findings | None


@dataclass(frozen=True, kw_only=True)
class Reporter:
    """Everything that putting a report together needs."""

    database: Database
    repository: Repository
    results: Results
    retrieve: Retrieve
    pixels: PixelData

    def document(self, access: Access, report: str) -> Document:
        """The newest version of a report; NotFound where there is no structured report behind it."""
        resource = self.repository.read(access, "DiagnosticReport", report)
        newest = self._newest(access, report)
        detail = self.results.study(access, newest.study)
        if detail is None:
            raise NotFound("The study of this report is not here.")
        found = findings_of(newest)
        algorithm = found.algorithm if found else None
        lines, consequences = report_view.shared_out(
            report_view.lines(self.repository, access, resource, detail.findings), detail.consequences
        )
        return Document(
            report=report,
            status=str(resource["status"]),
            issued=str(resource.get("issued", "")),
            reviewer=found.person or "" if found and found.verified else "",
            author=f"{algorithm.name} {algorithm.version}".strip()
            if algorithm
            else (found.person or "" if found else ""),
            patient=detail.study.arrival,
            compared=self._compared(access, found),
            lines=lines,
            comments=found.comments if found else (),
            consequences=consequences,
            sr_instance=newest.sr_instance,
            found=found,
        )

    def _compared(self, access: Access, found: Findings | None) -> str:
        study = compared_study(found) if found is not None else ""
        if not study:
            return ""
        with self.database.reading() as uow:
            return analyses.date_of(uow, access.tenant, study)[0]

    def history(self, access: Access, lesion: str) -> tuple[Resource, tuple[Point, ...]]:
        """The BodyStructure of a lesion, and the lesion at each time, with its key slice where the report is here."""
        resource = self.repository.read(access, "BodyStructure", lesion)
        points = report_view.history(self.repository, access, lesion)
        return resource, tuple(self._drawn(access, point) for point in points)

    def _drawn(self, access: Access, point: Point) -> Point:
        try:
            document = self.document(access, point.report) if point.report else None
        except NotFound:
            # A report without a structured report behind it has no image to show.
            document = None
        found = document.lines if document is not None else ()
        line = next((one for one in found if one.observation == point.line.observation), point.line)
        patient = document.patient if document is not None else None
        return replace(point, line=replace(line, numbers=point.numbers), patient=patient)

    def shapes(self, access: Access, report: str) -> "list[Shape]":
        """Lungs and findings as surfaces."""
        # Loads scipy's filters, which nothing else in the web process needs.
        from server.workflow.shapes import shapes

        newest = self._newest(access, report)
        found = findings_of(newest)
        if found is None:
            raise NotFound("The report has no findings.")
        return shapes(self.pixels, access, StudyImages.of(self.retrieve, access, newest.study), found)

    def picture(self, access: Access, study: str, line: Line, box: Box) -> bytes | None:
        """The part of a finding's key slice as a JPEG; None where the image is not here."""
        if line.key_slice is None:
            return None
        place = next(iter(self.retrieve.locate(access, study, line.key_slice.series, line.key_slice.instance)))
        view = Viewport(
            width=_PICTURE, height=_PICTURE, left=box[0], top=box[1], region_width=box[2], region_height=box[3]
        )
        return self.pixels.picture(access, place, [1], Rendering(viewport=view, window=_LUNG))

    def _newest(self, access: Access, report: str) -> Analysis:
        access.require("read")
        with self.database.reading() as uow:
            newest = analyses.head(uow, access.tenant, report)
        if newest is None:
            raise NotFound(f"There is no structured report behind DiagnosticReport/{report}.")
        return newest
