"""STOW-RS of metadata and bulk data in parts of their own (PS3.18 10.5.2): JSON or XML, and what it refers to.

Metadata are held in memory up to a limit; bulk data wait in a file, since they may come before what refers to them.
"""

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from typing import IO, Any
from urllib.parse import urljoin

import orjson

from server.errors import BadInstance, BadRequest, TooLarge, Unavailable
from server.http.media_type import MediaType, parse
from server.imaging.assembly import Bulk, assemble
from server.imaging.dataset import Attributes
from server.imaging.ingest import Session
from server.imaging.native_xml import from_xml

JSON, XML = "application/dicom+json", "application/dicom+xml"
#: Bytes of all metadata of one request, parts of one request, and bytes of one piece of bulk data.
_MOST_METADATA, _MOST_PARTS, _PIECE = 64 << 20, 100_000, 1 << 20
#: Bytes of bulk data that are held before they go to a file.
_HELD = 4 << 20


class Described:
    """Takes the parts of one request, and at its end puts the instances together."""

    def __init__(self, session: Callable[[], Session], base: str, depth: int) -> None:
        self._session = session
        self._base = base
        self._depth = depth
        self._media = MediaType(type="")
        self._location = ""
        self._document = bytearray()
        self._metadata: list[tuple[str, bytes]] = []
        self._size = 0
        self._parts = 0
        self._bulk: dict[str, list[Bulk]] = {}
        # Closed by ``close``, whatever comes.
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(_HELD)  # noqa: SIM115
        self._start = self._end = 0

    def begin(self, headers: dict[str, str]) -> None:
        """A part starts."""
        self._parts += 1
        if self._parts > _MOST_PARTS:
            raise TooLarge(f"The request has more than {_MOST_PARTS} parts; send several.")
        self._media = parse(headers.get("content-type", JSON))
        self._location = headers.get("content-location", "").strip()
        self._start = self._end
        if self._media.type not in (JSON, XML) and not self._location:
            raise BadRequest("A part of bulk data names no Content-Location.", expression="Content-Location")

    def data(self, piece: bytes | memoryview) -> None:
        """More of its body."""
        if self._media.type in (JSON, XML):
            self._size += len(piece)
            if self._size > _MOST_METADATA:
                raise TooLarge(f"The metadata are longer than {_MOST_METADATA} bytes; send them in several requests.")
            self._document += piece
            return
        try:
            self._file.write(piece)
        except OSError as error:
            raise Unavailable(f"The bulk data can't be kept: {error.strerror}; free space and send again.") from error
        self._end += len(piece)

    def end(self) -> None:
        """The part is whole."""
        if self._media.type in (JSON, XML):
            self._metadata.append((self._media.type, bytes(self._document)))
            self._document.clear()
            return
        bulk = Bulk(
            media_type=self._media.type,
            transfer_syntax=self._media.transfer_syntax,
            length=self._end - self._start,
            read=partial(self._read, self._start, self._end),
        )
        self._bulk.setdefault(urljoin(self._base, self._location), []).append(bulk)

    def finish(self) -> None:
        """Every part is here: the instances go into the session."""
        if not self._metadata:
            raise BadRequest("The request holds no metadata.")
        for kind, document in self._metadata:
            for attributes in _datasets(kind, document):
                self._store(attributes)

    def close(self) -> None:
        """Lets the bulk data go."""
        self._file.close()

    def _store(self, attributes: Attributes) -> None:
        session = self._session()
        try:
            _absolute(attributes, self._base, self._depth)
            sop_class, sop_instance, pieces = assemble(attributes, self._bulk, self._depth)
            first = next(pieces)
        except BadInstance as error:
            session.refuse(error, _uid(attributes, "00080016"), _uid(attributes, "00080018"))
            return
        session.begin(sop_class, sop_instance)
        session.data(first)
        for piece in pieces:
            if piece:
                session.data(piece)
        session.end()

    def _read(self, start: int, end: int) -> Iterator[bytes]:
        while start < end:
            self._file.seek(start)
            piece = self._file.read(min(_PIECE, end - start))
            start += len(piece)
            yield piece


def _datasets(kind: str, document: bytes) -> list[Attributes]:
    if kind == XML:
        return [from_xml(document)]
    try:
        found = orjson.loads(document)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"The metadata are no JSON: {error.msg}.") from error
    datasets = found if isinstance(found, list) else [found]
    if not all(isinstance(dataset, dict) for dataset in datasets):
        raise BadRequest("The metadata are an array of data sets (PS3.18 F.2.1).")
    return datasets


def _absolute(attributes: Any, base: str, depth: int) -> None:
    """References as the parts' locations are kept; what is no data set is refused later."""
    if not isinstance(attributes, dict) or depth < 0:
        return
    for element in attributes.values():
        if not isinstance(element, dict):
            continue
        if isinstance(element.get("BulkDataURI"), str):
            element["BulkDataURI"] = urljoin(base, element["BulkDataURI"])
        values = element.get("Value")
        for item in values if isinstance(values, list) else ():
            _absolute(item, base, depth - 1)


def _uid(attributes: Attributes, tag: str) -> str:
    element = attributes.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    value = values[0] if isinstance(values, list) and values else ""
    return value if isinstance(value, str) and len(value) <= 64 and value.isascii() else ""
