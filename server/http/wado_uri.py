"""The URI Web Service (PS3.18 chapter 9), WADO-URI: one instance, as a file or as a picture."""

import math
from collections.abc import Mapping

from fastapi import APIRouter, Request, Response

from server.errors import BadRequest, NotAcceptable
from server.http.conditional import entity_tag
from server.http.dicomweb_parts import Answer
from server.http.dicomweb_route import DicomWebRoute, add_get
from server.http.dicomweb_services import DicomWeb
from server.http.media_type import MediaType, accepted
from server.http.multipart_related import Part
from server.imaging import pixels, rendering
from server.imaging.attributes import integer
from server.imaging.dataset import Attributes
from server.imaging.part10 import EXPLICIT_LITTLE, NATIVE
from server.imaging.rendering import LARGEST, PICTURES
from server.imaging.stored import Stored
from server.imaging.transfer_syntax import DECODABLE
from server.security.access import Access
from server.store.studies import Located

_DICOM, _HTML, _TEXT, _PDF = "application/dicom", "text/html", "text/plain", "application/pdf"
#: What instances are given as (PS3.18 9.1.2.2.1).
MEDIA_TYPES = (_DICOM, *PICTURES, _HTML, _TEXT, _PDF)
#: Query parameters that are understood (PS3.18 9.1.2).
PARAMETERS = (
    *("requestType", "studyUID", "seriesUID", "objectUID", "contentType", "charset", "anonymize", "transferSyntax"),
    *("annotation", "rows", "columns", "region", "windowCenter", "windowWidth", "frameNumber", "imageQuality"),
)
_NEVER = {
    "presentationUID": "Presentation states are applied by WADO-RS: ask for the state's own rendered resource.",
    "presentationSeriesUID": "Presentation states are applied by WADO-RS: ask for the state's own rendered resource.",
}
#: Whatever a report or document says, it runs nothing here.
_HARMLESS = {"Content-Security-Policy": "default-src 'none'; sandbox"}


def router(services: DicomWeb) -> APIRouter:
    """The one route of the service."""
    api = APIRouter(route_class=DicomWebRoute, tags=["WADO-URI"])
    add_get(api, "/wado", _Wado(services), "WADO-URI", gives=MEDIA_TYPES, takes=PARAMETERS)
    return api


class _Wado:
    def __init__(self, services: DicomWeb) -> None:
        self._services = services

    def __call__(self, request: Request) -> Response:
        """The instance in the first form that the parameters, or else Accept, ask for."""
        access = self._services.access(request)
        asked = dict(request.query_params)
        uids = _checked(asked)
        located, header = self._services.retrieve.locate_with_header(access, *uids)
        kind = _choose(asked, request, located)
        if kind == _DICOM:
            return self._file(request, access, located, asked)
        if kind in PICTURES:
            return self._picture(access, located, header, asked, kind)
        if kind == _PDF:
            return Response(self._services.pixels.document(access, located), 200, _HARMLESS, _PDF)
        text = self._services.pixels.report(access, located, html=kind == _HTML)
        if kind == _TEXT:
            return Response(text, 200, {}, f"{_TEXT}; charset=utf-8")
        page = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Report</title>{text}</html>'
        return Response(page, 200, _HARMLESS, f"{_HTML}; charset=utf-8")

    def _file(self, request: Request, access: Access, located: Located, asked: Mapping[str, str]) -> Response:
        for name in ("frameNumber", "rows", "columns", "region", "windowCenter", "windowWidth", "imageQuality"):
            if name in asked:
                raise BadRequest(f"{name} goes with pictures; leave it out for {_DICOM}.", expression=name)
        syntax = _syntax(asked, located)
        if syntax == located.transfer_syntax:
            content: bytes | Stored = Stored(located.pack, located.pack_offset, located.length)
        else:
            content = self._services.pixels.transcoded(access, located, syntax)
        answer = Answer(
            parts=iter([Part(media_type=_DICOM, content=(content,))]),
            tag=entity_tag(located.digest, syntax),
            media_type=_DICOM,
            alone=True,
        )
        return answer.response(request, self._services, access)

    def _picture(
        self, access: Access, located: Located, header: Attributes, asked: Mapping[str, str], kind: str
    ) -> Response:
        number = asked.get("frameNumber", "1")
        if not (number.isascii() and number.isdigit() and len(number) < 10):
            raise BadRequest("frameNumber is a number from 1.", expression="frameNumber")
        wanted = rendering.parse(_rendered(asked, header), kind)
        return Response(self._services.pixels.picture(access, located, [int(number)], wanted), 200, {}, kind)


