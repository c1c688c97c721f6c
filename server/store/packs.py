"""Packs: append-only files that hold the instances of one request or association, durable before the commit.

A pack's name is random and our own; no identifier from outside becomes part of a path. An index row says where in
which pack an instance is, so giving one back is a ranged read. What a killed request leaves is an unreferenced pack.
"""

import os
import uuid
from collections.abc import Iterator
from mmap import ACCESS_READ, ALLOCATIONGRANULARITY, mmap
from pathlib import Path
from types import TracebackType

from server.errors import BadRequest, NotFound, Unavailable

_CHUNK = 1 << 20
#: A pack that has grown beyond this takes no further instance, bytes.
FULL = 1 << 30


class PackWriter:
    """One open pack. Use as a context manager; a pack in which nothing was synced is removed at the end."""

    def __init__(self, folder: Path, root: Path, tenant: int) -> None:
        self.tenant = tenant
        self.pack = uuid.uuid4().hex
        self.position = 0
        #: Bytes up to here are durable.
        self.synced = 0
        self._root = root
        self._path = folder / self.pack[:2] / f"{self.pack}.pack"
        self._missing = [f for f in (self._path.parent, *self._path.parent.parents) if not f.exists()]
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._file = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)

    def append(self, data: bytes | memoryview) -> None:
        """Adds bytes at the end; raises Unavailable when the disk takes no more."""
        view = memoryview(data)
        try:
            while view:
                written = os.write(self._file, view)
                self.position += written
                view = view[written:]
        except OSError as error:
            raise Unavailable(f"The instance can't be written: {error.strerror}; free space and send again.") from error

    def take_back(self, position: int) -> None:
        """Forgets what was appended since ``position``; nothing that is durable."""
        if position < self.synced:
            raise ValueError("Durable bytes are not taken back.")
        os.ftruncate(self._file, position)
        os.lseek(self._file, position, os.SEEK_SET)
        self.position = position

    def sync(self) -> None:
        """Makes everything appended durable: the file, and its folder when it is new."""
        if self.synced == self.position:
            return
        try:
            os.fsync(self._file)
            if not self.synced:
                for folder in {self._path.parent, *(missing.parent for missing in self._missing)}:
                    _sync_folder(folder)
        except OSError as error:
            raise Unavailable(f"The disk does not confirm a write: {error.strerror}; send again.") from error
        self.synced = self.position

    def view(self, start: int) -> tuple[mmap, int]:
        """A read-only map that holds everything from ``start`` on, and where in it ``start`` is."""
        base = start // ALLOCATIONGRANULARITY * ALLOCATIONGRANULARITY
        return mmap(self._file, self.position - base, access=ACCESS_READ, offset=base), start - base

    def close(self) -> None:
        """Closes the pack; removes it where nothing in it became durable."""
        os.close(self._file)
        if not self.synced:
            self._path.unlink()

    def __enter__(self) -> "PackWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class Packs:
    """All packs under one folder."""

    def __init__(self, blobs: str) -> None:
        if "://" in blobs and not blobs.startswith("file://"):
            raise BadRequest(f"Packs can't be kept at {blobs} yet; set a folder.", expression="blob_url")
        self._root = Path(blobs.removeprefix("file://"))

    def writer(self, tenant: int) -> PackWriter:
        """A new, empty pack."""
        try:
            return PackWriter(self._root / str(tenant) / "packs", self._root, tenant)
        except OSError as error:
            raise Unavailable(f"No pack can be opened: {error.strerror}; free space and send again.") from error

    def read(self, tenant: int, pack: str, offset: int, length: int) -> bytes:
        """``length`` bytes from ``offset``."""
        return b"".join(self.stream(tenant, pack, offset, length))

    def stream(self, tenant: int, pack: str, offset: int, length: int, *, chunk: int = _CHUNK) -> Iterator[bytes]:
        """The same in chunks."""
        file = self._open(tenant, pack)
        try:
            while length:
                data = os.pread(file, min(chunk, length), offset)
                if not data:
                    raise NotFound("The stored bytes end early; run the storage check.")
                offset += len(data)
                length -= len(data)
                yield data
        finally:
            os.close(file)

    def _open(self, tenant: int, pack: str) -> int:
        path = self._root / str(tenant) / "packs" / pack[:2] / f"{pack}.pack"
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise NotFound("The stored bytes are gone; run the storage check.") from error


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
