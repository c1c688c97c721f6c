"""WADO-RS (PS3.18 10.4): frames, rendered pictures and thumbnails."""

import secrets
from collections.abc import Iterator
from itertools import chain

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from server.errors import BadRequest, NotAcceptable
from server.http.dicomweb_route import add_get
from server.http.dicomweb_services import DicomWeb
from server.http.media_type import MediaType, accepted
from server.imaging import pixels, render
from server.imaging.part10 import NATIVE
from server.imaging.pixels import Frames
from server.security.access import Access
from server.store.studies import Located

_INSTANCE = "/studies/{study}/series/{series}/instances/{instance}"
_OCTETS = "application/octet-stream"
_ANY = ("", "*/*", "application/*", "multipart/*", "image/*")


def add_routes(api: APIRouter, services: DicomWeb) -> None:
    """Frames of an instance, and pictures at each level."""
    pixel_data = pixels.PixelData(services.retrieve)
    add_get(api, f"{_INSTANCE}/frames/{{frames}}", _Frames(services, pixel_data), "frames")
    rendered = _Rendered(services, pixel_data)
    for path in (f"{_INSTANCE}/rendered", f"{_INSTANCE}/frames/{{frames}}/rendered"):
        add_get(api, path, rendered, f"rendered {path}")
    thumbnail = _Thumbnail(services, pixel_data)
    levels = ("/studies/{study}", "/studies/{study}/series/{series}", _INSTANCE, f"{_INSTANCE}/frames/{{frames}}")
    for path in levels:
        add_get(api, f"{path}/thumbnail", thumbnail, f"thumbnail {path}")


def _numbers(text: str) -> list[int]:
    """A list of frame numbers, divided by commas."""
    parts = text.split(",")
    if len(parts) > 10_000 or not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        raise BadRequest("Frames are numbers from 1, divided by commas.", expression="frames")
    return [int(part) for part in parts]


class _Route:
    def __init__(self, services: DicomWeb, pixel_data: pixels.PixelData) -> None:
        self._services = services
        self._pixels = pixel_data

    def _found(self, request: Request) -> tuple[Access, list[Located], list[int]]:
        """Who asks, the instances under the path, and the frames that it names (none: the first)."""
        access = self._services.access(request)
        parameters = dict(request.path_params)
        numbers = _numbers(parameters.pop("frames", "1"))
        return access, self._services.retrieve.locate(access, **parameters), numbers


class _Frames(_Route):
    def __call__(self, request: Request) -> Response:
        """The frames, each a part; native ones as octets, compressed ones as they are stored or decoded."""
        access, (located, *_), numbers = self._found(request)
        as_stored, single = _form(accepted(request.headers.get("accept", "")), located, len(numbers) == 1)
        found = self._pixels.frames(access, located, numbers, as_stored=as_stored)
        first = next(found.parts)
        if single:
            return Response(first, 200, {}, f"{found.media_type}; transfer-syntax={found.transfer_syntax}")
        return _multipart(found, first)


def _form(ranges: list[MediaType], located: Located, one: bool) -> tuple[bool, bool]:
    """Whether the frames go as they are stored, and whether one goes alone; raises NotAcceptable."""
    native = located.transfer_syntax in NATIVE
    stored = pixels.media_type(located.transfer_syntax)
    for media in ranges:
        kind = media.related if media.type == "multipart/related" else media.type
        alone = one and media.type in (_OCTETS, stored)
        if kind in (_OCTETS, *_ANY):
            wished = media.transfer_syntax in ("*", located.transfer_syntax)
            plain = kind in ("*/*", "multipart/*") and not media.transfer_syntax
            return native or wished or plain, alone
        if kind == stored and media.transfer_syntax in ("", "*", located.transfer_syntax):
            return True, alone
    raise NotAcceptable(f'Frames are given as multipart/related; type="{_OCTETS}" or "{stored}".', expression="Accept")


def _multipart(found: Frames, first: bytes) -> Response:
    boundary = secrets.token_hex(16)
    head = f"--{boundary}\r\nContent-Type: {found.media_type}; transfer-syntax={found.transfer_syntax}\r\n\r\n"

    def body() -> Iterator[bytes]:
        for part in chain([first], found.parts):
            yield head.encode("ascii")
            yield part
            yield b"\r\n"
        yield f"--{boundary}--\r\n".encode("ascii")

    kind = f'multipart/related; type="{found.media_type}"; boundary={boundary}'
    return StreamingResponse(body(), 200, {}, kind)


class _Rendered(_Route):
    def __call__(self, request: Request) -> Response:
        """One frame as a picture, or a structured report as a page or as text."""
        access, (located, *_), numbers = self._found(request)
        ranges = accepted(request.query_params.get("accept") or request.headers.get("accept", ""))
        if pixels.is_report(located):
            return self._report(access, located, ranges)
        wanted = render.parse(dict(request.query_params), _picture_type(ranges))
        return Response(self._pixels.picture(access, located, numbers[0], wanted), 200, {}, wanted.media_type)

    def _report(self, access: Access, located: Located, ranges: list[MediaType]) -> Response:
        for media in ranges:
            if media.type in ("text/html", "text/*", "*/*"):
                text = self._pixels.report(access, located, html=True)
                page = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Report</title>{text}</html>'
                # Whatever the report says, the page runs nothing.
                return Response(
                    page, 200, {"Content-Security-Policy": "default-src 'none'"}, "text/html; charset=utf-8"
                )
            if media.type == "text/plain":
                text = self._pixels.report(access, located, html=False)
                return Response(text, 200, {}, "text/plain; charset=utf-8")
        raise NotAcceptable("A report is rendered as text/html or text/plain.", expression="Accept")


class _Thumbnail(_Route):
    def __call__(self, request: Request) -> Response:
        """A small picture of the middle image under the path."""
        access, found, numbers = self._found(request)
        images = [located for located in found if located.pixel_offset is not None]
        if not images:
            raise NotAcceptable("There is no image here to make a thumbnail of.", expression="Accept")
        media_type = _picture_type(accepted(request.headers.get("accept", "")))
        wanted = render.parse(
            {"viewport": f"{render.THUMBNAIL},{render.THUMBNAIL}"} | dict(request.query_params), media_type
        )
        return Response(self._pixels.picture(access, images[len(images) // 2], numbers[0], wanted), 200, {}, media_type)


def _picture_type(ranges: list[MediaType]) -> str:
    for media in ranges:
        if media.type in render.FORMATS:
            return media.type
        if media.type in ("*/*", "image/*"):
            return "image/jpeg"
    raise NotAcceptable(f"Pictures are given as {', '.join(render.FORMATS)}.", expression="Accept")
