"""Packs: append-only files that hold the instances of one request or association, durable before the commit.

A pack's name is random and our own; no identifier from outside becomes part of a path. An index row says where in
which pack an instance is, so giving one back is a ranged read. What a killed request leaves is an unreferenced pack.
"""

import ctypes
import fcntl
import os
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from mmap import ACCESS_READ, ALLOCATIONGRANULARITY, mmap
from pathlib import Path
from types import TracebackType

from server.errors import BadRequest, NotFound, Unavailable

_CHUNK = 1 << 20
#: A pack that has grown beyond this takes no further instance, bytes.
FULL = 1 << 30
#: Packs that are synced beside their writers at once.
_SYNCS = 16
#: Seconds after which a pack that lies idle is not written to again.
_STALE = 60.0
#: macOS knows fsync alone.
_sync_file = getattr(os, "fdatasync", os.fsync)
#: Bytes that the file system is asked for ahead: a sync then has no blocks to find.
_AHEAD = 4 << 20
_KEEP_SIZE = 1


class PackWriter:
    """One open pack. Use as a context manager; a pack in which nothing was synced is removed at the end."""

    def __init__(self, folder: Path, root: Path, tenant: int, threads: Executor) -> None:
        self.tenant = tenant
        self.pack = uuid.uuid4().hex
        self.position = 0
        #: Where the room ends that the file system was asked for.
        self._room = 0
        #: Bytes up to here are durable.
        self.synced = 0
        #: Whether the index knows of the pack; for whoever enters instances.
        self.is_noted = False
        #: False after a write that failed.
        self.is_sound = True
        self._threads = threads
        #: The sync that runs beside the caller.
        self._running: Future[None] | None = None
        self._root = root
        self._path = folder / self.pack[:2] / f"{self.pack}.pack"
        self._missing = [f for f in (self._path.parent, *self._path.parent.parents) if not f.exists()]
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._file = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        # For as long as it is open: compaction leaves it alone, see ``Packs.is_open``.
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def append(self, data: bytes | memoryview) -> None:
        """Adds bytes at the end; raises Unavailable when the disk takes no more."""
        view = memoryview(data)
        if self.position + len(view) > self._room:
            self._ask_ahead(len(view))
        try:
            while view:
                written = os.write(self._file, view)
                self.position += written
                view = view[written:]
        except OSError as error:
            self.is_sound = False
            raise Unavailable(f"The instance can't be written: {error.strerror}; free space and send again.") from error

    def _ask_ahead(self, size: int) -> None:
        """Room for what comes, without making the file longer (fallocate(2)); where that can't be done it is not."""
        if _fallocate is not None:
            wanted = max(size, _AHEAD)
            done = _fallocate(self._file, _KEEP_SIZE, self.position, wanted) == 0
            self._room = self.position + wanted if done else sys.maxsize

    def take_back(self, position: int) -> None:
        """Forgets what was appended since ``position``; nothing that is durable."""
        if position < self.synced:
            raise ValueError("Durable bytes are not taken back.")
        self.forget(position)

    def forget(self, position: int) -> None:
        """The same, durable or not: for bytes that no committed row names."""
        running, self._running = self._running, None
        if running is not None:
            wait([running])
        os.ftruncate(self._file, position)
        self._room = position
        os.lseek(self._file, position, os.SEEK_SET)
        self.position = position
        self.synced = min(self.synced, position)

    def start_sync(self) -> None:
        """Lets what was appended till now become durable while the caller goes on."""
        if self._running is not None:
            if not self._running.done():
                return
            self._running.result()
        if self.synced != self.position:
            self._running = self._threads.submit(self._sync, self.position)

    def sync(self) -> None:
        """Makes everything appended durable: the file, and its folder when it is new."""
        running, self._running = self._running, None
        if running is not None:
            running.result()
        if self.synced != self.position:
            self._sync(self.position)

    def _sync(self, position: int) -> None:
        try:
            _sync_file(self._file)
            if not self.synced:
                for folder in {self._path.parent, *(missing.parent for missing in self._missing)}:
                    _sync_folder(folder)
        except OSError as error:
            # What the kernel could not write once it may drop: nothing more is built on it.
            self.is_sound = False
            raise Unavailable(f"The disk does not confirm a write: {error.strerror}; send again.") from error
        self.synced = position

    def view(self, start: int) -> tuple[mmap, int]:
        """A read-only map that holds everything from ``start`` on, and where in it ``start`` is."""
        base = start // ALLOCATIONGRANULARITY * ALLOCATIONGRANULARITY
        return mmap(self._file, self.position - base, access=ACCESS_READ, offset=base), start - base

    def close(self) -> None:
        """Closes the pack; removes it where nothing in it became durable."""
        if self._running is not None:
            wait([self._running])
        if self.synced:
            # What did not become durable is nobody's, and what was asked for ahead is not needed. A disk that can't do
            # even this has told its writer already.
            with suppress(OSError):
                os.ftruncate(self._file, self.synced)
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
        self._threads = ThreadPoolExecutor(_SYNCS, thread_name_prefix="pack-sync")
        self._lock = threading.Lock()
        #: Open packs that nobody writes to now, with the moment of their return.
        self._idle: list[tuple[float, PackWriter]] = []

    def writer(self, tenant: int) -> PackWriter:
        """A new, empty pack."""
        try:
            return PackWriter(self._root / str(tenant) / "packs", self._root, tenant, self._threads)
        except OSError as error:
            raise Unavailable(f"No pack can be opened: {error.strerror}; free space and send again.") from error

    def take(self, tenant: int) -> PackWriter:
        """A pack for one request alone, till ``give_back``; often one that an earlier request has begun."""
        return self._take(tenant) or self.writer(tenant)

    def give_back(self, writer: PackWriter) -> None:
        """Keeps the pack for the next request; what is not durable in it is forgotten."""
        if 0 < writer.synced < FULL and writer.is_sound:
            if writer.position != writer.synced:
                writer.take_back(writer.synced)
            with self._lock:
                self._idle.append((time.monotonic(), writer))
        else:
            writer.close()

    def is_open(self, tenant: int, pack: str) -> bool:
        """Whether some process of ours may still add to this pack."""
        file = self.open(tenant, pack)
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(file)
        return False

    def close(self) -> None:
        """Closes the packs that lie idle."""
        with self._lock:
            idle, self._idle = self._idle, []
        for _, writer in idle:
            writer.close()

    def _take(self, tenant: int) -> PackWriter | None:
        """The idle pack that was used last; stale ones are closed."""
        with self._lock:
            now = time.monotonic()
            stale = [writer for since, writer in self._idle if now - since > _STALE]
            self._idle = [(since, writer) for since, writer in self._idle if now - since <= _STALE]
            taken = next((pair for pair in reversed(self._idle) if pair[1].tenant == tenant), None)
            if taken is not None:
                self._idle.remove(taken)
        for writer in stale:
            writer.close()
        return taken[1] if taken else None

    def read(self, tenant: int, pack: str, offset: int, length: int) -> bytes:
        """``length`` bytes from ``offset``."""
        return b"".join(self.stream(tenant, pack, offset, length))

    def stream(self, tenant: int, pack: str, offset: int, length: int, *, chunk: int = _CHUNK) -> Iterator[bytes]:
        """The same in chunks."""
        file = self.open(tenant, pack)
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

    def open(self, tenant: int, pack: str) -> int:
        """A descriptor to read the pack by; the caller closes it."""
        path = self._root / str(tenant) / "packs" / pack[:2] / f"{pack}.pack"
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise NotFound("The stored bytes are gone; run the storage check.") from error


def _system_fallocate() -> Callable[[int, int, int, int], int] | None:
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if library is None or not hasattr(library, "fallocate"):
        return None
    library.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    found: Callable[[int, int, int, int], int] = library.fallocate
    return found


_fallocate = _system_fallocate()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
