"""STOW-RS (PS3.18 10.5): instances in, taken through the door as they arrive.

A thread divides the body into its parts, checks them and stores them while more is coming. Not more than a few blocks
of a request are held at any moment.
"""

import asyncio
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from fastapi import APIRouter, Request, Response
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect

from server.errors import BadRequest, UnsupportedMedia
from server.http import dicomweb_store_answer
from server.http.dicomweb_services import PREFIX, DicomWeb
from server.http.dicomweb_store_metadata import JSON, XML, Described
from server.http.media_type import parse
from server.http.multipart import PartParser, PartSink
from server.imaging.ingest import Session
from server.telemetry import kill_points

#: Bytes gathered before the storing thread is handed them.
_BLOCK = 1 << 20
#: Uploads that are taken in at once; more wait, and no other route waits with them.
_UPLOADS = 64
_DICOM = "application/dicom"
_PATH = re.compile(rf"{PREFIX}/studies(?:/([0-9.]+))?")


def add_routes(api: APIRouter, services: DicomWeb) -> None:
    """POST /studies and POST /studies/{study}."""
    pool = ThreadPoolExecutor(_UPLOADS, thread_name_prefix="stow")

    @api.post("/studies")
    async def store(request: Request) -> Response:
        """Stores instances of any study."""
        return await _store(Store(services, request, ""), pool, request)

    @api.post("/studies/{study}")
    async def store_in_study(request: Request, study: str) -> Response:
        """Stores instances of one study; those of others are refused."""
        return await _store(Store(services, request, study), pool, request)


class Stores:
    """The same routes, for ``server.http.uploads``."""

    def __init__(self, services: DicomWeb) -> None:
        self._services = services

    def start(self, request: Request) -> "Store | None":
        """None where the request is for something else."""
        match = _PATH.fullmatch(request.scope["path"])
        return Store(self._services, request, match[1] or "") if match and request.method == "POST" else None


class Store:
    """One request on its way into a session of the ingest door; used by one thread at a time."""

    def __init__(self, services: DicomWeb, request: Request, study: str) -> None:
        self._services = services
        self._request = request
        self._study = study
        self._session: Session | None = None
        self._body: _Single | PartParser | None = None
        self._described: Described | None = None
        self._xml = False

    def take(self, blocks: Iterable[bytes]) -> None:
        """Stores what these blocks complete."""
        if self._body is None:
            access = self._services.access(self._request)
            self._xml = dicomweb_store_answer.is_xml(self._request.headers.get("accept", ""))
            self._body = _body(self._request, self)
            self._session = self._services.ingest.session(access, study=self._study)
        for block in blocks:
            self._body.feed(block)

    def finish(self) -> Response:
        """Commits; the answer."""
        self.take(())
        try:
            if self._body is not None:
                self._body.close()
            if self._described is not None:
                self._described.finish()
            outcome = self.session.finish()
        finally:
            self.close()
        return dicomweb_store_answer.of(outcome, self._services.url(self._request), xml=self._xml)

    def close(self) -> None:
        """Gives back what the session holds; what was not committed is forgotten."""
        # The parser refers to itself and to us: without this its last block would lie there till the next collection.
        self._body = None
        session, self._session = self._session, None
        if session is not None:
            session.close()
        if self._described is not None:
            self._described.close()

    def describe(self) -> Described:
        """Metadata and bulk data come instead of instances."""
        base = f"{self._services.url(self._request)}/studies"
        self._described = Described(lambda: self.session, base, self._services.settings.max_sequence_depth)
        return self._described

    def left(self) -> None:
        """The answer has left."""
        kill_points.at("after-ack")

    def begin(self, headers: dict[str, str]) -> None:
        """A part starts."""
        kind = parse(headers.get("content-type", _DICOM)).type
        if kind != _DICOM:
            raise UnsupportedMedia(f"A part of type '{kind}' is not taken; send application/dicom.")
        self.session.begin()

    def data(self, piece: bytes | memoryview) -> None:
        """More of its body."""
        self.session.data(piece)

    def end(self) -> None:
        """The part is whole."""
        self.session.end()

    @property
    def session(self) -> Session:
        """The session that the request has opened."""
        if self._session is None:
            raise RuntimeError("The session was not started.")
        return self._session


async def _store(store: Store, pool: ThreadPoolExecutor, request: Request) -> Response:
    """Reads in the event loop, and hands a thread what has come while more is coming."""
    loop = asyncio.get_running_loop()
    running: asyncio.Future[None] | None = None
    try:
        blocks: list[bytes] = []
        async for block in request.stream():
            blocks.append(block)
            if sum(map(len, blocks)) >= _BLOCK:
                if running is not None:
                    await running
                running, blocks = loop.run_in_executor(pool, store.take, blocks), []
        if running is not None:
            await running
        await loop.run_in_executor(pool, store.take, blocks)
        answer = await loop.run_in_executor(pool, store.finish)
    except ClientDisconnect:
        return Response(status_code=400)
    finally:
        if running is not None and not running.done():
            await asyncio.wait([running])
        await loop.run_in_executor(pool, store.close)
    answer.background = BackgroundTask(_left, store)
    return answer


async def _left(store: Store) -> None:
    store.left()


class _Single:
    """One instance, or its metadata, that is the whole body."""

    def __init__(self, sink: PartSink, content_type: str) -> None:
        self._sink = sink
        self._headers = {"content-type": content_type}
        self._begun = False

    def feed(self, block: bytes) -> None:
        """More of the file."""
        if not self._begun:
            self._begun = True
            self._sink.begin(self._headers)
        self._sink.data(block)

    def close(self) -> None:
        """The file is whole."""
        self.feed(b"")
        self._sink.end()


def _body(request: Request, store: Store) -> _Single | PartParser:
    """What reads the body, by its Content-Type; raises UnsupportedMedia."""
    content_type = request.headers.get("content-type", "")
    if not content_type:
        raise UnsupportedMedia('Send a Content-Type: multipart/related; type="application/dicom"; boundary=...')
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMedia("Bodies are taken as they are; send this one without Content-Encoding.")
    media = parse(content_type)
    if media.type == _DICOM:
        return _Single(store, content_type)
    if media.type in (JSON, XML):
        return _Single(store.describe(), content_type)
    if media.type != "multipart/related" or media.related not in ("", _DICOM, JSON, XML):
        raise UnsupportedMedia(
            "Instances are taken as application/dicom, application/dicom+json or application/dicom+xml."
        )
    boundary = media.parameters.get("boundary", "")
    if not boundary:
        raise BadRequest("The Content-Type names no boundary.", expression="Content-Type")
    return PartParser(boundary, store.describe() if media.related in (JSON, XML) else store)