def _checked(asked: Mapping[str, str]) -> tuple[str, str, str]:
    """Study, series and SOP Instance UID; raises BadRequest for what is missing, wrong or never done."""
    if asked.get("requestType") != "WADO":
        raise BadRequest("requestType must be WADO.", expression="requestType")
    for name in ("studyUID", "seriesUID", "objectUID"):
        if not asked.get(name):
            raise BadRequest(f"{name} is needed.", expression=name)
    if asked.get("anonymize", "no") != "no":
        raise BadRequest("Instances are not anonymized here; leave anonymize out.", expression="anonymize")
    for name, reason in _NEVER.items():
        if name in asked:
            raise BadRequest(reason, expression=name)
    return asked["studyUID"], asked["seriesUID"], asked["objectUID"]


def _choose(asked: Mapping[str, str], request: Request, located: Located) -> str:
    """The media type of the answer (PS3.18 9.1.2.2.1): contentType, else Accept, else the first that fits."""
    offered = _offered(located)
    wished = asked.get("contentType", "")
    for media in accepted(wished or request.headers.get("accept", "")):
        for offer in offered:
            if _fits(media, offer):
                return offer
    place = "contentType" if wished else "Accept"
    raise NotAcceptable(f"This instance is given as {', '.join(offered)}.", expression=place)


def _fits(media: MediaType, offer: str) -> bool:
    return media.type in (offer, "*/*", f"{offer.partition('/')[0]}/*")


def _offered(located: Located) -> tuple[str, ...]:
    """What the instance can be given as, its default first (PS3.18 tables 9.1.2-1 and 8.7.4-1)."""
    if pixels.is_document(located):
        return _PDF, _HTML, _TEXT, _DICOM
    if pixels.is_segmentation(located) or not pixels.has_pixels(located):
        return _HTML, _TEXT, _DICOM
    # Of many frames no picture shows all.
    return (*PICTURES, _DICOM) if located.frames == 1 else (_DICOM, *PICTURES)


def _syntax(asked: Mapping[str, str], located: Located) -> str:
    """The transfer syntax of the file: Explicit VR Little Endian where none is named and pixels allow it."""
    named = asked.get("transferSyntax", "")
    if named:
        return located.transfer_syntax if named == "*" else named
    readable = located.transfer_syntax in NATIVE | DECODABLE or not pixels.has_pixels(located)
    return EXPLICIT_LITTLE if readable else located.transfer_syntax


def _rendered(asked: Mapping[str, str], header: Attributes) -> dict[str, str]:
    """The parameters as WADO-RS has them; raises BadRequest."""
    found = {"annotation": asked.get("annotation", "")}
    if "imageQuality" in asked:
        found["quality"] = asked["imageQuality"]
    if ("windowCenter" in asked) != ("windowWidth" in asked):
        raise BadRequest("windowCenter and windowWidth go together.", expression="windowCenter")
    if "windowCenter" in asked:
        found["window"] = f"{asked['windowCenter']},{asked['windowWidth']},linear"
    viewport = _viewport(asked, header)
    if viewport:
        found["viewport"] = viewport
    return found


def _viewport(asked: Mapping[str, str], header: Attributes) -> str:
    """rows and columns as the size to fit into, region (left, top, right, bottom; 0 to 1) in pixels."""
    if not asked.keys() & {"rows", "columns", "region"}:
        return ""
    height, width = integer(header, "00280010") or 1, integer(header, "00280011") or 1
    left, top, right, bottom = _region(asked.get("region", "0,0,1,1"))
    part = left * width, top * height, (right - left) * width, (bottom - top) * height
    # One of the two alone bounds nothing else.
    free = LARGEST if asked.keys() & {"rows", "columns"} else 0
    columns = asked.get("columns") or free or max(math.ceil(part[2]), 1)
    rows = asked.get("rows") or free or max(math.ceil(part[3]), 1)
    return ",".join(str(number) for number in (columns, rows, *part))


def _region(text: str) -> tuple[float, float, float, float]:
    try:
        left, top, right, bottom = (float(part) for part in text.split(","))
    except ValueError as error:
        raise BadRequest("region must be left,top,right,bottom, each 0 to 1.", expression="region") from error
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise BadRequest("region must be left,top,right,bottom, each 0 to 1.", expression="region")
    return left, top, right, bottom
