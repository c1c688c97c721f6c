"""Rejection notes (IHE Imaging Object Change Management, RAD-66): Key Object Selections that take instances out of use.

The instances that a note speaks of are hidden from every query and retrieval, whether they came before the note or come
after it. Their rows move to a table that nothing shows; their bytes stay. The note itself stays visible.
"""

from collections.abc import Iterable, Sequence

import orjson
from pydicom.sr.codedict import codes

from server.imaging import attributes as read
from server.imaging.dataset import Attributes
from server.security.access import Access
from server.store import admission, instances, locks, removal
from server.store.database import Database, UnitOfWork
from server.store.instances import InstanceRow

KEY_OBJECT_SELECTION = "1.2.840.10008.5.1.4.1.1.88.59"
QUALITY = codes.DCM.RejectedForQualityReasons.value
SAFETY = codes.DCM.RejectedForPatientSafetyReasons.value
WORKLIST = codes.DCM.IncorrectModalityWorklistEntry.value
EXPIRED = codes.DCM.DataRetentionPolicyExpired.value
#: In the place of a reason: the note was deleted, and its instances are to be seen again.
TAKEN_BACK = ""
#: Titles (PS3.16 CID 7011) that make a Key Object Selection a rejection note.
REASONS = (QUALITY, SAFETY, WORKLIST, EXPIRED)
#: What was rejected for one of these is not taken again; expired data that come anew are kept anew.
FINAL = frozenset({QUALITY, SAFETY, WORKLIST})


def reason_of(header: Attributes) -> str:
    """The code of a rejection note's title; empty for any other document."""
    for title in read.items(header, "0040A043"):
        code = read.text(title, "00080100")
        if read.text(title, "00080102") == "DCM" and code in REASONS:
            return code
    return ""


def named(header: Attributes) -> list[tuple[str, str]]:
    """Study and SOP Instance UID of each instance that the note speaks of, from its evidence (PS3.3 C.17.6.2)."""
    found = {
        (read.text(study, "0020000D"), read.text(sop, "00081155")): None
        for study in read.items(header, "0040A375")
        for series in read.items(study, "00081115")
        for sop in read.items(series, "00081199")
    }
    return [(study, uid) for study, uid in found if study and uid]


def settle(uow: UnitOfWork, access: Access, rows: Iterable[InstanceRow], shown: Sequence[str]) -> None:
    """Carries out the rejection notes among instances just stored; ``shown`` are the reasons that hide nothing.

    A locked study is left as it is: its instances stay seen until the lock is off.
    """
    for row in rows:
        if row.sop_class != KEY_OBJECT_SELECTION:
            continue
        header: Attributes = orjson.loads(row.metadata)
        reason, targets = reason_of(header), named(header)
        if not reason or not targets:
            continue
        admission.reject(uow, access.tenant, row.instance, reason, access.who, targets)
        if reason not in shown:
            for study in sorted({study for study, _ in targets}):
                hide(uow, access.tenant, study, [uid for other, uid in targets if other == study])


def hide(uow: UnitOfWork, tenant: int, study: str, uids: Sequence[str]) -> int:
    """Takes instances out of sight; how many were seen."""
    if not removal.hold_study(uow, tenant, study) or locks.locked(uow, tenant, [study]):
        return 0
    moved = removal.move(uow, tenant, "instance", "hidden_instance", study, uids)
    if moved:
        removal.recount(uow, tenant, study)
        instances.touch(uow, tenant, [study])
    return len(moved)


def hide_overlooked(database: Database, shown: Sequence[str]) -> int:
    """Hides what came in the same moment as the note that rejects it, or was locked then; how many."""
    with database.unit_of_work() as uow:
        found = admission.overlooked(uow, shown)
    hidden = 0
    for tenant, study, uids in found:
        with database.unit_of_work() as uow:
            hidden += hide(uow, tenant, study, uids)
    return hidden
