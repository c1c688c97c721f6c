"""WADO-RS (PS3.18 10.4): the instances of a study or series, or one of them."""

from collections.abc import Iterator
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response

from server.errors import NotAcceptable
from server.http.conditional import entity_tag
from server.http.dicomweb_bulkdata import pixel_data
from server.http.dicomweb_parts import Answer
from server.http.dicomweb_route import add_get
from server.http.dicomweb_services import DicomWeb
from server.http.dicomweb_zip import zipped
from server.http.media_type import MediaType, asked
from server.http.multipart_related import Part
from server.imaging import part10
from server.imaging.part10 import NATIVE
from server.imaging.stored import Stored
from server.imaging.transfer_syntax import DECODABLE
from server.security.access import Access
from server.store.studies import Located

DICOM, ZIP = "application/dicom", "application/zip"
#: What the instances are given as; parameter transfer-syntax: one of TARGETS, or * for as they are stored.
MEDIA_TYPES = (f'multipart/related; type="{DICOM}"', DICOM, ZIP)
#: Transfer syntaxes into which others are turned where that is asked for.
TARGETS = (NATIVE - {"1.2.840.10008.1.2.2"}) | DECODABLE
PATHS = (
    "/studies/{study}",
    "/studies/{study}/series/{series}",
    "/studies/{study}/series/{series}/instances/{instance}",
)


def add_routes(api: APIRouter, services: DicomWeb) -> None:
    """Instances at each level."""
    for path in PATHS:
        add_get(api, path, Instances(services), f"retrieve {path}", gives=MEDIA_TYPES)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Form:
    """How the instances go."""

    #: DICOM alone, DICOM in parts, ZIP, or "" for the values of their pixel data.
    kind: str
    alone: bool = False
    #: "*" for as they are stored.
    transfer_syntax: str = "*"


class Instances:
    """The files under a path."""

    def __init__(self, services: DicomWeb) -> None:
        self._services = services

    def __call__(self, request: Request) -> Response:
        """Each file as it was received, or in the transfer syntax that is asked for."""
        access = self._services.access(request)
        ranges = asked(request)
        found = self._services.retrieve.locate(access, **request.path_params)
        form = _choose(ranges, found)
        if form.kind == ZIP:
            return zipped(request, self._services, access, found, form.transfer_syntax)
        if not form.kind:
            return pixel_data(request, self._services, access, found)
        if all(form.transfer_syntax in ("*", located.transfer_syntax) for located in found):
            return self._as_stored(request, access, found, alone=form.alone)
        return self._transcoded(request, access, found, form)

    def _as_stored(self, request: Request, access: Access, found: list[Located], *, alone: bool) -> Response:
        answer = Answer(
            parts=(_part(located, alone=alone) for located in found),
            tag=entity_tag(*(located.digest for located in found), repr(alone)),
            media_type=DICOM,
            alone=alone,
        )
        return answer.response(request, self._services, access)

    def _transcoded(self, request: Request, access: Access, found: list[Located], form: _Form) -> Response:
        answer = Answer(
            parts=_transcoded(self._services, access, found, form.transfer_syntax),
            tag=entity_tag(*(located.digest for located in found), repr(form)),
            media_type=DICOM,
            alone=form.alone,
            as_stored=False,
        )
        return answer.response(request, self._services, access)


def _part(located: Located, *, alone: bool) -> Part:
    whole = Stored(located.pack, located.pack_offset, located.length)
    # A file says itself what it is encoded in.
    syntax = "" if alone else located.transfer_syntax
    return Part(media_type=DICOM, transfer_syntax=syntax, content=(whole,))


def _transcoded(services: DicomWeb, access: Access, found: list[Located], transfer_syntax: str) -> Iterator[Part]:
    for file in services.pixels.all_transcoded(access, found, transfer_syntax):
        # What has no pixels is not compressed, whatever was asked for.
        syntax = part10.read_meta(file, 0, len(file)).transfer_syntax
        yield Part(media_type=DICOM, transfer_syntax=syntax, content=(file,))


def _choose(ranges: list[MediaType], found: list[Located]) -> _Form:
    """The first form that can be given: a file alone where there is one instance and the client takes that."""
    wrong_syntax = False
    for media in ranges:
        form = _form(media, single=len(found) == 1)
        if form is None:
            continue
        if not form.kind or all(_possible(form.transfer_syntax, located) for located in found):
            return form
        wrong_syntax = True
    if wrong_syntax:
        raise NotAcceptable(
            "The instances can't be given in this transfer syntax; ask for transfer-syntax=*.", expression="Accept"
        )
    raise NotAcceptable(f'Instances are given as multipart/related; type="{DICOM}".', expression="Accept")


def _form(media: MediaType, *, single: bool) -> _Form | None:
    syntax = media.transfer_syntax or "*"
    related = media.related if media.type == "multipart/related" else ""
    if media.type in ("multipart/*", "*/*") or (media.type == "multipart/related" and related in ("", DICOM)):
        return _Form(kind=DICOM, transfer_syntax=syntax)
    if related == "application/octet-stream" or related.startswith(("image/", "video/")):
        return _Form(kind="")
    if media.type in (DICOM, "application/*") and single:
        return _Form(kind=DICOM, alone=True, transfer_syntax=syntax)
    if media.type == ZIP:
        return _Form(kind=ZIP, transfer_syntax=syntax)
    return None


def _possible(transfer_syntax: str, located: Located) -> bool:
    if transfer_syntax in ("*", located.transfer_syntax):
        return True
    readable = located.transfer_syntax in NATIVE | DECODABLE or located.pixel_offset is None
    return transfer_syntax in TARGETS and readable
