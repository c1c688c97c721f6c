"""A report as a PDF (ISO 32000) in English or Chinese: text that can be searched, key images with their marks drawn."""

import io
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from server.http import wording
from server.http.drawing import crop
from server.http.wording import Wording
from server.workflow.report_view import Line
from server.workflow.reporter import Document

#: TrueType fonts with Chinese, which are embedded: Debian's fonts-droid-fallback and fonts-wqy-zenhei.
FONTS = (
    Path("/usr/share/fonts/truetype/droid/DroidSansFallbackFull.ttf"),
    Path("/usr/share/fonts/truetype/wqy/wqy-zenhei.ttc"),
)
#: Adobe's Chinese font of PDF readers, where none can be embedded.
_UNEMBEDDED = "STSong-Light"
_LATIN = "Helvetica"
_WIDTH, _PICTURE = 470, 150
_COLOURS = {"outline": "#0b7285", "long": "#b36b00", "short": "#b36b00"}
_STYLES: Mapping[str, tuple[int, str]] = {
    "title": (17, "#0b3c49"), "heading": (12, "#0b3c49"), "finding": (11, "#0b3c49"), "text": (10, "#111111"),
    "small": (8, "#555555"),
}  # fmt: skip

Pictures = Mapping[str, bytes]


def draw(document: Document, pictures: Pictures, language: str) -> bytes:
    """The PDF, the same bytes for the same content; ``pictures`` are JPEGs of what ``crop`` gives, by Observation."""
    from reportlab.platypus import SimpleDocTemplate

    words = Wording(language=language)
    out = io.BytesIO()
    made = SimpleDocTemplate(
        out, leftMargin=56, rightMargin=56, topMargin=50, bottomMargin=50, invariant=1,
        title=words.word("report_title"), author=document.reviewer or document.author, lang=language,
    )  # fmt: skip
    foot = _foot(document, words)
    made.build(list(_story(document, pictures, words)), onLaterPages=foot, onFirstPage=foot)
    return out.getvalue()


@cache
def _chinese() -> str:
    """The name of a font with Chinese, registered once."""
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.cidfonts import UnicodeCIDFont
    from reportlab.pdfbase.ttfonts import TTFont

    for path in FONTS:
        if path.is_file():
            pdfmetrics.registerFont(TTFont("HutongChinese", path))
            return "HutongChinese"
    pdfmetrics.registerFont(UnicodeCIDFont(_UNEMBEDDED))
    return _UNEMBEDDED


def _is_latin(text: str) -> bool:
    try:
        text.encode("cp1252")
    except UnicodeEncodeError:
        return False
    return True


def _marked_up(text: str) -> str:
    """Text with a font for each run: the fonts with Chinese that can be embedded have no Latin letters."""
    runs = ((latin, "".join(run)) for latin, run in groupby(text, _is_latin))
    return "".join(escape(run) if latin else f'<font name="{_chinese()}">{escape(run)}</font>' for latin, run in runs)


def _paragraph(text: str, style: str = "text") -> Any:
    from reportlab.lib.colors import HexColor
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.platypus import Paragraph

    size, colour = _STYLES[style]
    looks = ParagraphStyle(
        style, fontName=_LATIN, fontSize=size, leading=size * 1.45, textColor=HexColor(colour),
        wordWrap=None if _is_latin(text) else "CJK", spaceBefore=size if style == "heading" else 0,
    )  # fmt: skip
    return Paragraph(_marked_up(text), looks)


def _foot(document: Document, words: Wording) -> Callable[[Any, Any], None]:
    """What stands under each page: whose it is, of which study, and the page's number."""
    patient = document.patient
    whose = (words.person(patient.name), patient.patient_id, patient.description, wording.date(patient.study_date))

    def drawn(canvas: Any, _: Any) -> None:
        line = _paragraph(" · ".join(filter(None, whose)), "small")
        line.wrap(_WIDTH - 30, 12)
        line.drawOn(canvas, 62, 28)
        canvas.setFont(_LATIN, 8)
        canvas.drawRightString(540, 30, str(canvas.getPageNumber()))

    return drawn


def _story(document: Document, pictures: Pictures, words: Wording) -> Iterator[Any]:
    from reportlab.lib.colors import HexColor
    from reportlab.platypus import HRFlowable, Spacer

    for text, style in _head(document, words):
        yield _paragraph(text, style)
    yield HRFlowable(width="100%", thickness=0.8, color=HexColor(_COLOURS["outline"]), spaceBefore=6, spaceAfter=2)
    # What is to be done stands where it is read first.
    if document.consequences:
        yield _paragraph(words.word("consequences"), "heading")
        yield Spacer(1, 4)
        yield _boxed([_consequence(resource, words) for resource in document.consequences])
    yield _paragraph(words.word("findings"), "heading")
    yield Spacer(1, 4)
    if not document.lines:
        yield _paragraph(words.word("count_none"))
    for ordinal, line in enumerate(document.lines, 1):
        yield _finding(ordinal, line, pictures.get(line.observation), words)
    for comment in document.comments:
        yield _paragraph(comment, "small")
    yield Spacer(1, 12)
    yield _paragraph(f"{words.word('safety')} DiagnosticReport/{document.report}", "small")
    yield _paragraph(f"SR {document.sr_instance}", "small")


def _consequence(resource: Mapping[str, Any], words: Wording) -> list[Any]:
    """What one resource says: its label above or before each line."""
    said = []
    for fact in wording.facts(resource, words):
        label = f"{fact.label}: " if fact.label and fact.text else fact.label
        said.append(_paragraph(f"{label}{fact.text}"))
    return said


