"""Answers made of stored bytes with a little text between them: exact lengths, any ranges, nothing held in memory."""

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from fastapi import Request, Response
from starlette.types import Receive, Scope, Send

from server.http.conditional import CACHE, NotSatisfiable, entity_tag, is_known, ranges
from server.http.zero_copy import EXTENSION
from server.imaging.stored import Piece, Stored

#: Bytes read at once where the server can't send files.
_READ = 1 << 20


@dataclass(frozen=True)
class Body:
    """Pieces that follow each other."""

    pieces: Sequence[Piece]

    @cached_property
    def length(self) -> int:
        """Bytes in all."""
        return sum(len(piece) for piece in self.pieces)

    def cut(self, start: int, stop: int) -> "Body":
        """The bytes from ``start`` up to ``stop``."""
        return Body(tuple(_cut(self.pieces, start, stop)))


def _cut(pieces: Sequence[Piece], start: int, stop: int) -> Iterator[Piece]:
    at = 0
    for piece in pieces:
        low, high = max(start - at, 0), min(stop - at, len(piece))
        at += len(piece)
        if low < high:
            yield Stored(piece.pack, piece.offset + low, high - low) if isinstance(piece, Stored) else piece[low:high]


class StoredResponse(Response):
    """Sends a body; each pack is opened when its turn comes and closed whatever happens."""

    def __init__(
        self,
        body: Body,
        open_pack: Callable[[str], int],
        *,
        media_type: str,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(None, status, {**(headers or {}), "Content-Length": str(body.length)}, media_type)
        self._stored = body
        self._open = open_pack

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application that this response is."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if scope["method"] != "HEAD":
            if EXTENSION in scope.get("extensions", {}):
                await self._send_files(send)
            else:
                await self._send_bytes(receive, send)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_files(self, send: Send) -> None:
        with _Packs(self._open) as packs:
            await send({"type": EXTENSION, "pieces": self._stored.pieces, "file": packs.file})

    async def _send_bytes(self, receive: Receive, send: Send) -> None:
        gone = asyncio.ensure_future(_disconnect(receive))
        try:
            with _Packs(self._open) as packs:
                for piece in self._stored.pieces:
                    for start in range(0, len(piece), _READ):
                        stop = min(start + _READ, len(piece))
                        if isinstance(piece, Stored):
                            file = packs.file(piece.pack)
                            data = await asyncio.to_thread(os.pread, file, stop - start, piece.offset + start)
                        else:
                            data = piece[start:stop]
                        if gone.done():
                            return
                        await send({"type": "http.response.body", "body": data, "more_body": True})
        finally:
            gone.cancel()


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class _Packs:
    """The pack that was read last, open."""

    def __init__(self, open_pack: Callable[[str], int]) -> None:
        self._open = open_pack
        self._pack = ""
        self._file = -1

    def file(self, pack: str) -> int:
        """Its descriptor."""
        if pack != self._pack:
            self.close()
            self._file, self._pack = self._open(pack), pack
        return self._file

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._file, self._pack = -1, ""

    def __enter__(self) -> "_Packs":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def stored(request: Request, body: Body, open_pack: Callable[[str], int], *, media_type: str, tag: str) -> Response:
    """The answer to a request for these bytes: all of them, the ranges asked for, or that the client has them."""
    headers = {**CACHE, "ETag": tag, "Vary": "Accept", "Accept-Ranges": "bytes"}
    if is_known(request, tag):
        return Response(None, 304, headers)
    try:
        spans = ranges(request, body.length, tag)
    except NotSatisfiable:
        return Response(None, 416, {**headers, "Content-Range": f"bytes */{body.length}"})
    if not spans:
        return StoredResponse(body, open_pack, media_type=media_type, headers=headers)
    if len(spans) > 1:
        boundary = entity_tag(tag, repr(spans)).strip('"')
        several = _byteranges(body, spans, media_type, boundary)
        kind = f"multipart/byteranges; boundary={boundary}"
        return StoredResponse(several, open_pack, media_type=kind, status=206, headers=headers)
    ((start, stop),) = spans
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{body.length}"
    return StoredResponse(body.cut(start, stop), open_pack, media_type=media_type, status=206, headers=headers)


def _byteranges(body: Body, spans: list[tuple[int, int]], media_type: str, boundary: str) -> Body:
    """RFC 9110 14.6."""
    pieces: list[Piece] = []
    for start, stop in spans:
        place = f"Content-Range: bytes {start}-{stop - 1}/{body.length}"
        pieces.append(f"\r\n--{boundary}\r\nContent-Type: {media_type}\r\n{place}\r\n\r\n".encode("latin-1"))
        pieces += body.cut(start, stop).pieces
    pieces.append(f"\r\n--{boundary}--\r\n".encode("ascii"))
    return Body(tuple(pieces))
