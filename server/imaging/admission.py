"""What an instance must pass beside being sound: room, quotas, locks, and what was rejected or deleted before.

``Ingest`` asks here, so every door keeps the same rules.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from server.errors import BadInstance
from server.imaging import quota, rejection
from server.imaging.rejection import EXPIRED, FINAL, TAKEN_BACK
from server.security.access import Access
from server.settings.archive import Quota
from server.store import admission, locks, removal
from server.store.database import Database, UnitOfWork
from server.store.instances import InstanceRow

#: Refused: Not Authorized (PS3.7 C.4.1, PS3.18 10.5.3).
NOT_AUTHORIZED = 0x0124


@dataclass(frozen=True, kw_only=True, slots=True)
class Looked:
    """What is known of instances before they go in."""

    refused: dict[str, BadInstance]
    #: Rejected before they came: they go in, and out of sight.
    late: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Admission:
    """The operator's rules; without any everything sound is taken."""

    #: Bytes of the disk that stay free, and a folder on it.
    reserve: int = 0
    folder: Path = Path()
    quotas: tuple[Quota, ...] = ()
    #: Rejection reasons whose instances stay visible.
    shown: tuple[str, ...] = ()
    _used: quota.Used = field(default_factory=quota.Used)

    def check_room(self, database: Database, access: Access) -> BadInstance | None:
        """Why the sender may store nothing now, by its quota; raises Unavailable when the disk is nearly full."""
        quota.refuse_full_disk(self.folder, self.reserve)
        return quota.refusal(self._used.of(database, access.tenant), access.who, self.quotas) if self.quotas else None

    def look(self, uow: UnitOfWork, access: Access, rows: Sequence[InstanceRow]) -> Looked:
        """Sorts out what was deleted or rejected; makes way for what may come again."""
        found = admission.withheld(uow, access.tenant, [row.instance for row in rows])
        rejected = {one.instance: one.reason for one in found if one.rejected}
        deleted = {one.instance: one.reason for one in found if not one.rejected}
        removal.unbury(uow, access.tenant, [uid for uid, reason in deleted.items() if reason not in FINAL])
        self._renew(uow, access, [row for row in rows if rejected.get(row.instance) in (EXPIRED, TAKEN_BACK)])
        return Looked(
            refused={uid: _REJECTED for uid, reason in deleted.items() if reason in FINAL},
            late=frozenset(uid for uid, reason in rejected.items() if reason in FINAL - {*self.shown}),
        )

    def _renew(self, uow: UnitOfWork, access: Access, rows: Sequence[InstanceRow]) -> None:
        """Data whose retention had expired come anew: the hidden copy goes."""
        for study in sorted({row.study for row in rows}):
            uids = [row.instance for row in rows if row.study == study]
            removal.free(uow, access.tenant, removal.take_out(uow, access.tenant, "hidden_instance", study, "", uids))
        admission.forget_rejections(uow, access.tenant, [row.instance for row in rows])

    def locked(self, uow: UnitOfWork, access: Access, studies: Iterable[str]) -> frozenset[str]:
        """Those of the studies, held by the caller, that take no change."""
        return locks.locked(uow, access.tenant, studies)

    def settle(self, uow: UnitOfWork, access: Access, new: Sequence[InstanceRow], late: frozenset[str]) -> None:
        """What follows from instances just stored: use of room, rejection notes, and hiding the late ones."""
        admission.note_use(uow, access.tenant, access.who, sum(row.length for row in new), len(new))
        rejection.settle(uow, access, new, self.shown)
        for study in sorted({row.study for row in new if row.instance in late}):
            uids = [row.instance for row in new if row.instance in late and row.study == study]
            rejection.hide(uow, access.tenant, study, uids)


_REJECTED = BadInstance(
    "It was rejected and deleted for a reason of quality, safety or a wrong worklist entry, and is not taken again; "
    "send corrected content under a new UID.",
    expression="00080018",
    reason=NOT_AUTHORIZED,
)
LOCKED = BadInstance(
    "Its study is locked and takes no change; ask who locked it.", expression="0020000D", reason=NOT_AUTHORIZED
)
