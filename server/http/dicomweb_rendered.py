"""WADO-RS rendered resources and thumbnails (PS3.18 10.4.1.1.3 and 10.4.1.1.4): pictures, films, pages, documents."""

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from server.errors import BadRequest, NotAcceptable
from server.http.conditional import entity_tag, is_known
from server.http.dicomweb_route import add_get
from server.http.dicomweb_services import DicomWeb
from server.http.media_type import MediaType, asked
from server.imaging import pixels, rendering
from server.imaging.dataset import Attributes
from server.imaging.rendering import FILM, PICTURES, THUMBNAIL
from server.security.access import Access
from server.store.studies import Located

#: The levels that are rendered, and their thumbnails.
PATHS = (
    "/studies/{study}",
    "/studies/{study}/series/{series}",
    "/studies/{study}/series/{series}/instances/{instance}",
    "/studies/{study}/series/{series}/instances/{instance}/frames/{frames}",
)
_HTML, _TEXT, _PDF = "text/html", "text/plain", "application/pdf"
#: What rendered resources are given as (PS3.18 table 8.7.4-1), and the query parameters that shape them.
MEDIA_TYPES = (*PICTURES, FILM, _HTML, _TEXT, _PDF)
PARAMETERS = ("accept", "annotation", "quality", "viewport", "window", "iccprofile")
#: Images that one answer is made of.
_MOST_PARTS = 10_000


def add_routes(api: APIRouter, services: DicomWeb) -> None:
    """Rendered resources and thumbnails at each level."""
    for path in PATHS:
        add_get(api, f"{path}/rendered", _Rendered(services), f"rendered {path}", gives=MEDIA_TYPES, takes=PARAMETERS)
        add_get(api, f"{path}/thumbnail", _Thumbnail(services), f"thumbnail {path}", gives=PICTURES, takes=PARAMETERS)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    """What a request is about."""

    access: Access
    located: list[Located]
    numbers: list[int]
    #: Of one instance alone.
    header: Attributes | None = None


class _Route:
    def __init__(self, services: DicomWeb) -> None:
        self._services = services
        self._pixels = services.pixels

    def _found(self, request: Request) -> "_Found":
        """Who asks, the instances under the path, and the frames that it names, if it names any."""
        access = self._services.access(request)
        parameters = dict(request.path_params)
        named = parameters.pop("frames", "")
        numbers = _numbers(named) if named else []
        if "instance" in parameters:
            located, header = self._services.retrieve.locate_with_header(access, **parameters)
            return _Found(access=access, located=[located], numbers=numbers, header=header)
        return _Found(access=access, located=self._services.retrieve.locate(access, **parameters), numbers=numbers)


def _numbers(text: str) -> list[int]:
    """A list of frame numbers, divided by commas."""
    parts = text.split(",")
    if len(parts) > _MOST_PARTS or not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        raise BadRequest("Frames are numbers from 1, divided by commas.", expression="frames")
    return [int(part) for part in parts]


class _Rendered(_Route):
    def __call__(self, request: Request) -> Response:
        """What people look at: frames as pictures or as a film, a report as a page, a document as it is."""
        what = self._found(request)
        access, found, numbers = what.access, what.located, what.numbers
        ranges = asked(request)
        images = [located for located in found if pixels.has_pixels(located, what.header)]
        if len(found) == 1 and not (images and _media_type(ranges, (*PICTURES, FILM))):
            return self._other(request, access, found[0], ranges)
        if not images:
            raise NotAcceptable("There is no image here; ask for one instance as text/html.", expression="Accept")
        media_type = _media_type(ranges, (*PICTURES, FILM))
        if not media_type:
            raise NotAcceptable(f"Images are rendered as {', '.join((*PICTURES, FILM))}.", expression="Accept")
        wanted = rendering.parse(request.query_params, media_type)
        jobs = [(located, some) for located in images[:_MOST_PARTS] for some in _shares(located, numbers, media_type)]
        tag = entity_tag(*(place.digest for place in images), media_type, repr(wanted), repr(numbers))
        if is_known(request, tag):
            return Response(None, 304, {"ETag": tag})
        pictures = (self._pixels.picture(access, located, some, wanted, what.header) for located, some in jobs)
        return _answer(request, pictures, len(jobs), media_type, tag)

    def _other(self, request: Request, access: Access, located: Located, ranges: list[MediaType]) -> Response:
        """One instance that has no pixels, or that is wanted as text."""
        picture = _media_type(ranges, PICTURES)
        if pixels.is_state(located) and picture:
            wanted = rendering.parse(request.query_params, picture)
            return Response(self._pixels.with_state(access, located, wanted), 200, {}, picture)
        if pixels.is_document(located) and _media_type(ranges, (_PDF,)):
            return Response(self._pixels.document(access, located), 200, _HARMLESS, _PDF)
        if pixels.has_pixels(located) and not pixels.is_segmentation(located):
            raise NotAcceptable(f"Images are rendered as {', '.join((*PICTURES, FILM))}.", expression="Accept")
        kind = _media_type(ranges, (_HTML, _TEXT))
        tag = entity_tag(located.digest, kind)
        if kind and is_known(request, tag):
            return Response(None, 304, {"ETag": tag})
        if kind == _HTML:
            text = self._pixels.report(access, located, html=True)
            page = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Report</title>{text}</html>'
            return Response(page, 200, {**_HARMLESS, "ETag": tag}, "text/html; charset=utf-8")
        if kind == _TEXT:
            text = self._pixels.report(access, located, html=False)
            return Response(text, 200, {"ETag": tag}, "text/plain; charset=utf-8")
        also = f", {_PDF}" if pixels.is_document(located) else ""
        raise NotAcceptable(f"This instance is rendered as text/html or text/plain{also}.", expression="Accept")


