"""Frees the bytes of what was deleted: packs with little left alive are copied together, orphans and empty packs go.

Killed anywhere, nothing is lost: a copy counts only with the transaction that lets the rows say so, an old pack is
forgotten before its file goes, and a file without a row is an orphan for the next run. Readers that looked up a place
before the copy find the old file for ``grace`` seconds more. A pack that somebody may still write to is left alone.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import groupby, islice

from server.errors import Conflict, NotFound, Unavailable
from server.imaging import digests
from server.imaging.throttle import Throttle
from server.store import keeping
from server.store.database import Database
from server.store.keeping import PackRow, Stored
from server.store.pack_files import PackFiles
from server.store.packs import FULL, Packs, PackWriter
from server.telemetry import kill_points, metrics

#: Packs of which a smaller share is alive are copied.
THRESHOLD = 0.5
#: Seconds for which a pack outlives its last instance, and a file without a row is taken for one being written.
GRACE = 3600.0
#: Seconds within which a file may be there and not be locked yet by who made it, whatever the grace.
YOUNG = 5.0
_LOOKED_UP_TOGETHER = 1000


@dataclass(kw_only=True, slots=True)
class Collected:
    """What one run did."""

    #: Files that no row named.
    orphans: int = 0
    #: Packs whose last instances were copied elsewhere.
    compacted: int = 0
    #: Packs in which nothing was left.
    emptied: int = 0
    #: Files removed of packs that were compacted or emptied before.
    removed: int = 0
    #: Bytes given back to the disk.
    freed: int = 0
    #: Packs that could not be copied, since an instance in them is not as it came.
    damaged: list[str] = field(default_factory=list)
    #: Whether another run was at it.
    busy: bool = False
    #: Whether the disk had no room for copies; what could be removed was removed all the same.
    no_room: bool = False


class Compactor:
    """Keeps the packs small."""

    def __init__(
        self,
        database: Database,
        packs: Packs,
        files: PackFiles,
        *,
        threshold: float = THRESHOLD,
        grace: float = GRACE,
        throttle: Throttle | None = None,
    ) -> None:
        self._database = database
        self._packs = packs
        self._files = files
        self._threshold = threshold
        self._grace = grace
        self._throttle = throttle or Throttle(0)

    def run(self, *, whole: bool = False, tell: Callable[[str], None] = lambda _text: None) -> Collected:
        """One run; ``whole`` looks into every pack, else into those from which something was deleted."""
        done = Collected()
        with self._database.unit_of_work() as alone:
            if not keeping.begin(alone):
                done.busy = True
                return done
            tell("orphans")
            self._orphans(done)
            # Before, to make room for the copies, and after, where there is no grace.
            self._remove_retired(done)
            tell("compaction")
            self._compact(done, whole)
            tell("retired packs")
            self._remove_retired(done)
        metrics.freed_bytes.inc(done.freed)
        metrics.damaged_packs.inc(len(done.damaged))
        return done

    def _orphans(self, done: Collected) -> None:
        old = (file for file in self._files.all() if file.age > max(self._grace, YOUNG))
        for tenant, group in groupby(old, key=lambda file: file.tenant):
            while chunk := list(islice(group, _LOOKED_UP_TOGETHER)):
                known = self._known(tenant, [file.pack for file in chunk])
                for file in chunk:
                    if file.pack not in known and self._remove_orphan(tenant, file.pack):
                        done.orphans += 1
                        done.freed += file.size

    def _remove_orphan(self, tenant: int, pack: str) -> bool:
        # Asked again under the lock: whoever wrote it may have committed since.
        return self._files.remove(tenant, pack, unless=lambda: bool(self._known(tenant, [pack])))

    def _known(self, tenant: int, packs: list[str]) -> frozenset[str]:
        with self._database.unit_of_work() as uow:
            return keeping.known(uow, tenant, packs)

    def _compact(self, done: Collected, whole: bool) -> None:
        with self._database.reading() as uow:
            rows = keeping.packs(uow, changed_only=not whole)
        for tenant, group in groupby(rows, key=lambda row: row.tenant):
            sparse = [row for row in group if self._is_sparse(row)]
            for row in sparse:
                if row.alive == 0:
                    self._retire(row, done)
            self._copy_all(tenant, [row for row in sparse if row.alive], done)

    def _copy_all(self, tenant: int, rows: list[PackRow], done: Collected) -> None:
        """Copies packs together into as few as hold them; a disk that has no room for that is told."""
        waiting = iter(rows)
        while not done.no_room and (first := next(waiting, None)) is not None:
            with self._packs.writer(tenant) as writer:
                self._copy(first, writer, done)
                while not done.no_room and writer.position < FULL and (row := next(waiting, None)) is not None:
                    self._copy(row, writer, done)

    def _is_sparse(self, row: PackRow) -> bool:
        size = self._files.size(row.tenant, row.pack)
        if size is None:
            # A row without a file that holds nothing goes; one that holds something is for ``verify`` to tell.
            return row.alive == 0
        return row.alive < size * self._threshold and self._files.is_final(row.tenant, row.pack)

    def _retire(self, row: PackRow, done: Collected) -> None:
        with self._database.unit_of_work() as uow:
            done.emptied += keeping.retire(uow, row.tenant, row.pack)

    def _copy(self, row: PackRow, writer: PackWriter, done: Collected) -> None:
        """What is alive, into the new pack; then the rows, in one transaction."""
        with self._database.reading() as uow:
            contents = keeping.contents(uow, row.tenant, row.pack)
        start = writer.position
        try:
            moved = self._append(row, contents, writer)
            if moved is None:
                writer.take_back(start)
                done.damaged.append(row.pack)
                return
            writer.sync()
        except Unavailable:
            done.no_room = True
            return
        kill_points.at("gc-copied")
        try:
            with self._database.unit_of_work() as uow:
                keeping.repoint(uow, row.tenant, row.pack, writer.pack, moved)
        except Conflict:
            # Somebody deletes from it at this moment: the next run tries again.
            writer.forget(start)
            return
        kill_points.at("gc-repointed")
        done.compacted += 1

    def _append(self, row: PackRow, contents: list[Stored], writer: PackWriter) -> list[tuple[Stored, int]] | None:
        """Each instance with its new offset; None where one is not as it came."""
        moved = []
        for one in contents:
            target, digest = writer.position, digests.like(one.digest)
            try:
                for chunk in self._packs.stream(row.tenant, row.pack, one.offset, one.length):
                    digest.update(chunk)
                    writer.append(chunk)
                    self._throttle.pass_on(len(chunk))
            except NotFound:
                return None
            if digest.digest() != one.digest:
                return None
            moved.append((one, target))
        return moved

    def _remove_retired(self, done: Collected) -> None:
        with self._database.reading() as uow:
            retired = keeping.retired(uow, self._grace)
        for tenant, pack in retired:
            size = self._files.size(tenant, pack) or 0
            if not self._files.is_final(tenant, pack):
                continue
            with self._database.unit_of_work() as uow:
                if not keeping.forget(uow, tenant, pack):
                    continue
            kill_points.at("gc-forgotten")
            if self._remove_orphan(tenant, pack):
                done.removed += 1
                done.freed += size
