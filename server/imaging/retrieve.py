"""WADO-RS: instances, metadata and bulk data given back (PS3.18 10.4), without the HTTP around it."""

import re
from collections.abc import Iterator

import orjson

from server.errors import NotFound
from server.imaging import guard
from server.imaging.dataset import BULK, UNDEFINED, Attributes
from server.imaging.guard import GuardLimits
from server.imaging.part10 import DEFLATED
from server.security.access import Access
from server.store import studies as store
from server.store.database import Database
from server.store.packs import Packs
from server.store.studies import Located

_UID = re.compile(r"[0-9.]{1,64}", re.ASCII)
_BULK_URI = f'"BulkDataURI":"{BULK}'.encode("ascii")


class Retrieve:
    """Gives back what ingest took in."""

    def __init__(self, database: Database, packs: Packs, limits: GuardLimits) -> None:
        self._database = database
        self._packs = packs
        self._limits = limits

    def locate(self, access: Access, study: str = "", series: str = "", instance: str = "") -> list[Located]:
        """The instances under the path, in order; raises NotFound where there are none."""
        access.require("read")
        _check_uids(study, series, instance)
        with self._database.reading() as uow:
            found = store.locate(uow, access.tenant, study, series, instance)
        if not found:
            raise NotFound("No such study, series or instance is stored; search for it by QIDO-RS.")
        return found

    def metadata(
        self, access: Access, base_url: str, study: str = "", series: str = "", instance: str = ""
    ) -> list[bytes]:
        """DICOM JSON of each instance, its BulkDataURIs absolute under ``base_url``; raises NotFound."""
        access.require("read")
        _check_uids(study, series, instance)
        with self._database.reading() as uow:
            found = store.metadata(uow, access.tenant, study, series, instance)
        if not found:
            raise NotFound("No such study, series or instance is stored; search for it by QIDO-RS.")
        return [
            data.replace(
                _BULK_URI,
                f'"BulkDataURI":"{base_url}/studies/{study}/series/{series}/instances/{uid}/bulkdata/'.encode("ascii"),
            )
            for study, series, uid, data in found
        ]

    def header(self, access: Access, located: Located) -> Attributes:
        """The instance's header as DICOM JSON, BulkDataURIs as stored."""
        access.require("read")
        with self._database.reading() as uow:
            found = store.metadata(uow, access.tenant, located.study, located.series, located.instance)
        header: Attributes = orjson.loads(found[0][3])
        return header

    def stream(self, access: Access, located: Located, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The bytes of the instance as they were received, or a piece of them."""
        size = located.length - offset if length is None else length
        return self._packs.stream(access.tenant, located.pack, located.pack_offset + offset, size)

    def file(self, access: Access, located: Located) -> bytes:
        """The same at once."""
        return b"".join(self.stream(access, located))

    def bulk(self, access: Access, located: Located, path: str) -> bytes:
        """The value that a BulkDataURI names; encapsulated pixel data with their item headers (PS3.5 A.4)."""
        file = self.file(access, located)
        _meta, reader, _attributes = guard.read(file, 0, len(file), self._limits)
        span = reader.bulk.get(path)
        if span is None:
            raise NotFound("The instance has no such bulk data; take the BulkDataURI from its metadata.")
        end = len(reader.buffer) if span.length == UNDEFINED else span.offset + span.length
        return bytes(reader.buffer[span.offset : end])

    def pixels(self, access: Access, located: Located) -> tuple[bytes, int, int]:
        """A buffer that holds the pixel data's value, where it starts, and its length (UNDEFINED: encapsulated)."""
        if located.pixel_offset is not None and located.pixel_length is not None:
            start = located.pixel_offset
            length = located.length - start if located.pixel_length == UNDEFINED else located.pixel_length
            return b"".join(self.stream(access, located, start, length)), 0, located.pixel_length
        if located.transfer_syntax == DEFLATED:
            file = self.file(access, located)
            _meta, reader, _attributes = guard.read(file, 0, len(file), self._limits)
            span = reader.bulk.get("7FE00010")
            if span is not None:
                return bytes(reader.buffer), span.offset, span.length
        raise NotFound("The instance has no pixel data.", expression="7FE00010")


def _check_uids(*uids: str) -> None:
    """What is no UID names nothing that is stored."""
    if any(uid and not _UID.fullmatch(uid) for uid in uids):
        raise NotFound("What the path names is no UID; search by QIDO-RS.")