def _boxed(rows: list[list[Any]]) -> Any:
    """Paragraphs on a tinted ground, a thin line between the rows; a row may go on over the page."""
    from reportlab.lib.colors import HexColor
    from reportlab.platypus import Table

    style = [
        ("BACKGROUND", (0, 0), (-1, -1), HexColor("#eef5f6")),
        ("LINEBEFORE", (0, 0), (0, -1), 2.5, HexColor(_COLOURS["outline"])),
        ("LINEBELOW", (0, 0), (-1, -2), 0.4, HexColor("#c9dadd")),
        ("TOPPADDING", (0, 0), (-1, -1), 4),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 5),
    ]
    return Table([[row] for row in rows], colWidths=[_WIDTH], style=style, hAlign="LEFT", splitInRow=1)


def _head(document: Document, words: Wording) -> Iterator[tuple[str, str]]:
    patient = document.patient
    born = f"{words.word('born')} {wording.date(patient.birth_date)}" if patient.birth_date else ""
    accession = f"{words.word('accession')} {patient.accession}" if patient.accession else ""
    yield words.word("report_title"), "title"
    yield (
        " · ".join(filter(None, [words.person(patient.name), patient.patient_id, words.sex(patient.sex), born])),
        "text",
    )
    yield " · ".join(filter(None, [patient.description, wording.date(patient.study_date), accession])), "text"
    if document.compared:
        yield words.word("report_compared", date=wording.date(document.compared)), "text"
    signed = words.word("review_verified", name=words.person(document.reviewer)) if document.reviewer else ""
    unsigned = "" if document.reviewer else words.word("report_unverified")
    issued = wording.instant(document.issued)
    yield " · ".join(filter(None, [words.report_status(document.status), signed, unsigned, issued])), "text"
    yield words.word("report_author", name=document.author), "small"


def said(line: Line, words: Wording) -> Iterator[str]:
    """What a report says of a finding, fact by fact."""
    for one in line.numbers:
        yield f"{words.code(one.concept)} {one.value} {words.unit(one.unit)}".strip()
    for concept, value in line.qualities:
        yield f"{words.code(concept)}: {words.code(value)}"
    if line.by_person:
        yield words.word("report_by_person")


def _finding(ordinal: int, line: Line, picture: bytes | None, words: Wording) -> Any:
    from reportlab.platypus import KeepTogether, Table

    places = ", ".join(words.code(place) for place in line.places)
    title = f"{ordinal}. {words.code(line.finding)}" + (f" ({places})" if places else "")
    picture_there = picture is not None and line.key_slice is not None
    width = _WIDTH - (_PICTURE + 16 if picture_there else 0)
    concluded = [
        _paragraph("; ".join(f"{fact.label} {fact.text}".strip() for fact in wording.facts(resource, words)))
        for resource in line.consequences
    ]
    text = [_paragraph(title, "finding"), *concluded, *_two_columns(list(said(line, words)), width - 12)]
    if line.key_slice:
        text.append(
            _paragraph(words.word("slice", number=line.key_slice.number, slices=line.key_slice.slices), "small")
        )
    cells = [_slice(line, picture), text] if picture is not None and picture_there else [text]
    table = Table(
        [cells], colWidths=[_PICTURE + 16, width] if picture_there else [width], hAlign="LEFT",
        style=[("VALIGN", (0, 0), (-1, -1), "TOP"), ("LEFTPADDING", (0, 0), (0, -1), 0)],
    )  # fmt: skip
    return KeepTogether([table])


def _two_columns(facts: list[str], width: float) -> list[Any]:
    """Facts side by side, read row by row."""
    from reportlab.platypus import Table

    cells = [_paragraph(fact) for fact in facts]
    rows = [[*cells[at : at + 2], ""][:2] for at in range(0, len(cells), 2)]
    padding = [(f"{side}PADDING", (0, 0), (-1, -1), 0) for side in ("LEFT", "TOP", "BOTTOM")]
    return (
        [Table(rows, colWidths=[width / 2] * 2, style=[*padding, ("VALIGN", (0, 0), (-1, -1), "TOP")])] if rows else []
    )


def _slice(line: Line, picture: bytes) -> Any:
    """The key image with outline and axes as lines over it."""
    from reportlab.lib.colors import HexColor
    from reportlab.lib.utils import ImageReader
    from reportlab.platypus import Flowable

    assert line.key_slice is not None
    x, y, side, _ = crop(line.key_slice)
    scale = _PICTURE / side
    graphics = line.key_slice.graphics

    class Slice(Flowable):  # type: ignore[misc]
        """An image with lines."""

        def wrap(self, *_: float) -> tuple[float, float]:
            """How large it is."""
            return _PICTURE, _PICTURE

        def draw(self) -> None:
            """Onto the page."""
            self.canv.drawImage(ImageReader(io.BytesIO(picture)), 0, 0, _PICTURE, _PICTURE)
            self.canv.setLineWidth(1)
            for graphic in graphics:
                path = self.canv.beginPath()
                go: Callable[[float, float], None] = path.moveTo
                for column, row in graphic.points:
                    go((column - x) * scale, _PICTURE - (row - y) * scale)
                    go = path.lineTo
                self.canv.setStrokeColor(HexColor(_COLOURS.get(graphic.kind, "#0b7285")))
                self.canv.drawPath(path)

    return Slice()
