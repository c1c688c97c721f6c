"""What is done behind deletions and rejections: stragglers hidden, expired rejects deleted, packs cleared up."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby

from pydicom.uid import AllTransferSyntaxes

from server.errors import NotFound, Unavailable
from server.imaging import rejection
from server.imaging.compact import Collected, Compactor
from server.imaging.ingest import Ingest, Received
from server.imaging.remove import Remover
from server.imaging.transcode_cache import TranscodeCache
from server.security.access import system
from server.store import admission, removal
from server.store.database import Database
from server.store.packs import Packs

_TARGETS = frozenset(str(uid) for uid in AllTransferSyntaxes)


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """What one run did."""

    collected: Collected
    #: Rejected instances hidden that had been overlooked.
    hidden: int
    #: Instances seen again, since their rejection note was deleted.
    shown_again: int
    #: Rejected instances deleted, since their time was over.
    expired: int
    #: Tombstones forgotten.
    tombstones: int
    #: Entries of storage use that became sums.
    folded: int


@dataclass(frozen=True, kw_only=True)
class Keeper:
    """Runs as a loop beside the events, and by ``hutong gc``; several at once are safe."""

    database: Database
    remover: Remover
    compactor: Compactor
    shown: tuple[str, ...]
    rejected_days: int
    tombstone_days: int
    #: By which instances are stored anew whose rejection was taken back.
    ingest: Ingest
    packs: Packs
    #: What was transcoded for those who asked.
    cache: TranscodeCache

    def run(self, *, whole: bool = False, tell: Callable[[str], None] = lambda _text: None) -> Kept:
        """One run; ``whole`` looks into every pack."""
        tell("rejected instances")
        hidden = rejection.hide_overlooked(self.database, self.shown)
        expired = self._expire()
        tell("caches")
        with self.database.unit_of_work() as uow:
            for tenant, digest in removal.uncleared(uow):
                self.cache.forget(tenant, digest, _TARGETS)
        tell("tombstones")
        with self.database.unit_of_work() as uow:
            tombstones = removal.expire_tombstones(uow, self.tombstone_days)
            folded = admission.fold_use(uow)
        collected = self.compactor.run(whole=whole, tell=tell)
        return Kept(
            collected=collected,
            hidden=hidden,
            # Behind what makes room for it.
            shown_again=self._show_again(),
            expired=expired,
            tombstones=tombstones,
            folded=folded,
        )

    def _show_again(self) -> int:
        """Stores anew, by the one door, what is rejected no more; the door takes the hidden copy away."""
        with self.database.reading() as uow:
            due = admission.taken_back(uow)
        shown = 0
        for tenant, pack, offset, length in due:
            again = Received(chunks=self.packs.stream(tenant, pack, offset, length))
            try:
                shown += len(self.ingest.receive(system(tenant), [again]).stored)
            except (Unavailable, NotFound):
                # A full disk, or bytes that are gone: it stays hidden, and ``verify`` names what is gone.
                continue
        return shown

    def _expire(self) -> int:
        """Deletes hidden instances whose retention is over by their note, or by the setting ``rejected_days``."""
        with self.database.reading() as uow:
            due = sorted(admission.expired_hidden(uow, rejection.EXPIRED, self.rejected_days))
        for (tenant, study), group in groupby(due, key=lambda row: row[:2]):
            for reason, named in groupby(sorted(group, key=lambda row: row[3]), key=lambda row: row[3]):
                self.remover.purge(system(tenant), study, [row[2] for row in named], reason)
        return len(due)