#: Whatever a report or document says, it runs nothing here.
_HARMLESS = {"Content-Security-Policy": "default-src 'none'; sandbox"}


class _Thumbnail(_Route):
    def __call__(self, request: Request) -> Response:
        """A small picture of the middle image under the path."""
        what = self._found(request)
        images = [located for located in what.located if pixels.has_pixels(located, what.header)]
        if not images:
            raise NotAcceptable("There is no image here to make a thumbnail of.", expression="Accept")
        media_type = _media_type(asked(request), PICTURES)
        if not media_type:
            raise NotAcceptable(f"Pictures are given as {', '.join(PICTURES)}.", expression="Accept")
        parameters = {"viewport": f"{THUMBNAIL},{THUMBNAIL}"} | dict(request.query_params)
        wanted = rendering.parse(parameters, media_type)
        middle = images[len(images) // 2]
        frame = what.numbers[:1] or [(middle.frames + 1) // 2]
        tag = entity_tag(middle.digest, media_type, repr(wanted), repr(frame))
        if is_known(request, tag):
            return Response(None, 304, {"ETag": tag})
        picture = self._pixels.picture(what.access, middle, frame, wanted, what.header)
        return _answer(request, iter([picture]), 1, media_type, tag)


def _shares(located: Located, numbers: Sequence[int], media_type: str) -> list[Sequence[int]]:
    """The frames of one instance, by pictures: all in one where the media type moves, else each in its own."""
    if numbers:
        return [list(numbers)] if media_type in (FILM, "image/gif") else [[number] for number in numbers]
    return [range(1, located.frames + 1)] if media_type in (FILM, "image/gif") else [[1]]


def _media_type(ranges: list[MediaType], offered: Sequence[str]) -> str:
    """The best of what is offered that the client takes, in parts or alone; empty for none."""
    for media in ranges:
        kind = media.related if media.type == "multipart/related" else media.type
        for offer in offered:
            if kind in (offer, "", "*/*", "multipart/*", f"{offer.partition('/')[0]}/*"):
                return offer
    return ""


def _answer(request: Request, pictures: Iterator[bytes], count: int, media_type: str, tag: str) -> Response:
    """One picture alone, several or what is asked for in parts as multipart/related."""
    headers = {"ETag": tag, "Vary": "Accept"}
    # Where it can't be done the client hears it before the first byte.
    first = next(pictures)
    if count == 1 and not _only_in_parts(asked(request)):
        return Response(first, 200, headers, media_type)
    boundary = secrets.token_hex(16)
    body = _parts(chain([first], pictures), boundary, media_type)
    kind = f'multipart/related; type="{media_type}"; boundary={boundary}'
    return StreamingResponse(iter(()) if request.method == "HEAD" else body, 200, headers, kind)


def _only_in_parts(ranges: list[MediaType]) -> bool:
    return bool(ranges) and all(media.type.startswith("multipart/") for media in ranges)


def _parts(pictures: Iterator[bytes], boundary: str, media_type: str) -> Iterator[bytes]:
    for picture in pictures:
        yield f"--{boundary}\r\nContent-Type: {media_type}\r\nContent-Length: {len(picture)}\r\n\r\n".encode("ascii")
        yield picture
        yield b"\r\n"
    yield f"--{boundary}--\r\n".encode("ascii")
