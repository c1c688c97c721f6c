"""Named queries over study locks: a study that may be neither changed nor deleted."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from server.store.database import UnitOfWork


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyLock:
    """Who locked a study, and why."""

    study: str
    who: str
    reason: str
    at: datetime


def lock(uow: UnitOfWork, tenant: int, study: str, *, who: str, reason: str) -> bool:
    """Locks a study, or changes the reason; whether there is such a study."""
    found = uow.driver.execute(
        "update study set locked = true where tenant = %s and study = %s returning study", (tenant, study)
    ).fetchone()
    if found is None:
        return False
    uow.driver.execute(
        "insert into study_lock (tenant, study, who, reason) values (%s, %s, %s, %s) on conflict (tenant, study) "
        "do update set who = excluded.who, reason = excluded.reason, at = excluded.at",
        (tenant, study, who, reason),
    )
    _audit(uow, tenant, who, "lock", study)
    return True


def unlock(uow: UnitOfWork, tenant: int, study: str, *, who: str) -> bool:
    """Takes the lock off; whether there was one."""
    found = uow.driver.execute(
        "delete from study_lock where tenant = %s and study = %s returning study", (tenant, study)
    ).fetchone()
    if found is None:
        return False
    uow.driver.execute("update study set locked = false where tenant = %s and study = %s", (tenant, study))
    _audit(uow, tenant, who, "unlock", study)
    return True


def locks(uow: UnitOfWork, tenant: int, study: str = "") -> list[StudyLock]:
    """The locks there are, or that of one study."""
    rows = uow.driver.execute(
        "select study, who, reason, at from study_lock where tenant = %s and (%s = '' or study = %s) order by at",
        (tenant, study, study),
    )
    return [StudyLock(study=row[0], who=row[1], reason=row[2], at=row[3]) for row in rows]


def locked(uow: UnitOfWork, tenant: int, studies: Iterable[str]) -> frozenset[str]:
    """Those of the studies that are locked; sees a lock that was committed while the caller waited for the study."""
    rows = uow.driver.execute(
        "select study from study where tenant = %s and study = any(%s) and locked", (tenant, list(studies))
    )
    return frozenset(row[0] for row in rows)


def _audit(uow: UnitOfWork, tenant: int, who: str, action: str, study: str) -> None:
    uow.driver.execute(
        "insert into audit (tenant, who, action, type, id, version) values (%s, %s, %s, 'Study', %s, 0)",
        (tenant, who, action, study),
    )
