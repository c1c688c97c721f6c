"""STOW-RS (PS3.18 10.5): instances in, streamed into the pack as they arrive."""

from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

import anyio
import orjson
from anyio import from_thread, to_thread
from fastapi import APIRouter, Request, Response
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from server.errors import BadRequest, UnsupportedMedia
from server.http.dicomweb_services import DicomWeb
from server.http.media_type import parse
from server.http.multipart import PartReader
from server.imaging.ingest import Accepted, Outcome, Received, Refused
from server.security.access import Access
from server.telemetry import kill_points

#: Bytes gathered before the storing thread is handed a block.
_BLOCK = 512 << 10
#: Uploads that are taken in at once; more wait, and no other route waits with them.
_UPLOADS = 64
_DICOM = "application/dicom"


def add_routes(api: APIRouter, services: DicomWeb) -> None:
    """POST /studies and POST /studies/{study}."""
    uploads = anyio.CapacityLimiter(_UPLOADS)

    @api.post("/studies")
    async def store(request: Request) -> Response:
        """Stores instances of any study."""
        return await _store(services, uploads, request, "")

    @api.post("/studies/{study}")
    async def store_in_study(request: Request, study: str) -> Response:
        """Stores instances of one study; those of others are refused."""
        return await _store(services, uploads, request, study)


async def _store(services: DicomWeb, uploads: anyio.CapacityLimiter, request: Request, study: str) -> Response:
    access: Access = await run_in_threadpool(services.access, request)
    blocks = _Blocks(request.stream())
    instances = _instances(request.headers.get("content-type", ""), blocks)

    def receive() -> Outcome:
        return services.ingest.receive(access, instances, study=study)

    try:
        outcome = await to_thread.run_sync(receive, limiter=uploads)
    except ClientDisconnect:
        return Response(status_code=400)
    answer = _answer(outcome, services.url(request))
    answer.background = BackgroundTask(kill_points.at, "after-ack")
    return answer


class _Blocks:
    """The request's body, iterated by the storing thread; never more than a block is held."""

    def __init__(self, stream: AsyncIterator[bytes]) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        while block := from_thread.run(self._next):
            yield block

    async def _next(self) -> bytes:
        pieces: list[bytes] = []
        size = 0
        while size < _BLOCK:
            piece = await anext(self._stream, None)
            if piece is None:
                break
            pieces.append(piece)
            size += len(piece)
        return b"".join(pieces)


def _instances(content_type: str, blocks: Iterable[bytes]) -> Iterator[Received]:
    """The instances of a request by its Content-Type; raises UnsupportedMedia."""
    if not content_type:
        raise UnsupportedMedia('Send a Content-Type: multipart/related; type="application/dicom"; boundary=...')
    media = parse(content_type)
    if media.type == _DICOM:
        return iter([Received(chunks=blocks)])
    if media.type != "multipart/related" or media.related not in ("", _DICOM):
        raise UnsupportedMedia("Instances are taken as application/dicom, alone or in multipart/related.")
    boundary = media.parameters.get("boundary", "")
    if not boundary:
        raise BadRequest("The Content-Type names no boundary.", expression="Content-Type")
    return _parts(PartReader(blocks, boundary))


def _parts(reader: PartReader) -> Iterator[Received]:
    for part in reader:
        kind = part.headers.get("content-type", _DICOM)
        if parse(kind).type != _DICOM:
            raise UnsupportedMedia(f"A part of type '{parse(kind).type}' is not taken; send application/dicom.")
        yield Received(chunks=part.body)


def _answer(outcome: Outcome, url: str) -> Response:
    """The Store Instances Response (PS3.18 10.5.3)."""
    accepted = outcome.stored + outcome.already
    body: dict[str, Any] = {}
    studies = {instance.study for instance in accepted}
    if len(studies) == 1:
        body["00081190"] = {"vr": "UR", "Value": [f"{url}/studies/{studies.pop()}"]}
    named = [refused for refused in outcome.refused if refused.sop_instance]
    nameless = [refused for refused in outcome.refused if not refused.sop_instance]
    if named:
        body["00081198"] = {"vr": "SQ", "Value": [_failed(refused) for refused in named]}
    if accepted:
        body["00081199"] = {"vr": "SQ", "Value": [_referenced(instance, url) for instance in accepted]}
    if nameless:
        body["0008119A"] = {"vr": "SQ", "Value": [_reason(refused) for refused in nameless]}
    if not accepted and not outcome.refused:
        raise BadRequest("The request holds no instance.")
    status = 200 if not outcome.refused else 202 if accepted else 409
    headers = {"Warning": f'299 hutong "{_ascii(outcome.refused[0])}"'} if outcome.refused else {}
    return Response(orjson.dumps(body), status, headers, "application/dicom+json")


def _referenced(instance: Accepted, url: str) -> dict[str, Any]:
    place = f"{url}/studies/{instance.study}/series/{instance.series}/instances/{instance.sop_instance}"
    return {
        "00081150": {"vr": "UI", "Value": [instance.sop_class]},
        "00081155": {"vr": "UI", "Value": [instance.sop_instance]},
        "00081190": {"vr": "UR", "Value": [place]},
    }


def _failed(refused: Refused) -> dict[str, Any]:
    named = {"00081155": {"vr": "UI", "Value": [refused.sop_instance]}}
    if refused.sop_class:
        named["00081150"] = {"vr": "UI", "Value": [refused.sop_class]}
    return named | _reason(refused)


def _reason(refused: Refused) -> dict[str, Any]:
    return {"00081197": {"vr": "US", "Value": [refused.reason]}}


def _ascii(refused: Refused) -> str:
    text = f"{refused.expression}: {refused.details}" if refused.expression else refused.details
    return text.encode("ascii", "replace").decode("ascii").replace("\\", "/").replace('"', "'")
