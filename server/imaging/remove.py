"""Deletion of studies, series and instances: the index follows at once, the bytes when no reader can still mean them.

One transaction: rows, counts, tombstones, audit and study activity. What is deleted is answered with Gone from then
on; its bytes go with ``compact``. FHIR resources about the study stay, its ImagingStudy follows by the job
study-changed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from server.errors import Conflict, Gone, HutongError, NotFound
from server.imaging.rejection import KEY_OBJECT_SELECTION
from server.security.access import Access
from server.store import admission, locks, removal
from server.store.database import Database, UnitOfWork
from server.store.instances import touch
from server.store.removal import Taken
from server.telemetry import metrics

#: Tries of one transaction that others were in the way of.
_ATTEMPTS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Removed:
    """What was deleted."""

    study: str
    instances: tuple[str, ...]
    #: Of the files, as they came.
    bytes: int


class Remover:
    """Deletes what is stored."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def remove(self, access: Access, study: str, series: str = "", instance: str = "", *, reason: str = "") -> Removed:
        """Deletes a study, a series of it, or an instance of that; ``reason`` is the DICOM code of a rejection, if any.

        Raises Forbidden, NotFound, Gone for what was deleted before, and Conflict for a locked study.
        """
        access.require("delete")
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                with self._database.unit_of_work() as uow:
                    taken = _remove(uow, access, study, series, [instance] if instance else [], reason)
                break
            except Conflict:
                if attempt == _ATTEMPTS:
                    raise
        metrics.removed_instances.labels(reason=reason or "none").inc(len(taken))
        return Removed(
            study=study, instances=tuple(one.instance for one in taken), bytes=sum(one.length for one in taken)
        )

    def purge(self, access: Access, study: str, instances: Sequence[str], reason: str) -> None:
        """Deletes hidden instances of a study whose time is over; what is gone already is no error."""
        access.require("delete")
        with self._database.unit_of_work() as uow:
            removal.hold_study(uow, access.tenant, study)
            hidden = removal.take_out(uow, access.tenant, "hidden_instance", study, "", instances)
            removal.bury(uow, access.tenant, hidden, who=access.who, reason=reason)
            admission.forget_rejections(uow, access.tenant, [one.instance for one in hidden])


def _remove(
    uow: UnitOfWork, access: Access, study: str, series: str, instances: Sequence[str], reason: str
) -> list[Taken]:
    tenant = access.tenant
    removal.hold_study(uow, tenant, study)
    refuse_locked(uow, tenant, study)
    seen = removal.take_out(uow, tenant, "instance", study, series, instances)
    hidden = removal.take_out(uow, tenant, "hidden_instance", study, series, instances)
    if not seen and not hidden:
        raise missing(uow, tenant, study, series, *instances)
    removal.bury(uow, tenant, seen, who=access.who, reason=reason)
    # What was rejected and then deleted keeps the reason of its rejection: it decides whether it may come again.
    rejected = {one.instance: one.reason for one in admission.withheld(uow, tenant, [t.instance for t in hidden])}
    for code in {*rejected.values()} or {reason} if hidden else ():
        group = [one for one in hidden if rejected.get(one.instance, reason) == code]
        removal.bury(uow, tenant, group, who=access.who, reason=code)
    admission.forget_rejections(uow, tenant, [one.instance for one in hidden])
    # Who deletes a rejection note takes the rejection back.
    notes = [one.instance for one in seen if one.sop_class == KEY_OBJECT_SELECTION]
    if notes:
        admission.take_back(uow, tenant, notes)
    removal.recount(uow, tenant, study)
    touch(uow, tenant, [study])
    return [*seen, *hidden]


def refuse_locked(uow: UnitOfWork, tenant: int, study: str) -> None:
    """Raises Conflict where the study is locked."""
    for lock in locks.locks(uow, tenant, study):
        raise Conflict(
            f"The study is locked by {lock.who} ({lock.reason}); take the lock off first.",
            expression="StudyInstanceUID",
        )


def missing(uow: UnitOfWork, tenant: int, study: str, series: str = "", instance: str = "") -> HutongError:
    """What to say of a path under which nothing is stored: Gone where something was, else NotFound."""
    if removal.is_buried(uow, tenant, study, series, instance):
        return Gone("It was deleted.")
    return NotFound("No such study, series or instance is stored; search for it by QIDO-RS.")
