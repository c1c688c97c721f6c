"""What the pages for people work with; loaded by the processes that show or draw them, and by no other."""

from collections.abc import Mapping

from ai_adapters.registry import registry
from server.app.parts import Parts, address, publisher
from server.workflow.report_document import DocumentWriter
from server.workflow.reporter import Box, Document, Reporter
from server.workflow.result_view import KeySlice
from server.workflow.results import Label, Results
from server.workflow.review import Reviewer


def reviewer(parts: Parts) -> Reviewer:
    """What writes a person's decisions on a report."""
    return Reviewer(
        database=parts.database,
        repository=parts.repository,
        retrieve=parts.retrieve,
        publisher=publisher(parts),
        uid_root=parts.settings.uid_root,
    )


def results_of(parts: Parts) -> Results:
    """What pages show of the work."""
    labels = {
        bundle.manifest.name: Label(title=bundle.manifest.title, intended_use=bundle.manifest.intended_use)
        for bundle in registry(parts.settings.bundle_folder).bundles()
    }
    return Results(parts.database, parts.repository, labels=labels, study_quiet=parts.settings.study_quiet)


def reporter(parts: Parts, results: Results) -> Reporter:
    """What puts reports together."""
    return Reporter(
        database=parts.database,
        repository=parts.repository,
        results=results,
        retrieve=parts.retrieve,
        pixels=parts.pixels,
    )


def documents(parts: Parts) -> DocumentWriter:
    """What draws verified reports on paper."""
    return DocumentWriter(
        database=parts.database,
        repository=parts.repository,
        reporter=reporter(parts, results_of(parts)),
        publisher=publisher(parts),
        draw=_draw,
        crop=_crop,
        wado_url=f"{address(parts.settings)}/dicomweb",
    )


def _draw(document: Document, pictures: Mapping[str, bytes], language: str) -> bytes:
    # Loads what only pages need, when the first report is drawn.
    from server.http import report_pdf

    return report_pdf.draw(document, pictures, language)


def _crop(key_slice: KeySlice) -> Box:
    from server.http.drawing import crop

    return crop(key_slice)
