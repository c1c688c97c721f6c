"""Named queries over a whole study: its summary, and which studies have been quiet long enough."""

from dataclasses import dataclass
from datetime import datetime

from server.store import fetches
from server.store.database import UnitOfWork


@dataclass(frozen=True, kw_only=True, slots=True)
class SummaryInstance:
    """One instance of a study's summary."""

    instance: str
    sop_class: str
    instance_number: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class SummarySeries:
    """One series of a study's summary."""

    series: str
    modality: str
    series_number: int | None
    attributes: bytes
    instances: tuple[SummaryInstance, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """All of a study that a resource about it says."""

    study: str
    patient: str
    started: datetime | None
    has_time: bool
    modalities: tuple[str, ...]
    patient_attributes: bytes
    attributes: bytes
    series: tuple[SummarySeries, ...]
    #: Whether it is here only because it was fetched as a prior of another study.
    prior: bool = False


def summary(uow: UnitOfWork, tenant: int, study: str) -> Summary | None:
    """The study with its series and instances in order; None where it is not stored."""
    row = uow.driver.execute(
        "select s.patient, s.started, s.study_time <> '', s.modalities, p.attributes, s.attributes from study s "
        "join patient p on p.tenant = s.tenant and p.patient = s.patient where s.tenant = %s and s.study = %s",
        (tenant, study),
    ).fetchone()
    if row is None:
        return None
    return Summary(
        study=study,
        patient=row[0],
        started=row[1],
        has_time=row[2],
        modalities=tuple(row[3]),
        patient_attributes=row[4],
        attributes=row[5],
        series=_series_of(uow, tenant, study),
        prior=fetches.is_prior(uow, tenant, study),
    )


def _series_of(uow: UnitOfWork, tenant: int, study: str) -> tuple[SummarySeries, ...]:
    instances: dict[str, list[SummaryInstance]] = {}
    for series, instance, sop_class, number in uow.driver.execute(
        "select series, instance, sop_class, instance_number from instance where tenant = %s and study = %s "
        "order by instance_number nulls last, instance",
        (tenant, study),
    ):
        found = SummaryInstance(instance=instance, sop_class=sop_class, instance_number=number)
        instances.setdefault(series, []).append(found)
    rows = uow.driver.execute(
        "select series, modality, series_number, attributes from series where tenant = %s and study = %s "
        "order by series_number nulls last, series",
        (tenant, study),
    )
    return tuple(
        SummarySeries(
            series=row[0],
            modality=row[1],
            series_number=row[2],
            attributes=row[3],
            instances=tuple(instances.get(row[0], ())),
        )
        for row in rows
    )


def take_due(uow: UnitOfWork, quiet_seconds: float, most: int = 100) -> list[tuple[int, str]]:
    """Marks studies that changed and were then left alone for ``quiet_seconds``; gives (tenant, study) of each.

    The mark is undone with the transaction, so whoever takes a study defers its job in the same one.
    """
    return uow.driver.execute(
        "update study_activity a set dispatched = a.revision from ("
        "select tenant, study from study_activity where dispatched < revision "
        "and last_seen < clock_timestamp() - make_interval(secs => %s) order by last_seen limit %s "
        "for update skip locked) due where a.tenant = due.tenant and a.study = due.study returning a.tenant, a.study",
        (quiet_seconds, most),
    ).fetchall()
