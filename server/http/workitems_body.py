"""Data sets of the Worklist Service as DICOM JSON or Native DICOM Model XML (PS3.18 8.7.3), in and out."""

from collections.abc import Sequence

import orjson
from fastapi import Request, Response
from fastapi.concurrency import run_in_threadpool

from server.errors import BadRequest, NotAcceptable, TooLarge, UnsupportedMedia
from server.http import multipart_related
from server.http.dicomweb_query import DICOM_JSON, DICOM_XML, JSON, MEDIA_TYPES
from server.http.media_type import MediaType, asked, parse
from server.http.multipart_related import Part
from server.imaging.dataset import Attributes
from server.imaging.native_xml import from_xml, to_xml
from server.imaging.workitem_dataset import checked

#: Bytes of one data set.
LARGEST = 16 << 20
#: Warnings of one answer: headers have an end.
_WARNINGS = 24
_BOUNDARY = "hutong-workitems"
_XML = frozenset({DICOM_XML, "application/xml", "text/xml"})


async def dataset_of(request: Request, *, optional: bool = False) -> Attributes:
    """The one data set of a request's body.

    Raises BadRequest with the place of what is none, TooLarge, UnsupportedMedia; with ``optional`` it may be missing.
    """
    body = await _read(request)
    if not body and optional:
        return {}
    # A big one takes a while, and others wait.
    return await run_in_threadpool(_parsed, body, parse(request.headers.get("content-type") or DICOM_JSON).type)


def _parsed(body: bytes, kind: str) -> Attributes:
    if kind in _XML:
        return checked(from_xml(body))
    if kind not in (DICOM_JSON, JSON):
        raise UnsupportedMedia(f"Send {DICOM_JSON} or {DICOM_XML}.", expression="Content-Type")
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"The body is no JSON: {error.msg}.") from error
    datasets = found if isinstance(found, list) else [found]
    if len(datasets) != 1:
        raise BadRequest("The body has one data set: an object, or an array of one.")
    return checked(datasets[0])


async def _read(request: Request) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > LARGEST:
            raise TooLarge(f"A workitem has at most {LARGEST} bytes.")
        parts.append(part)
    return b"".join(parts)


def representation(request: Request, datasets: Sequence[Attributes], *, many: bool) -> Response:
    """Data sets in the form that the client takes; ``many``: of a search, which may have none."""
    kind, parts = _best(asked(request))
    headers = {"Vary": "Accept"}
    if kind in (DICOM_JSON, JSON):
        return Response(orjson.dumps(list(datasets)), 200, headers, kind)
    if not many and not parts:
        return Response(to_xml(datasets[0]), 200, headers, DICOM_XML)
    if not datasets:
        return Response(None, 204, headers)
    documents = [to_xml(dataset) for dataset in datasets]
    boundary = _BOUNDARY
    while any(boundary.encode() in document for document in documents):
        boundary += "-"
    head = Part(media_type=DICOM_XML, content=()).head(boundary).encode()
    body = b"".join(piece for document in documents for piece in (head, document, b"\r\n"))
    return Response(
        body + f"--{boundary}--\r\n".encode(), 200, headers, multipart_related.media_type(DICOM_XML, boundary)
    )


def _best(ranges: list[MediaType]) -> tuple[str, bool]:
    """The media type, and whether it is to come in parts."""
    for media in ranges:
        if media.type in (DICOM_JSON, JSON, DICOM_XML):
            return media.type, False
        if media.type in ("*/*", "application/*"):
            return DICOM_JSON, False
        if media.type in ("multipart/related", "multipart/*") and media.related in ("", DICOM_XML):
            return DICOM_XML, True
    raise NotAcceptable(f"Workitems are given as {', '.join(MEDIA_TYPES)}.", expression="Accept")


def warning(response: Response, *texts: str) -> Response:
    """The response with Warning headers (RFC 7234 5.5), if there is anything to warn of."""
    if texts:
        response.headers["Warning"] = ", ".join(f'299 hutong "{_quoted(text)}"' for text in texts[:_WARNINGS])
    return response


def _quoted(text: str) -> str:
    return text.encode("ascii", "replace").decode("ascii").replace("\\", "/").replace('"', "'")
