"""QIDO-RS (PS3.18 10.6): the search routes."""

from fastapi import APIRouter, Request, Response

from server.errors import NotAcceptable
from server.http.dicomweb_route import add_get
from server.http.dicomweb_services import DicomWeb
from server.http.media_type import accepted
from server.imaging import query
from server.store.studies import Level

_TYPES = ("application/dicom+json", "application/json", "*/*", "application/*")


def add_routes(api: APIRouter, services: DicomWeb) -> None:
    """Studies, series and instances, everywhere and within a study or series."""
    levels: dict[str, Level] = {
        "/studies": "study",
        "/series": "series",
        "/studies/{study}/series": "series",
        "/instances": "instance",
        "/studies/{study}/instances": "instance",
        "/studies/{study}/series/{series}/instances": "instance",
    }
    for path, level in levels.items():
        add_get(api, path, _Search(services, level), f"search {path}")


class _Search:
    """One search route."""

    def __init__(self, services: DicomWeb, level: Level) -> None:
        self._services = services
        self._level = level

    def __call__(self, request: Request) -> Response:
        """Runs the search; Warning 299 names what was not done as asked."""
        access = self._services.access(request)
        if not any(media.type in _TYPES for media in accepted(request.headers.get("accept", ""))):
            raise NotAcceptable("Results are given as application/dicom+json.", expression="Accept")
        names = {"study": "StudyInstanceUID", "series": "SeriesInstanceUID"}
        path = {names[name]: value for name, value in request.path_params.items()}
        asked = query.parse(self._level, request.query_params.multi_items(), path)
        answer = query.search(self._services.database, access, asked, self._services.url(request))
        headers = {"Warning": ", ".join(f'299 hutong "{_quoted(text)}"' for text in answer.warnings)}
        return Response(
            b"[" + b",".join(answer.results) + b"]",
            200,
            headers if answer.warnings else {},
            "application/dicom+json",
        )


def _quoted(text: str) -> str:
    return text.encode("ascii", "replace").decode("ascii").replace("\\", "/").replace('"', "'")
