"""Named queries for performed procedure steps."""

from collections.abc import Sequence
from dataclasses import dataclass

from server.store.database import UnitOfWork


@dataclass(frozen=True, kw_only=True, slots=True)
class PerformedStep:
    """A Modality Performed Procedure Step."""

    instance: str
    #: IN PROGRESS, COMPLETED or DISCONTINUED.
    status: str
    study: str
    #: AE title of the modality.
    modality: str
    #: DICOM JSON.
    attributes: bytes
    #: References to ServiceRequests and Tasks.
    orders: tuple[str, ...] = ()


def add(uow: UnitOfWork, tenant: int, step: PerformedStep) -> bool:
    """Enters a step; False where its SOP Instance UID is taken."""
    added = uow.driver.execute(
        "insert into performed_step (tenant, instance, status, study, modality, attributes, orders) "
        "values (%s, %s, %s, %s, %s, %s, %s) on conflict do nothing",
        (tenant, step.instance, step.status, step.study, step.modality, step.attributes, "\n".join(step.orders)),
    )
    return added.rowcount == 1


def get(uow: UnitOfWork, tenant: int, instance: str, *, lock: bool = False) -> PerformedStep | None:
    """A step; with ``lock`` nobody else changes it until the transaction ends."""
    row = uow.driver.execute(
        "select instance, status, study, modality, attributes, orders from performed_step "
        f"where tenant = %s and instance = %s{' for update' if lock else ''}".encode(),
        (tenant, instance),
    ).fetchone()
    if row is None:
        return None
    return PerformedStep(
        instance=row[0],
        status=row[1],
        study=row[2],
        modality=row[3],
        attributes=row[4],
        orders=tuple(part for part in row[5].split("\n") if part),
    )


def change(uow: UnitOfWork, tenant: int, instance: str, status: str, attributes: bytes) -> None:
    """Writes a step's new status and attributes."""
    uow.driver.execute(
        "update performed_step set status = %s, attributes = %s, updated = clock_timestamp() "
        "where tenant = %s and instance = %s",
        (status, attributes, tenant, instance),
    )


def close_study(uow: UnitOfWork, tenant: int, study: str, instances: Sequence[str]) -> bool:
    """Lets the sweeper take the study at once: all that was made of it is here, and no modality is at it any more."""
    closed = uow.driver.execute(
        "update study_activity set last_seen = '-infinity' where tenant = %(tenant)s and study = %(study)s "
        "and dispatched < revision and not exists (select from performed_step where tenant = %(tenant)s "
        "and study = %(study)s and status = 'IN PROGRESS') and (select count(*) from instance where "
        "tenant = %(tenant)s and study = %(study)s and instance = any(%(instances)s)) = %(count)s",
        {"tenant": tenant, "study": study, "instances": list(instances), "count": len(instances)},
    )
    return closed.rowcount == 1


def completed(uow: UnitOfWork, tenant: int, study: str) -> tuple[str, ...]:
    """SOP Instance UIDs of the completed steps of a study."""
    rows = uow.driver.execute(
        "select instance from performed_step where tenant = %s and study = %s and status = 'COMPLETED' "
        "order by created, instance",
        (tenant, study),
    )
    return tuple(row[0] for row in rows)
