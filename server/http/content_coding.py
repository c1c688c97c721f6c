"""Content codings for text that compresses well: gzip and zstd, where the client asks (RFC 9110 12.5.3, RFC 8878).

Never for pixel data: they don't shrink, and their exact length and ranges matter more.
"""

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from server.errors import BadRequest
from server.http.conditional import CACHE, entity_tag, is_known

#: Bytes below which a coding saves nothing.
_SMALL = 1400
#: In the order in which we prefer them.
CODINGS = ("zstd", "gzip")


def coding(request: Request, names: Sequence[str] = CODINGS) -> str:
    """The best of these codings that Accept-Encoding takes; empty for none."""
    header = request.headers.get("accept-encoding", "")
    qualities: dict[str, float] = {}
    for part in header.lower().split(","):
        name, _, parameters = part.partition(";")
        qualities[name.strip()] = _quality(parameters)
    found = [(qualities.get(name, qualities.get("*", 0.0)), name) for name in names]
    best = max(found, key=lambda pair: pair[0])
    return best[1] if best[0] > qualities.get("identity", 0.0) else ""


def _quality(parameters: str) -> float:
    name, _, value = parameters.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError as error:
        raise BadRequest(
            "A quality in Accept-Encoding is no number from 0 to 1.", expression="Accept-Encoding"
        ) from error


def coded(request: Request, content: bytes, *, media_type: str) -> Response:
    """The answer with this text, tagged, and coded where the client asks for that."""
    name = coding(request) if len(content) > _SMALL else ""
    tag = entity_tag(content, name)
    headers = {**CACHE, "ETag": tag, "Vary": "Accept, Accept-Encoding"}
    if is_known(request, tag):
        return Response(None, 304, headers)
    if not name:
        return Response(content, 200, headers, media_type)
    return Response(_ENCODERS[name](content), 200, {**headers, "Content-Encoding": name}, media_type)


def coded_stream(request: Request, content: Iterable[bytes], *, media_type: str) -> Response:
    """The same for a text that is too long to be held; gzip only, since that is what flows."""
    headers = {**CACHE, "Vary": "Accept, Accept-Encoding"}
    if coding(request, ("gzip",)):
        content, headers = _gzipped(content), {**headers, "Content-Encoding": "gzip"}
    # Nothing is read for who asks for headers only.
    return StreamingResponse(() if request.method == "HEAD" else content, 200, headers, media_type)


def _gzipped(content: Iterable[bytes]) -> Iterator[bytes]:
    packer = zlib.compressobj(1, wbits=zlib.MAX_WBITS | 16)
    for piece in content:
        if data := packer.compress(piece):
            yield data
    yield packer.flush()


def _gzip(content: bytes) -> bytes:
    # Loaded when the first client asks: most don't, and codecs take memory.
    import imagecodecs

    return bytes(imagecodecs.gzip_encode(content, level=1))


def _zstd(content: bytes) -> bytes:
    import imagecodecs

    return bytes(imagecodecs.zstd_encode(content, level=1))


_ENCODERS: dict[str, Callable[[bytes], bytes]] = {"gzip": _gzip, "zstd": _zstd}
