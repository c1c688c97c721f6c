"""WADO-RS (PS3.18 10.4): metadata of a study, series or instance, as DICOM JSON or the Native DICOM Model in XML."""

import secrets
from collections.abc import Iterator
from itertools import chain

import orjson
from fastapi import APIRouter, Request, Response

from server.errors import NotAcceptable
from server.http.conditional import entity_tag
from server.http.content_coding import coded, coded_stream
from server.http.dicomweb_route import add_get
from server.http.dicomweb_services import DicomWeb
from server.http.media_type import MediaType, asked
from server.imaging.native_xml import to_xml

_JSON, _XML = "application/dicom+json", "application/dicom+xml"
#: What metadata are given as.
MEDIA_TYPES = (_JSON, f'multipart/related; type="{_XML}"')
_PATHS = (
    "/studies/{study}",
    "/studies/{study}/series/{series}",
    "/studies/{study}/series/{series}/instances/{instance}",
)


def add_routes(api: APIRouter, services: DicomWeb) -> None:
    """Metadata at each level."""
    for path in _PATHS:
        add_get(api, f"{path}/metadata", _Metadata(services), f"metadata {path}", gives=MEDIA_TYPES)


class _Metadata:
    def __init__(self, services: DicomWeb) -> None:
        self._services = services

    def __call__(self, request: Request) -> Response:
        """The headers of all instances under the path."""
        access = self._services.access(request)
        kind = _choose(asked(request))
        found = self._services.retrieve.metadata(access, self._services.url(request), **request.path_params)
        first = next(found)
        second = next(found, None)
        if second is not None:
            return self._long(request, kind, chain([first, second], found))
        if kind == _JSON:
            return coded(request, b"[" + b",".join(first) + b"]", media_type=_JSON)
        if kind == _XML and len(first) == 1:
            return coded(request, to_xml(orjson.loads(first[0])), media_type=_XML)
        boundary = entity_tag(*first).strip('"')
        return coded(request, b"".join(_xml(iter([first]), boundary)), media_type=_related(boundary))

    def _long(self, request: Request, kind: str, pages: Iterator[list[bytes]]) -> Response:
        if kind == _JSON:
            return coded_stream(request, _json(pages), media_type=_JSON)
        boundary = secrets.token_hex(16)
        return coded_stream(request, _xml(pages, boundary), media_type=_related(boundary))


def _json(pages: Iterator[list[bytes]]) -> Iterator[bytes]:
    start = b"["
    for page in pages:
        yield start + b",".join(page)
        start = b","
    yield b"]"


def _xml(pages: Iterator[list[bytes]], boundary: str) -> Iterator[bytes]:
    """A document for each instance (PS3.18 8.7.3.2)."""
    head = f"--{boundary}\r\nContent-Type: {_XML}\r\n\r\n".encode("ascii")
    for header in chain.from_iterable(pages):
        yield head + to_xml(orjson.loads(header)) + b"\r\n"
    yield f"--{boundary}--\r\n".encode("ascii")


def _related(boundary: str) -> str:
    return f'multipart/related; type="{_XML}"; boundary={boundary}'


def _choose(ranges: list[MediaType]) -> str:
    """JSON, XML alone, or "" for XML in parts."""
    for media in ranges:
        if media.type in (_JSON, "application/json", "*/*", "application/*"):
            return _JSON
        if media.type == "multipart/related" and media.related in ("", _XML):
            return ""
        if media.type in (_XML, "multipart/*"):
            return _XML if media.type == _XML else ""
    raise NotAcceptable(f'Metadata are given as {_JSON}, or as multipart/related; type="{_XML}".', expression="Accept")
