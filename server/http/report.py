"""The report page, a page for each lesion over all studies, and what they draw: surfaces, and the report as a PDF."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from dicom_sr import codes
from server.errors import BadRequest
from server.http import report_pdf
from server.http.access import AccessOfRequest
from server.http.drawing import Drawing, crop, words_of
from server.http.wording import LANGUAGES
from server.workflow.report_view import Number, Point
from server.workflow.reporter import Reporter
from terminology.codings import Coding, from_fhir
from terminology.private_scheme import SOLID_PART_DIAMETER, SOLID_PART_VOLUME

#: The curve's drawing area with its margins, in its own units.
_WIDTH, _HEIGHT, _LEFT, _ACROSS, _BESIDE = 640.0, 210.0, 64.0, 26.0, 46.0
#: What a date takes of it.
_DATE = 86.0
#: What a lesion's curves are of: its sizes, the largest first.
_SIZES = (codes.VOLUME, codes.DIAMETER, codes.LONG_AXIS, codes.SHORT_AXIS, SOLID_PART_VOLUME, SOLID_PART_DIAMETER)


def router(reporter: Reporter, access: AccessOfRequest, drawing: Drawing) -> APIRouter:
    """The pages of a report."""
    page = _Report(reporter, access, drawing)
    routes = APIRouter(tags=["results page"])
    add: Callable[..., None] = routes.add_api_route
    add("/report/{report}", page.report, methods=["GET"], summary="A report for people, with key images and 3-D view.")
    add("/report/{report}/pdf", page.pdf, methods=["GET"], summary="The report as it stands, as a PDF.")
    add("/report/{report}/surfaces", page.surfaces, methods=["GET"], summary="Lungs and findings as triangles.")
    add("/lesion/{lesion}", page.lesion, methods=["GET"], summary="A lesion over all studies.")
    return routes


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """One size over time."""

    concept: Coding
    unit: str
    #: (FHIR dateTime, as it stands in the resource, x, y).
    points: tuple[tuple[str, Number, float, float], ...]
    #: (what it says, y) of the lines across.
    levels: tuple[tuple[str, float], ...]
    #: x of the points whose date and value are written out, so that none lies over another; the newest is.
    labelled: tuple[float, ...]


class _Report:
    def __init__(self, reporter: Reporter, access: AccessOfRequest, drawing: Drawing) -> None:
        self._reporter = reporter
        self._access = access
        self._drawing = drawing

    def report(self, request: Request, report: str, lang: str | None = None) -> Response:
        """Who, what was found, what follows."""
        document = self._reporter.document(self._access(request), report)
        return self._drawing.page(request, "report.html", lang=lang, document=document, said=report_pdf.said)

    def pdf(self, request: Request, report: str, lang: str | None = None) -> Response:
        """The newest version on paper; the stored documents are those of verified versions."""
        access = self._access(request)
        if lang is not None and lang not in LANGUAGES:
            raise BadRequest(f"lang is one of {', '.join(LANGUAGES)}.", expression="lang")
        document = self._reporter.document(access, report)
        pictures = {
            line.observation: drawn
            for line in document.lines
            if line.key_slice
            and (drawn := self._reporter.picture(access, document.patient.study, line, crop(line.key_slice)))
        }
        return Response(
            report_pdf.draw(document, pictures, words_of(request, lang).language),
            media_type="application/pdf",
            headers={"Cache-Control": "no-store"},
        )

    def surfaces(self, request: Request, report: str) -> Response:
        """The surfaces in patient coordinates, mm."""
        found = self._reporter.shapes(self._access(request), report)
        return JSONResponse([shape.plain() for shape in found], headers={"Cache-Control": "no-store"})

    def lesion(self, request: Request, lesion: str, lang: str | None = None) -> Response:
        """What was measured at each time, with the image, and its sizes as curves."""
        resource, points = self._reporter.history(self._access(request), lesion)
        kind = resource["morphology"]["coding"][0]
        values: dict[str, Any] = {"lesion": resource, "curves": curves(points), "kind": from_fhir(kind)}
        return self._drawing.page(
            request, "lesion.html", lang=lang, width=_WIDTH, height=_HEIGHT, left=_LEFT, points=points,
            said=report_pdf.said, **values,
        )  # fmt: skip


def curves(points: tuple[Point, ...]) -> tuple[Curve, ...]:
    """A curve for each size that was measured."""
    made = []
    for concept in _SIZES:
        found = [(point.when, one) for point in points for one in point.numbers if one.concept == concept]
        for unit in sorted({one.unit for _, one in found}):
            made.append(_curve(concept, unit, [(when, one) for when, one in found if one.unit == unit]))
    return tuple(made)


def _curve(concept: Coding, unit: str, found: list[tuple[str, Number]]) -> Curve:
    days = [_days(when) for when, _ in found]
    first, span = min(days), (max(days) - min(days)) or 1.0
    step = _step(max(float(one.value) for _, one in found))
    top = step * math.ceil(max(float(one.value) for _, one in found) * 1.05 / step)

    def height(value: float) -> float:
        return round(_ACROSS + (_HEIGHT - 2 * _ACROSS) * (1 - value / top), 1)

    wide = _WIDTH - _LEFT - 2 * _BESIDE
    middle = 0.5 if max(days) == first else 0.0
    placed = tuple(
        (when, one, round(_LEFT + _BESIDE + wide * ((day - first) / span + middle), 1), height(float(one.value)))
        for (when, one), day in zip(found, days, strict=True)
    )
    levels = tuple((f"{step * n:g}", height(step * n)) for n in range(round(top / step) + 1))
    return Curve(concept=concept, unit=unit, points=placed, levels=levels, labelled=_apart(x for _, _, x, _ in placed))


def _apart(places: Iterable[float]) -> tuple[float, ...]:
    """As many as stand clear of each other, the rightmost first."""
    kept: list[float] = []
    for x in sorted(places, reverse=True):
        if not kept or kept[-1] - x >= _DATE:
            kept.append(x)
    return tuple(kept)


def _step(largest: float) -> float:
    """A round number of which two to five reach the largest value: 1, 2 or 5 times a power of ten."""
    rough = max(largest, 1e-6) / 4
    power: float = 10.0 ** math.floor(math.log10(rough))
    return next(power * n for n in (1, 2, 5, 10) if power * n >= rough)


def _days(when: str) -> float:
    """A FHIR dateTime in days; a year or month counts from its start."""
    text = when if len(when) > 7 else f"{when}-01" if len(when) == 7 else f"{when}-01-01"
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return 0.0
    return moment.toordinal() + (moment.hour * 60 + moment.minute) / 1440
