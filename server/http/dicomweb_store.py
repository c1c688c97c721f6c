"""STOW-RS (PS3.18 10.5): instances in, taken through the door as they arrive.

A thread of the pool divides the body into its parts, checks them and stores them while more is coming. Not more than a
few blocks of a request are held at any moment.
"""

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from fastapi import APIRouter, Request, Response
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect

from server.errors import BadRequest, UnsupportedMedia
from server.http import dicomweb_store_answer
from server.http.dicomweb_services import DicomWeb
from server.http.media_type import parse
from server.http.multipart import PartParser
from server.http.socket_body import EXTENSION, SocketBody
from server.imaging.ingest import Outcome, Session
from server.telemetry import kill_points

#: Bytes gathered before the storing thread is handed them.
_BLOCK = 1 << 20
#: Uploads that are taken in at once; more wait, and no other route waits with them.
_UPLOADS = 64
_DICOM = "application/dicom"


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
    def start() -> Session:
        return services.ingest.session(services.access(request), study=study)

    intake = _Intake(start, request.headers.get("content-type", ""))
    own: SocketBody | None = request.scope.get("extensions", {}).get(EXTENSION)
    try:
        outcome = await (_from_socket(pool, intake, own) if own else _from_loop(pool, intake, request))
    except (ClientDisconnect, ConnectionError, TimeoutError):
        return Response(status_code=400)
    answer = dicomweb_store_answer.of(outcome, services.url(request))
    answer.background = BackgroundTask(_left)
    return answer


async def _left() -> None:
    """The answer has left."""
    kill_points.at("after-ack")


async def _from_socket(pool: ThreadPoolExecutor, intake: "_Intake", body: SocketBody) -> Outcome:
    """Lets a thread read for itself; between stalls it belongs to others."""
    loop = asyncio.get_running_loop()
    body.begin()
    try:
        while (outcome := await loop.run_in_executor(pool, intake.run, body)) is None:
            await body.wait()
        return outcome
    except BaseException:
        await loop.run_in_executor(pool, intake.close)
        raise
    finally:
        body.end()


async def _from_loop(pool: ThreadPoolExecutor, intake: "_Intake", request: Request) -> Outcome:
    """Reads here, and hands a thread what has come while more is coming."""
    loop = asyncio.get_running_loop()
    blocks: list[bytes] = []
    running: asyncio.Future[None] | None = None
    try:
        size = 0
        async for block in request.stream():
            blocks.append(block)
            size += len(block)
            if size >= _BLOCK:
                if running is not None:
                    await running
                running = loop.run_in_executor(pool, intake.take, blocks)
                blocks, size = [], 0
        if running is not None:
            await running
        return await loop.run_in_executor(pool, partial(intake.finish, blocks))
    finally:
        if running is not None and not running.done():
            await asyncio.wait([running])
        if intake.is_open:
            await loop.run_in_executor(pool, intake.close)


class _Intake:
    """One request's body on its way into a session of the ingest door; used by one thread at a time."""

    def __init__(self, start: Callable[[], Session], content_type: str) -> None:
        self._start = start
        self._body = _body(content_type, self)
        self._session: Session | None = None

    @property
    def is_open(self) -> bool:
        """Whether the session holds anything that must be given back."""
        return self._session is not None

    def run(self, body: SocketBody) -> Outcome | None:
        """Takes what comes; the outcome at the body's end, None when it stalls."""
        try:
            self.take(body)
            return None if body.stalled else self.finish(())
        except OSError:
            raise
        except Exception:  # an edge: whatever is wrong, the client must have room to hear of it; raised again
            body.drain()
            raise

    def take(self, blocks: Iterable[bytes]) -> None:
        """Stores what these blocks complete."""
        if self._session is None:
            self._session = self._start()
        for block in blocks:
            self._body.feed(block)

    def finish(self, blocks: Iterable[bytes]) -> Outcome:
        """Takes the last blocks and commits."""
        self.take(blocks)
        self._body.close()
        try:
            return self._open.finish()
        finally:
            self.close()

    def close(self) -> None:
        """Gives back what the session holds; what was not committed is forgotten."""
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def begin(self, headers: dict[str, str]) -> None:
        """A part starts."""
        kind = parse(headers.get("content-type", _DICOM)).type
        if kind != _DICOM:
            raise UnsupportedMedia(f"A part of type '{kind}' is not taken; send application/dicom.")
        self._open.begin()

    def data(self, piece: bytes) -> None:
        """More of its body."""
        self._open.data(piece)

    def end(self) -> None:
        """The part is whole."""
        self._open.end()

    @property
    def _open(self) -> Session:
        if self._session is None:
            raise RuntimeError("The session was not started.")
        return self._session


class _Single:
    """One instance that is the whole body."""

    def __init__(self, intake: _Intake) -> None:
        self._intake = intake
        self._begun = False

    def feed(self, block: bytes) -> None:
        """More of the file."""
        if not self._begun:
            self._begun = True
            self._intake.begin({})
        self._intake.data(block)

    def close(self) -> None:
        """The file is whole."""
        self.feed(b"")
        self._intake.end()


def _body(content_type: str, intake: _Intake) -> _Single | PartParser:
    """What reads the body, by its Content-Type; raises UnsupportedMedia."""
    if not content_type:
        raise UnsupportedMedia('Send a Content-Type: multipart/related; type="application/dicom"; boundary=...')
    media = parse(content_type)
    if media.type == _DICOM:
        return _Single(intake)
    if media.type != "multipart/related" or media.related not in ("", _DICOM):
        raise UnsupportedMedia("Instances are taken as application/dicom, alone or in multipart/related.")
    boundary = media.parameters.get("boundary", "")
    if not boundary:
        raise BadRequest("The Content-Type names no boundary.", expression="Content-Type")
    return PartParser(boundary, intake)
