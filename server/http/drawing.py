"""How pages are drawn: templates, the reader's language, the headers that keep a page to itself."""

from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from server.http import wording
from server.http.wording import Wording
from server.settings import Settings
from server.workflow.result_view import KeySlice
from server.workflow.results import LISTED

LANGUAGE_COOKIE = "hutong_language"
HERE = Path(__file__).parent
_POLICY = (
    "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
)
#: Centre and width in HU by which lungs are read.
_LUNG_WINDOW = "-600,1500,linear"
#: Side of the square around the smallest lesion, pixels: it is shown large, with what lies beside it.
_SMALLEST = 40.0


class Drawing:
    """The templates, with what every page shows."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._templates = environment()

    def page(
        self, request: Request, template: str, *, lang: str | None = None, status: int = 200, **values: Any
    ) -> HTMLResponse:
        """A page in the reader's language."""
        return self.html(template, words_of(request, lang), status=status, **values)

    def html(self, template: str, words: Wording, *, status: int = 200, **values: Any) -> HTMLResponse:
        """A page in a language."""
        text = self._templates.get_template(template).render(
            words=words, settings=self._settings, listed=LISTED, **values
        )
        headers = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-store", "Vary": "Accept-Language, Cookie"}
        return HTMLResponse(text, status_code=status, headers=headers)


def words_of(request: Request, asked: str | None = None) -> Wording:
    """The words of the language that was asked for, else the one kept, else the browser's."""
    kept = request.cookies.get(LANGUAGE_COOKIE)
    return Wording(language=wording.language(asked, kept, request.headers.get("accept-language", "")))


def environment() -> Environment:
    """The templates, with everything escaped that is not markup of ours, and every name checked."""
    templates = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(date=wording.date, moment=wording.moment, unit=wording.unit, instant=wording.instant)
    templates.globals.update(facts=wording.facts, number=wording.number, crop=crop, window=_LUNG_WINDOW)
    return templates


def crop(key_slice: KeySlice) -> tuple[float, float, float, float]:
    """The square around a lesion that is shown large: x, y, width, height in pixels, inside the image."""
    points = [point for graphic in key_slice.graphics for point in graphic.points]
    columns, rows = zip(*points, strict=True)
    extent = max(max(columns) - min(columns), max(rows) - min(rows))
    side = min(max(6 * extent, _SMALLEST), float(min(key_slice.rows, key_slice.columns)))
    x = min(max((min(columns) + max(columns) - side) / 2, 0.0), key_slice.columns - side)
    y = min(max((min(rows) + max(rows) - side) / 2, 0.0), key_slice.rows - side)
    return round(x, 1), round(y, 1), round(side, 1), round(side, 1)
