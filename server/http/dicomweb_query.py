"""QIDO-RS (PS3.18 10.6): the search routes."""

import re
from typing import Literal

from fastapi import APIRouter, Request, Response

from server.errors import NotAcceptable
from server.http import multipart_related
from server.http.content_coding import coded, coding
from server.http.dicomweb_route import add_get
from server.http.dicomweb_services import DicomWeb
from server.http.media_type import MediaType, asked
from server.http.multipart_related import Part
from server.imaging import query
from server.imaging.query_keys import KEYS, is_above
from server.store.studies import Level

DICOM_JSON, JSON, DICOM_XML = "application/dicom+json", "application/json", "application/dicom+xml"
MEDIA_TYPES = (DICOM_JSON, JSON, f'multipart/related; type="{DICOM_XML}"')
#: The search parameters beside matching keys (PS3.18 table 8.3.4-1).
PARAMETERS = ("includefield", "limit", "offset", "fuzzymatching", "emptyvaluematching", "multiplevaluematching")
PATHS: dict[str, Level] = {
    "/studies": "study",
    "/series": "series",
    "/studies/{study}/series": "series",
    "/instances": "instance",
    "/studies/{study}/instances": "instance",
    "/studies/{study}/series/{series}/instances": "instance",
}
_NAMES = {"study": "StudyInstanceUID", "series": "SeriesInstanceUID"}
#: RFC 7240: what a client that wants unknown keys to be errors says.
_STRICT = re.compile(r"(?:^|[,;])\s*handling\s*=\s*\"?strict\"?\s*(?:$|[,;])", re.IGNORECASE)
#: Warnings of one answer: headers have an end.
_WARNINGS = 24
_BOUNDARY = "hutong-search-results"


def add_routes(api: APIRouter, services: DicomWeb) -> None:
    """Studies, series and instances, everywhere and within a study or series."""
    for path, level in PATHS.items():
        keys = [key.keyword for key in KEYS if is_above(key.level, level)]
        add_get(api, path, _Search(services, level), f"search {path}", gives=MEDIA_TYPES, takes=(*keys, *PARAMETERS))


class _Search:
    """One search route."""

    def __init__(self, services: DicomWeb, level: Level) -> None:
        self._services = services
        self._level = level

    def __call__(self, request: Request) -> Response:
        """Runs the search; Warning 299 names what was not done as asked."""
        services = self._services
        access = services.access(request)
        media_type = _best(asked(request))
        path = {_NAMES[name]: value for name, value in request.path_params.items()}
        preferred = bool(_STRICT.search(request.headers.get("prefer", "")))
        parameters = [(name, value) for name, value in request.query_params.multi_items() if name != "accept"]
        prepared = query.parse(self._level, parameters, path, strict=preferred or services.settings.strict_queries)
        form: Literal["json", "xml"] = "xml" if media_type == DICOM_XML else "json"
        answer = query.search(services.database, access, prepared, services.url(request), form)
        response = _xml(answer.results) if form == "xml" else _json(request, answer.results, media_type)
        if answer.warnings:
            response.headers["Warning"] = ", ".join(
                f'299 hutong "{_quoted(text)}"' for text in answer.warnings[:_WARNINGS]
            )
        if preferred:
            response.headers["Preference-Applied"] = "handling=strict"
        return response


def _best(ranges: list[MediaType]) -> str:
    for media in ranges:
        if media.type in (DICOM_JSON, JSON, DICOM_XML):
            return media.type
        if media.type in ("*/*", "application/*"):
            return DICOM_JSON
        if media.type in ("multipart/related", "multipart/*") and media.related in ("", DICOM_XML):
            return DICOM_XML
    raise NotAcceptable(f"Results are given as {', '.join(MEDIA_TYPES)}.", expression="Accept")


def _json(request: Request, results: list[bytes], media_type: str) -> Response:
    """All results in one array; none are an empty one with 200 (PS3.18 8.3.4.4 as CP-2473 has it, and RFC 9110)."""
    content = b"[" + b",".join(results) + b"]"
    if coding(request):
        return coded(request, content, media_type=media_type)
    return Response(content, 200, {"Vary": "Accept, Accept-Encoding"}, media_type)


def _xml(results: list[bytes]) -> Response:
    """A part for each result; none are 204, since a multipart body has one part at least (RFC 2046 5.1.1)."""
    if not results:
        return Response(None, 204, {"Vary": "Accept, Accept-Encoding"})
    boundary = _boundary(results)
    head = Part(media_type=DICOM_XML, content=()).head(boundary).encode()
    body = b"".join(piece for result in results for piece in (head, result, b"\r\n")) + f"--{boundary}--\r\n".encode()
    return Response(body, 200, {"Vary": "Accept, Accept-Encoding"}, multipart_related.media_type(DICOM_XML, boundary))


def _boundary(results: list[bytes]) -> str:
    """One that no result holds."""
    boundary = _BOUNDARY
    while any(boundary.encode() in result for result in results):
        boundary += "-"
    return boundary


def _quoted(text: str) -> str:
    return text.encode("ascii", "replace").decode("ascii").replace("\\", "/").replace('"', "'")
