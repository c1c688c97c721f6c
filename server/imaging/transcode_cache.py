"""Transcoded files kept on disk, by the digest of what they were made from; safe to delete at any time.

The oldest go when there are too many bytes. Reading is harmless for who has no right: the digest comes from an instance
that was located with the caller's Access.
"""

import contextlib
import hashlib
import os
import secrets
import struct
import threading
from pathlib import Path

_LENGTH = struct.Struct("<Q")
#: After the bound is passed, what is kept at most; a part of the bound.
_KEPT = 0.8


class TranscodeCache:
    """Files below ``folder``, at most ``limit`` bytes of them; 0 keeps nothing. Several processes may share it."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._limit = limit
        self._lock = threading.Lock()
        #: Bytes in the folder when they were last counted, and what has come since from this process.
        self._size: int | None = None

    def get(self, tenant: int, digest: bytes, target: str) -> bytes | None:
        """The file, if it is kept whole."""
        path = self._path(tenant, digest, target)
        try:
            kept = path.read_bytes()
            os.utime(path)
        except OSError:
            return None
        # A file that a power failure cut off says another length than it has.
        if len(kept) < _LENGTH.size or _LENGTH.unpack_from(kept)[0] != len(kept) - _LENGTH.size:
            return None
        return kept[_LENGTH.size :]

    def put(self, tenant: int, digest: bytes, target: str, file: bytes) -> None:
        """Keeps a file; a disk that does not take it is no failure of the request."""
        if len(file) > self._limit // 4:
            return
        path = self._path(tenant, digest, target)
        temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(_LENGTH.pack(len(file)) + file)
            temporary.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink()
            return
        with self._lock:
            self._size = self._counted() if self._size is None else self._size + len(file)
            if self._size > self._limit:
                self._size = self._make_room()

    def forget(self, tenant: int, digest: bytes, targets: frozenset[str]) -> None:
        """Takes away what was made from one instance, e.g. when it is erased."""
        for target in targets:
            with contextlib.suppress(OSError):
                self._path(tenant, digest, target).unlink()

    def _path(self, tenant: int, digest: bytes, target: str) -> Path:
        name = hashlib.sha256(b"%d/%s/%s" % (tenant, digest.hex().encode("ascii"), target.encode("utf-8"))).hexdigest()
        return self._folder / name[:2] / name

    def _files(self) -> list[tuple[float, int, Path]]:
        """When last used, bytes and path of each."""
        found = []
        for path in self._folder.glob("*/*"):
            with contextlib.suppress(OSError):
                status = path.stat()
                found.append((status.st_mtime, status.st_size, path))
        return sorted(found)

    def _counted(self) -> int:
        return sum(size for _, size, _ in self._files())

    def _make_room(self) -> int:
        """Deletes the longest unused until enough is free; returns the bytes that are left."""
        files = self._files()
        left = sum(size for _, size, _ in files)
        for _, size, path in files:
            if left <= self._limit * _KEPT:
                break
            with contextlib.suppress(OSError):
                path.unlink()
                left -= size
        return left
