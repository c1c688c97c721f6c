"""WADO-RS (PS3.18 10.4): instances, metadata and bulk data out."""

import secrets
from collections.abc import Iterator

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from server.errors import NotAcceptable
from server.http.dicomweb_route import add_get
from server.http.dicomweb_services import DicomWeb
from server.http.media_type import MediaType, accepted
from server.imaging.part10 import EXPLICIT_LITTLE, NATIVE
from server.imaging.pixels import PixelData
from server.security.access import Access
from server.store.studies import Located

_JSON = ("application/dicom+json", "application/json", "*/*", "application/*")
_PATHS = (
    "/studies/{study}",
    "/studies/{study}/series/{series}",
    "/studies/{study}/series/{series}/instances/{instance}",
)


def add_routes(api: APIRouter, services: DicomWeb) -> None:
    """Metadata, instances and bulk data at each level."""
    for path in _PATHS:
        add_get(api, f"{path}/metadata", _Metadata(services), f"metadata {path}")
        add_get(api, path, _Instances(services), f"retrieve {path}")
    add_get(api, f"{_PATHS[2]}/bulkdata/{{path:path}}", _Bulk(services), "bulk data")


class _Metadata:
    def __init__(self, services: DicomWeb) -> None:
        self._services = services

    def __call__(self, request: Request) -> Response:
        """The headers of all instances under the path."""
        access = self._services.access(request)
        if not any(media.type in _JSON for media in accepted(request.headers.get("accept", ""))):
            raise NotAcceptable("Metadata are given as application/dicom+json.", expression="Accept")
        found = self._services.retrieve.metadata(access, self._services.url(request), **request.path_params)
        return Response(b"[" + b",".join(found) + b"]", 200, {}, "application/dicom+json")


class _Instances:
    def __init__(self, services: DicomWeb) -> None:
        self._services = services
        self._pixels = PixelData(services.retrieve)

    def __call__(self, request: Request) -> Response:
        """The files under the path, each as it was received, or in Explicit VR Little Endian where asked for."""
        access = self._services.access(request)
        single = "instance" in request.path_params
        # PS3.18 8.3.3.1: what stands in the URL is the wish of a client that has no say in its headers, e.g. a link.
        asked = request.query_params.get("accept") or request.headers.get("accept", "")
        media = _choose(accepted(asked), single=single)
        found = self._services.retrieve.locate(access, **request.path_params)
        wanted = media.transfer_syntax or "*"
        if wanted not in ("*", EXPLICIT_LITTLE) and any(located.transfer_syntax != wanted for located in found):
            raise NotAcceptable(
                "The instances are not stored in this transfer syntax; ask for transfer-syntax=*.", expression="Accept"
            )
        if wanted == EXPLICIT_LITTLE and any(located.transfer_syntax != wanted for located in found):
            return self._transcoded(access, found, alone=media.type == "application/dicom")
        if media.type == "application/dicom":
            body = self._services.retrieve.stream(access, found[0])
            headers = {"Content-Length": str(found[0].length)}
            return StreamingResponse(_unless_head(request, body), 200, headers, "application/dicom")
        return self._multipart(request, access, found)

    def _transcoded(self, access: Access, found: list[Located], *, alone: bool) -> Response:
        first = self._pixels.explicit_little(access, found[0])
        if alone:
            return Response(first, 200, {}, "application/dicom")
        boundary = secrets.token_hex(16)

        def body() -> Iterator[bytes]:
            for index, located in enumerate(found):
                yield _part_head(boundary, EXPLICIT_LITTLE)
                yield self._pixels.explicit_little(access, located) if index else first
                yield b"\r\n"
            yield f"--{boundary}--\r\n".encode("ascii")

        return StreamingResponse(body(), 200, {}, _multipart_type(boundary))

    def _multipart(self, request: Request, access: Access, found: list[Located]) -> Response:
        boundary = secrets.token_hex(16)
        heads = [_part_head(boundary, located.transfer_syntax) for located in found]
        length = sum(len(head) + located.length + 2 for head, located in zip(heads, found, strict=True))
        tail = f"--{boundary}--\r\n".encode("ascii")

        def body() -> Iterator[bytes]:
            for head, located in zip(heads, found, strict=True):
                yield head
                yield from self._services.retrieve.stream(access, located)
                yield b"\r\n"
            yield tail

        headers = {"Content-Length": str(length + len(tail))}
        return StreamingResponse(_unless_head(request, body()), 200, headers, _multipart_type(boundary))


def _unless_head(request: Request, body: Iterator[bytes]) -> Iterator[bytes]:
    """Nothing is read from the disk for who asks for headers only."""
    return iter(()) if request.method == "HEAD" else body


def _multipart_type(boundary: str) -> str:
    return f'multipart/related; type="application/dicom"; boundary={boundary}'


def _part_head(boundary: str, transfer_syntax: str) -> bytes:
    return (f"--{boundary}\r\nContent-Type: application/dicom; transfer-syntax={transfer_syntax}\r\n\r\n").encode(
        "ascii"
    )


def _choose(ranges: list[MediaType], *, single: bool) -> MediaType:
    """The form of the answer: a part alone where the client takes that and there is one instance."""
    for media in ranges:
        if media.type == "multipart/related" and media.related in ("", "application/dicom"):
            return media
        if media.type in ("multipart/*", "*/*"):
            return MediaType(type="multipart/related", parameters={"type": "application/dicom"})
        if media.type in ("application/dicom", "application/*") and single:
            return MediaType(type="application/dicom", parameters=media.parameters)
    raise NotAcceptable('Instances are given as multipart/related; type="application/dicom".', expression="Accept")


class _Bulk:
    def __init__(self, services: DicomWeb) -> None:
        self._services = services

    def __call__(self, request: Request) -> Response:
        """One value, as application/octet-stream, alone or in multipart/related."""
        access = self._services.access(request)
        parameters = dict(request.path_params)
        path = parameters.pop("path")
        located = self._services.retrieve.locate(access, **parameters)[0]
        data = self._services.retrieve.bulk(access, located, path)
        native = located.transfer_syntax in NATIVE or path != "7FE00010"
        syntax = EXPLICIT_LITTLE if native else located.transfer_syntax
        return octets([data], accepted(request.headers.get("accept", "")), "application/octet-stream", syntax)


def octets(parts: list[bytes], ranges: list[MediaType], content_type: str, transfer_syntax: str) -> Response:
    """Values as multipart/related, or one alone where the client asks for it so."""
    for media in ranges:
        if media.type in (content_type, "application/octet-stream") and len(parts) == 1:
            return Response(parts[0], 200, {}, content_type)
        if media.type in ("*/*", "multipart/related", "multipart/*", "application/*"):
            break
    else:
        raise NotAcceptable(f'This is given as multipart/related; type="{content_type}".', expression="Accept")
    boundary = secrets.token_hex(16)
    head = f"--{boundary}\r\nContent-Type: {content_type}; transfer-syntax={transfer_syntax}\r\n\r\n".encode("ascii")
    body = b"".join(head + part + b"\r\n" for part in parts) + f"--{boundary}--\r\n".encode("ascii")
    return Response(body, 200, {}, f'multipart/related; type="{content_type}"; boundary={boundary}')
