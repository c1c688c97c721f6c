"""WADO-RS: instances, metadata and bulk data given back (PS3.18 10.4), without the HTTP around it."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from mmap import ACCESS_READ, ALLOCATIONGRANULARITY, mmap

import orjson

from server.errors import HutongError, NotFound
from server.imaging import guard
from server.imaging.dataset import BULK, UNDEFINED, Attributes, Span
from server.imaging.guard import GuardLimits
from server.imaging.part10 import DEFLATED
from server.imaging.remove import missing
from server.imaging.stored import Piece
from server.security.access import Access
from server.store import retrieval as store
from server.store.database import Database
from server.store.packs import Packs
from server.store.retrieval import Header
from server.store.studies import Located

_UID = re.compile(r"[0-9.]{1,64}", re.ASCII)
_BULK_URI = f'"BulkDataURI":"{BULK}'.encode("ascii")
#: Headers read at once; those of a larger study come in several pieces.
_HEADERS = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class Spans:
    """The bulk values of one instance."""

    #: From the start of the file, or of ``inflated``.
    by_path: dict[str, Span]
    #: The data set of a deflated instance.
    inflated: bytes | None = None


class Retrieve:
    """Gives back what ingest took in."""

    def __init__(self, database: Database, packs: Packs, limits: GuardLimits) -> None:
        self._database = database
        self._packs = packs
        self._limits = limits

    def locate(self, access: Access, study: str = "", series: str = "", instance: str = "") -> list[Located]:
        """The instances under the path, in order; raises NotFound or Gone where there are none."""
        path = _path(access, study, series, instance)
        with self._database.statement(durable=False) as connection:
            found = store.locate(connection, access.tenant, path, who=_reader(access))
        if not found:
            raise self._missing(access, path)
        return found

    def locate_with_header(self, access: Access, study: str, series: str, instance: str) -> tuple[Located, Attributes]:
        """One instance and its header as DICOM JSON, BulkDataURIs as stored; raises NotFound or Gone."""
        path = _path(access, study, series, instance)
        with self._database.statement(durable=False) as connection:
            found = store.locate_with_header(connection, access.tenant, path, who=_reader(access))
        if found is None:
            raise self._missing(access, path)
        header: Attributes = orjson.loads(found[1])
        return found[0], header

    def metadata(
        self, access: Access, base_url: str, study: str = "", series: str = "", instance: str = ""
    ) -> Iterator[list[bytes]]:
        """DICOM JSON of each instance, its BulkDataURIs absolute under ``base_url``, some hundred at a time.

        What is not there is known before the first are asked for: raises NotFound or Gone.
        """
        path = _path(access, study, series, instance)
        who = _reader(access)
        with self._database.statement(durable=False) as connection:
            first = store.headers(connection, access.tenant, path, limit=_HEADERS + 1, who=who)
        if not first:
            raise self._missing(access, path)
        if len(first) <= _HEADERS:
            return iter([[_absolute(header, base_url) for header in first]])
        return self._long_metadata(access, base_url, path)

    def _long_metadata(self, access: Access, base_url: str, path: tuple[str, ...]) -> Iterator[list[bytes]]:
        with self._database.statement(durable=False) as connection:
            uids = [place.instance for place in store.locate(connection, access.tenant, path)]
        for start in range(0, len(uids), _HEADERS):
            with self._database.statement(durable=False) as connection:
                some = store.headers_of(connection, access.tenant, uids[start : start + _HEADERS])
            yield [_absolute(header, base_url) for header in some]

    def header(self, access: Access, located: Located) -> Attributes:
        """The instance's header as DICOM JSON, BulkDataURIs as stored."""
        access.require("read")
        with self._database.statement(durable=False) as connection:
            found = store.headers_of(connection, access.tenant, [located.instance])
        if not found:
            raise self._missing(access, (located.study, located.series, located.instance))
        header: Attributes = orjson.loads(found[0].json)
        return header

    def headers(self, access: Access, located: list[Located]) -> Iterator[Attributes]:
        """The headers of many instances, in their order; those deleted meanwhile are left out."""
        access.require("read")
        for start in range(0, len(located), _HEADERS):
            uids = [place.instance for place in located[start : start + _HEADERS]]
            with self._database.statement(durable=False) as connection:
                some = store.headers_of(connection, access.tenant, uids)
            yield from (orjson.loads(header.json) for header in some)

    def open(self, access: Access, pack: str) -> int:
        """A descriptor of the pack, for whoever gives its bytes on as they are; the caller closes it."""
        access.require("read")
        return self._packs.open(access.tenant, pack)

    def stream(self, access: Access, located: Located, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The bytes of the instance as they were received, or a piece of them."""
        size = located.length - offset if length is None else length
        return self._packs.stream(access.tenant, located.pack, located.pack_offset + offset, size)

    def read(self, access: Access, located: Located, offset: int, length: int) -> bytes:
        """A piece of them at once."""
        return b"".join(self.stream(access, located, offset, length))

    def content(self, access: Access, piece: Piece) -> bytes:
        """The bytes that a piece of an answer stands for."""
        if isinstance(piece, bytes):
            return piece
        return self._packs.read(access.tenant, piece.pack, piece.offset, piece.length)

    def file(self, access: Access, located: Located) -> bytes:
        """All of them at once."""
        return b"".join(self.stream(access, located))

    def spans(self, access: Access, located: Located) -> "Spans":
        """Where every bulk value of the instance is, by the path of its BulkDataURI."""
        access.require("read")
        if located.transfer_syntax == DEFLATED:
            file = self.file(access, located)
            _meta, reader, _attributes = guard.read(file, 0, len(file), self._limits)
            return Spans(inflated=bytes(reader.buffer), by_path=reader.bulk)
        with self._map(access, located) as (view, start):
            _meta, reader, _attributes = guard.read(view, start, start + located.length, self._limits)
            return Spans(
                by_path={path: replace(span, offset=span.offset - start) for path, span in reader.bulk.items()}
            )

    @contextmanager
    def _map(self, access: Access, located: Located) -> Iterator[tuple[mmap, int]]:
        """The instance without reading it, and where in the map it starts."""
        file = self._packs.open(access.tenant, located.pack)
        try:
            end = located.pack_offset + located.length
            # Touching a map beyond the file's end would kill the process.
            if os.fstat(file).st_size < end:
                raise NotFound("The stored bytes end early; run the storage check.")
            base = located.pack_offset // ALLOCATIONGRANULARITY * ALLOCATIONGRANULARITY
            with mmap(file, end - base, access=ACCESS_READ, offset=base) as view:
                yield view, located.pack_offset - base
        finally:
            os.close(file)

    def pixels(self, access: Access, located: Located) -> tuple[bytes, int, int]:
        """A buffer that holds the pixel data's value, where it starts, and its length (UNDEFINED: encapsulated)."""
        if located.pixel_offset is not None and located.pixel_length is not None:
            start = located.pixel_offset
            length = located.length - start if located.pixel_length == UNDEFINED else located.pixel_length
            return self.read(access, located, start, length), 0, located.pixel_length
        if located.transfer_syntax == DEFLATED:
            file = self.file(access, located)
            _meta, reader, _attributes = guard.read(file, 0, len(file), self._limits)
            span = reader.bulk.get("7FE00010")
            if span is not None:
                return bytes(reader.buffer), span.offset, span.length
        raise NotFound("The instance has no pixel data.", expression="7FE00010")

    def _missing(self, access: Access, path: tuple[str, ...]) -> HutongError:
        with self._database.reading() as uow:
            return missing(uow, access.tenant, *path)


def _reader(access: Access) -> str:
    """Who goes into the audit; our own work on what we hold is no disclosure."""
    return "" if access.who == "system" else access.who


def _path(access: Access, *uids: str) -> tuple[str, ...]:
    """Checks the right to read, and that the path names UIDs: what is none names nothing that is stored."""
    access.require("read")
    if any(uid and not _UID.fullmatch(uid) for uid in uids):
        raise NotFound("What the path names is no UID; search by QIDO-RS.")
    return uids


def _absolute(header: Header, base_url: str) -> bytes:
    place = f"{base_url}/studies/{header.study}/series/{header.series}/instances/{header.instance}/bulkdata/"
    return header.json.replace(_BULK_URI, f'"BulkDataURI":"{place}'.encode("ascii"))
