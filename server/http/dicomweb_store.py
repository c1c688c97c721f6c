"""STOW-RS (PS3.18 10.5): instances in, taken through the door as they arrive.

The event loop divides the body into its parts; a thread of the pool checks and stores what has come while more is
coming. Not more than a few blocks of a request are held at any moment.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from fastapi import APIRouter, Request, Response
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect

from server.errors import BadRequest, UnsupportedMedia
from server.http import dicomweb_store_answer
from server.http.dicomweb_services import DicomWeb
from server.http.media_type import parse
from server.http.multipart import PartParser
from server.imaging.ingest import Outcome, Session
from server.telemetry import kill_points

#: Bytes gathered before the storing thread is handed a block.
_BLOCK = 1 << 20
#: Uploads that are taken in at once; more wait, and no other route waits with them.
_UPLOADS = 64
_DICOM = "application/dicom"
#: The start and the end of an instance, between its pieces.
_BEGIN, _END = "begin", "end"
_Steps = list[bytes | str]


def add_routes(api: APIRouter, services: DicomWeb) -> None:
    """POST /studies and POST /studies/{study}."""
    pool = ThreadPoolExecutor(_UPLOADS, thread_name_prefix="stow")

    @api.post("/studies")
    async def store(request: Request) -> Response:
        """Stores instances of any study."""
        return await _store(services, pool, request, "")

    @api.post("/studies/{study}")
    async def store_in_study(request: Request, study: str) -> Response:
        """Stores instances of one study; those of others are refused."""
        return await _store(services, pool, request, study)


async def _store(services: DicomWeb, pool: ThreadPoolExecutor, request: Request, study: str) -> Response:
    upload = _Upload(pool, lambda: services.ingest.session(services.access(request), study=study))
    body = _body(request.headers.get("content-type", ""), upload)
    try:
        async for block in request.stream():
            body.feed(block)
            if upload.size >= _BLOCK:
                await upload.pass_on()
        body.close()
        outcome = await upload.finish()
    except ClientDisconnect:
        return Response(status_code=400)
    finally:
        await upload.close()
    answer = dicomweb_store_answer.of(outcome, services.url(request))
    answer.background = BackgroundTask(kill_points.at, "after-ack")
    return answer


class _Upload:
    """One request's way from the event loop into a session of the ingest door, which runs in the pool."""

    def __init__(self, pool: ThreadPoolExecutor, start: Callable[[], Session]) -> None:
        self._pool = pool
        self._start = start
        self._session: Session | None = None
        self._steps: _Steps = []
        #: Bytes that the thread was not handed yet.
        self.size = 0
        self._running: asyncio.Future[Session] | None = None

    def begin(self, headers: dict[str, str]) -> None:
        """A part starts."""
        kind = parse(headers.get("content-type", _DICOM)).type
        if kind != _DICOM:
            raise UnsupportedMedia(f"A part of type '{kind}' is not taken; send application/dicom.")
        self._steps.append(_BEGIN)

    def data(self, piece: bytes) -> None:
        """More of its body."""
        self._steps.append(piece)
        self.size += len(piece)

    def end(self) -> None:
        """The part is whole."""
        self._steps.append(_END)

    async def pass_on(self) -> None:
        """Hands the thread what has come, once it is done with what came before."""
        await self._idle()
        steps, self._steps, self.size = self._steps, [], 0
        self._running = asyncio.get_running_loop().run_in_executor(self._pool, self._take, steps)

    async def finish(self) -> Outcome:
        """Stores the rest and commits."""
        await self._idle()
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._finish)

    async def close(self) -> None:
        """Ends the session, whatever became of it."""
        running, self._running = self._running, None
        if running is not None:
            await asyncio.wait([running])
            running.exception()
        if self._session is not None:
            await asyncio.get_running_loop().run_in_executor(self._pool, self._session.close)

    async def _idle(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            await running

    def _take(self, steps: _Steps) -> Session:
        session = self._session
        if session is None:
            session = self._session = self._start()
        for step in steps:
            if isinstance(step, bytes):
                session.data(step)
            elif step is _BEGIN:
                session.begin()
            else:
                session.end()
        return session

    def _finish(self) -> Outcome:
        with self._take(self._steps) as session:
            self._session = None
            return session.finish()


class _Single:
    """One instance that is the whole body."""

    def __init__(self, upload: _Upload) -> None:
        self._upload = upload
        upload.begin({})

    def feed(self, block: bytes) -> None:
        """More of the file."""
        self._upload.data(block)

    def close(self) -> None:
        """The file is whole."""
        self._upload.end()


def _body(content_type: str, upload: _Upload) -> _Single | PartParser:
    """What reads the body, by its Content-Type; raises UnsupportedMedia."""
    if not content_type:
        raise UnsupportedMedia('Send a Content-Type: multipart/related; type="application/dicom"; boundary=...')
    media = parse(content_type)
    if media.type == _DICOM:
        return _Single(upload)
    if media.type != "multipart/related" or media.related not in ("", _DICOM):
        raise UnsupportedMedia("Instances are taken as application/dicom, alone or in multipart/related.")
    boundary = media.parameters.get("boundary", "")
    if not boundary:
        raise BadRequest("The Content-Type names no boundary.", expression="Content-Type")
    return PartParser(boundary, upload)
