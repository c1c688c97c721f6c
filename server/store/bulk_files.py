"""The files of bulk requests, below the blobs: a folder for each request, whose name is our own."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from server.errors import Unavailable

_PART = ".part"


class BulkFiles:
    """All files of bulk requests under one folder, which every process sees."""

    def __init__(self, blobs: str) -> None:
        self._root = Path(blobs.removeprefix("file://"))

    def path(self, tenant: int, request: str, name: str) -> Path:
        """Where a file is; both names are ours, as the database has them."""
        return self._folder(tenant, request) / name

    def write(self, tenant: int, request: str, name: str, pieces: Iterable[bytes]) -> None:
        """Writes a file that is there as a whole, and durable, or not at all."""
        path = self.path(tenant, request, name)
        part = path.with_name(name + _PART)
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with part.open("wb") as file:
                for piece in pieces:
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            part.rename(path)
            folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise Unavailable(f"The file can't be written: {error.strerror}; free space.") from error

    def remove(self, tenant: int, request: str) -> None:
        """Removes all files of a request; who is reading one reads on."""
        shutil.rmtree(self._folder(tenant, request), ignore_errors=True)

    def _folder(self, tenant: int, request: str) -> Path:
        return self._root / str(tenant) / "bulk" / request
