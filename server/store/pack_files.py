"""The files under the packs, as the archive's keeper sees them: which there are, how large, and their removal.

A writer holds a lock on its pack for as long as it may still add to it (``PackWriter``), in whatever process. So a
file that can be locked here is final: what no row names then is named by nobody any more.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

_SUFFIX = ".pack"


@dataclass(frozen=True, kw_only=True, slots=True)
class PackFile:
    """One file."""

    tenant: int
    pack: str
    size: int
    #: Seconds since it was last written.
    age: float


class PackFiles:
    """All pack files under one folder."""

    def __init__(self, blobs: str) -> None:
        self._root = Path(blobs.removeprefix("file://"))

    def path(self, tenant: int, pack: str) -> Path:
        """Where a pack is."""
        return self._root / str(tenant) / "packs" / pack[:2] / f"{pack}{_SUFFIX}"

    def all(self) -> Iterator[PackFile]:
        """Every pack file of every tenant, in the order of their names."""
        now = time.time()
        for folder in sorted(self._root.glob("[0-9]*/packs")):
            tenant = int(folder.parent.name)
            for path in sorted(folder.glob(f"??/*{_SUFFIX}")):
                try:
                    state = path.stat()
                except FileNotFoundError:
                    continue
                yield PackFile(tenant=tenant, pack=path.stem, size=state.st_size, age=now - state.st_mtime)

    def size(self, tenant: int, pack: str) -> int | None:
        """Bytes of a pack; None where there is no file."""
        try:
            return self.path(tenant, pack).stat().st_size
        except FileNotFoundError:
            return None

    def is_final(self, tenant: int, pack: str) -> bool:
        """Whether no process can add to the pack any more; a file that is not there is final too."""
        return self._locked(tenant, pack, lambda: True)

    def remove(self, tenant: int, pack: str, *, unless: Callable[[], bool]) -> bool:
        """Removes a final pack unless ``unless``, asked under the lock, says that it is needed; whether it is gone."""

        def unlink() -> bool:
            if unless():
                return False
            self.path(tenant, pack).unlink(missing_ok=True)
            return True

        return self._locked(tenant, pack, unlink)

    def _locked(self, tenant: int, pack: str, act: Callable[[], bool]) -> bool:
        try:
            file = os.open(self.path(tenant, pack), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return act()
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return act()
        except BlockingIOError:
            return False
        finally:
            os.close(file)
