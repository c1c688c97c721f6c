"""WADO-RS (PS3.18 10.4): bulk data by BulkDataURI, and bulk and pixel data of studies, series, instances."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from fastapi import APIRouter, Request, Response

from server.errors import NotAcceptable, NotFound
from server.http.conditional import entity_tag
from server.http.dicomweb_frames import MEDIA_TYPES, OCTETS, Form, Framed, choose
from server.http.dicomweb_parts import Answer
from server.http.dicomweb_route import add_get
from server.http.dicomweb_services import DicomWeb
from server.http.media_type import MediaType, asked
from server.http.multipart_related import Part
from server.imaging.attributes import integer
from server.imaging.bulk import PIXELS, Bulk, Value
from server.imaging.dataset import Attributes
from server.imaging.part10 import DEFLATED, EXPLICIT_BIG, EXPLICIT_LITTLE
from server.security.access import Access
from server.store.studies import Located

_INSTANCE = "/studies/{study}/series/{series}/instances/{instance}"
_LEVELS = ("/studies/{study}", "/studies/{study}/series/{series}", _INSTANCE)
_ANY = ("", "*/*", "application/*", "multipart/*")


def add_routes(api: APIRouter, services: DicomWeb) -> None:
    """One value, and all values at each level."""
    add_get(api, f"{_INSTANCE}/bulkdata/{{path:path}}", _Value(services), "bulk data", gives=MEDIA_TYPES)
    for level in _LEVELS:
        add_get(api, f"{level}/bulkdata", _All(services), f"bulk data {level}", gives=MEDIA_TYPES)
        add_get(api, f"{level}/pixeldata", _Pixels(services), f"pixel data {level}", gives=MEDIA_TYPES)


class _Value:
    def __init__(self, services: DicomWeb) -> None:
        self._services = services

    def __call__(self, request: Request) -> Response:
        """One value, as application/octet-stream; encapsulated pixel data frame by frame."""
        access = self._services.access(request)
        path = dict(request.path_params)
        place = path.pop("path")
        located, header = self._services.retrieve.locate_with_header(access, **path)
        value = Bulk(self._services.retrieve, access, located).value(place)
        ranges = asked(request)
        if place in PIXELS:
            form = choose(ranges, located, single=_frames(header) == 1)
            if value.encapsulated or form.media_type != OCTETS:
                framed = Framed(access=access, located=located, header=header, form=form)
                return _framed(framed, self._services).response(request, self._services, access)
        alone = _alone(ranges)
        tag = entity_tag(located.digest, place, repr(alone))
        answer = Answer(parts=iter([_part(value)]), tag=tag, media_type=OCTETS, alone=alone)
        return answer.response(request, self._services, access)


def _framed(framed: Framed, services: DicomWeb) -> Answer:
    form = framed.form
    return Answer(
        parts=framed.parts(services),
        tag=entity_tag(framed.located.digest, repr(form)),
        media_type=form.media_type,
        alone=form.alone,
        as_stored=form.as_stored,
    )


def _frames(header: Attributes) -> int:
    return integer(header, "00280008") or 1


def _part(value: Value, location: str = "") -> Part:
    return Part(media_type=OCTETS, transfer_syntax=EXPLICIT_LITTLE, location=location, content=value.pieces)


def _alone(ranges: list[MediaType]) -> bool:
    for media in ranges:
        if media.type == OCTETS:
            return True
        kind = media.related if media.type == "multipart/related" else media.type
        if kind in (OCTETS, *_ANY):
            return False
    raise NotAcceptable(f'This is given as multipart/related; type="{OCTETS}".', expression="Accept")


class _All:
    def __init__(self, services: DicomWeb) -> None:
        self._services = services

    def __call__(self, request: Request) -> Response:
        """Every value that the metadata of these instances refer to."""
        access = self._services.access(request)
        found = self._services.retrieve.locate(access, **request.path_params)
        return _several(request, self._services, access, found, every=True)


class _Pixels:
    def __init__(self, services: DicomWeb) -> None:
        self._services = services

    def __call__(self, request: Request) -> Response:
        """The pixel data of these instances."""
        access = self._services.access(request)
        found = self._services.retrieve.locate(access, **request.path_params)
        return pixel_data(request, self._services, access, found)


def pixel_data(request: Request, services: DicomWeb, access: Access, found: list[Located]) -> Response:
    """The pixel data of the instances: native ones as one value, compressed ones frame by frame."""
    return _several(request, services, access, found, every=False)


def _several(request: Request, services: DicomWeb, access: Access, found: list[Located], *, every: bool) -> Response:
    ranges = asked(request)
    forms = {located.instance: choose(ranges, located, single=False) for located in found}
    gather = _Gather(services=services, access=access, forms=forms, base=services.url(request), every=every)
    parts = gather.parts(found)
    try:
        first = next(parts)
    except StopIteration as error:
        raise NotFound("These instances have no bulk data.", expression="7FE00010") from error
    # What must be inflated, turned round or made is not held, but sent as it comes.
    as_stored = all(
        forms[located.instance].as_stored and located.transfer_syntax not in (DEFLATED, EXPLICIT_BIG)
        for located in found
    )
    answer = Answer(
        parts=chain([first], parts),
        tag=entity_tag(*(located.digest for located in found), repr(forms), repr(every)),
        media_type=first.media_type,
        as_stored=as_stored,
    )
    return answer.response(request, services, access)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Gather:
    """Makes parts of the bulk data of many instances."""

    services: DicomWeb
    access: Access
    forms: dict[str, Form]
    base: str
    #: All bulk data, not the pixel data alone.
    every: bool

    def parts(self, found: list[Located]) -> Iterator[Part]:
        """In the order of the instances."""
        by_uid = {located.instance: located for located in found}
        for header in self.services.retrieve.headers(self.access, found):
            located = by_uid[header["00080018"]["Value"][0]]
            if self.every or any(tag in header for tag in PIXELS):
                yield from self._of(located, header)

    def _of(self, located: Located, header: Attributes) -> Iterator[Part]:
        bulk = Bulk(self.services.retrieve, self.access, located)
        pixels = [tag for tag in PIXELS if "BulkDataURI" in header.get(tag, {})]
        values = bulk.values() if self.every else {tag: bulk.value(tag) for tag in pixels}
        place = f"{self.base}/studies/{located.study}/series/{located.series}/instances/{located.instance}/bulkdata"
        form = self.forms[located.instance]
        for path, value in values.items():
            if path in PIXELS and (value.encapsulated or form.media_type != OCTETS):
                framed = Framed(
                    access=self.access, located=located, header=header, form=form, location=f"{place}/{path}"
                )
                yield from framed.parts(self.services)
            elif not value.encapsulated:
                yield _part(value, f"{place}/{path}")
