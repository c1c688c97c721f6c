"""The process that speaks DICOM's own protocol."""

from server.app.parts import compose
from server.dimse import server
from server.settings import Settings


def run(settings: Settings) -> None:
    """Answers until SIGTERM."""
    server.serve(settings, compose(settings).ingest)
