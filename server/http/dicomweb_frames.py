"""WADO-RS (PS3.18 10.4): frames, as they are stored, decoded, or encoded anew."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response

from server.errors import BadRequest, NotAcceptable
from server.http.conditional import entity_tag
from server.http.dicomweb_parts import Answer
from server.http.dicomweb_route import add_get
from server.http.dicomweb_services import DicomWeb
from server.http.media_type import MediaType, asked
from server.http.multipart_related import Part
from server.imaging import frames
from server.imaging.bulk import Bulk, frames_of_file
from server.imaging.dataset import Attributes
from server.imaging.part10 import EXPLICIT_BIG, EXPLICIT_LITTLE, NATIVE
from server.imaging.stored import Piece
from server.imaging.transfer_syntax import DECODABLE, media_type
from server.security.access import Access
from server.store.studies import Located

_PATH = "/studies/{study}/series/{series}/instances/{instance}/frames/{frames}"
OCTETS = "application/octet-stream"
#: Media types of compressed frames and the transfer syntax that each stands for by itself (PS3.18 table 8.7.3-5).
DEFAULTS = {
    "image/jpeg": "1.2.840.10008.1.2.4.70",
    "image/dicom-rle": "1.2.840.10008.1.2.5",
    "image/jls": "1.2.840.10008.1.2.4.80",
    "image/jp2": "1.2.840.10008.1.2.4.90",
    "image/jphc": "1.2.840.10008.1.2.4.201",
}
#: What frames are given as: alone, or as the type of multipart/related.
MEDIA_TYPES = (OCTETS, *DEFAULTS, "image/jpx", "video/mpeg", "video/mp4")
_ANY = ("", "*/*", "application/*", "multipart/*", "image/*", "video/*")
#: Native pixels are the same in all of these.
_PLAIN = ("", "*", *(NATIVE - {EXPLICIT_BIG}))
#: Frames that a worker decodes at once.
_BATCH = 8


def add_routes(api: APIRouter, services: DicomWeb) -> None:
    """Frames of an instance."""
    add_get(api, _PATH, _Frames(services), "frames", gives=MEDIA_TYPES)


class _Frames:
    def __init__(self, services: DicomWeb) -> None:
        self._services = services

    def __call__(self, request: Request) -> Response:
        """The frames, each a part, or one alone."""
        access = self._services.access(request)
        path = dict(request.path_params)
        numbers = frame_numbers(path.pop("frames"))
        located, header = self._services.retrieve.locate_with_header(access, **path)
        form = choose(asked(request), located, single=len(numbers) == 1)
        framed = Framed(access=access, located=located, header=header, form=form, numbers=numbers)
        answer = Answer(
            parts=framed.parts(self._services),
            tag=entity_tag(located.digest, repr(numbers), repr(form)),
            media_type=form.media_type,
            alone=form.alone,
            as_stored=form.as_stored,
        )
        return answer.response(request, self._services, access)


def frame_numbers(text: str) -> list[int]:
    """A list of frame numbers, divided by commas; raises BadRequest."""
    parts = text.split(",")
    if len(parts) > 10_000 or not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        raise BadRequest("Frames are numbers from 1, divided by commas.", expression="frames")
    return [int(part) for part in parts]


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """How the frames of one instance go."""

    media_type: str
    transfer_syntax: str
    #: One frame without multipart around it.
    alone: bool
    #: As they are stored, big-endian ones turned round.
    as_stored: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Framed:
    """Frames of one instance in one form."""

    access: Access
    located: Located
    header: Attributes
    form: Form
    #: From 1; none for all.
    numbers: Sequence[int] = ()
    location: str = ""

    def parts(self, services: DicomWeb) -> Iterator[Part]:
        """A part for each frame; raises NotFound and Unprocessable before the first."""
        if self.form.as_stored:
            found = iter(Bulk(services.retrieve, self.access, self.located).frames(self.header, self.numbers))
        elif self.form.transfer_syntax == EXPLICIT_LITTLE:
            found = self._decoded(services)
        else:
            found = self._encoded(services)
        for content in found:
            yield Part(
                media_type=self.form.media_type,
                transfer_syntax=self.form.transfer_syntax,
                location=self.location,
                content=content,
            )

    def _decoded(self, services: DicomWeb) -> Iterator[tuple[Piece, ...]]:
        bulk = Bulk(services.retrieve, self.access, self.located)
        pieces = bulk.frames(self.header, self.numbers)
        layout = frames.pixel_format(self.header)
        for start in range(0, len(pieces), _BATCH):
            some = [b"".join(map(bulk.content, frame)) for frame in pieces[start : start + _BATCH]]
            for pixels in services.pool.decode_frames(some, self.located.transfer_syntax, layout):
                yield (pixels,)

    def _encoded(self, services: DicomWeb) -> Iterator[tuple[Piece, ...]]:
        file = services.pixels.transcoded(self.access, self.located, self.form.transfer_syntax)
        for frame in frames_of_file(file, self.numbers):
            yield (frame,)


def choose(ranges: list[MediaType], located: Located, *, single: bool) -> Form:
    """The first form that can be given; raises NotAcceptable."""
    for media in ranges:
        found = _form(media, located)
        if found is not None:
            kind, syntax, as_stored = found
            alone = single and "*" not in media.type and not media.type.startswith("multipart/")
            return Form(media_type=kind, transfer_syntax=syntax, as_stored=as_stored, alone=alone)
    raise NotAcceptable(
        f'Frames are given as multipart/related; type="{OCTETS}" or "{media_type(located.transfer_syntax)}".',
        expression="Accept",
    )


def _form(media: MediaType, located: Located) -> tuple[str, str, bool] | None:
    """Media type, transfer syntax, and whether the frames go as they are stored."""
    kind = media.related if media.type == "multipart/related" else media.type
    wished, stored = media.transfer_syntax, located.transfer_syntax
    own = media_type(stored)
    as_stored = own, EXPLICIT_LITTLE if stored in NATIVE else stored, True
    if stored in NATIVE and kind in (OCTETS, *_ANY) and wished in _PLAIN:
        return as_stored
    if stored not in NATIVE and kind in (OCTETS, own, *_ANY) and wished in ("*", stored):
        return as_stored
    if stored not in NATIVE and not wished and (kind == own or kind in ("", *_ANY)) and kind != "application/*":
        return as_stored
    if kind in (OCTETS, "application/*") and wished in (*_PLAIN[2:], "") and stored in DECODABLE:
        return OCTETS, EXPLICIT_LITTLE, False
    target = wished if wished not in ("", "*") else DEFAULTS.get(kind, "")
    possible = target in DECODABLE and stored in NATIVE | DECODABLE
    if possible and kind in (media_type(target), *_ANY):
        return media_type(target), target, target == stored
    return None
