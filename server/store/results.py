"""Named queries of the results page: studies as they arrive, their analyses, the reports in them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, select

from server.store.database import UnitOfWork
from server.store.tables import analyses, imaging


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrival:
    """A study with its patient, and when it last grew."""

    study: str
    patient: str
    patient_id: str
    #: DICOM PN.
    name: str
    #: DICOM DA and CS, as received.
    birth_date: str
    sex: str
    study_date: str
    study_time: str
    description: str
    accession: str
    modalities: tuple[str, ...]
    series: int
    instances: int
    last_seen: datetime
    #: Whether it was quiet long enough, so that what follows has begun.
    complete: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class AnalysisRow:
    """One run of one adapter."""

    key: str
    adapter: str
    adapter_version: str
    task: str
    claimed: datetime
    #: When its findings were committed.
    found: datetime | None
    seconds: float | None
    provider: str
    predecessor: str
    sr_instance: str
    seg_instance: str
    #: Id of the DiagnosticReport.
    report: str
    published: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class DocumentRow:
    """One instance that is a result, not an image."""

    instance: str
    series: str
    modality: str
    description: str
    sender: str
    created: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageRow:
    """The matrix of one image."""

    instance: str
    rows: int
    columns: int


def arrivals(uow: UnitOfWork, tenant: int, limit: int, study: str | None = None) -> tuple[Arrival, ...]:
    """The studies that grew last, newest first; with ``study`` that one only."""
    table, patient, activity = imaging.study.c, imaging.patient.c, imaging.study_activity.c
    statement = (
        select(
            table.study, table.patient, patient.patient_id, patient.name, patient.birth_date, patient.sex,
            table.study_date, table.study_time, table.description, table.accession, table.modalities,
            table.series_count, table.instance_count, activity.last_seen, activity.dispatched, activity.revision,
        )
        .select_from(imaging.study)
        .join(imaging.patient, and_(patient.tenant == table.tenant, patient.patient == table.patient))
        .join(imaging.study_activity, and_(activity.tenant == table.tenant, activity.study == table.study))
        .where(table.tenant == tenant)
        .order_by(activity.last_seen.desc(), table.study)
        .limit(limit)
    )  # fmt: skip
    if study is not None:
        statement = statement.where(table.study == study)
    return tuple(
        Arrival(
            study=row.study,
            patient=row.patient,
            patient_id=row.patient_id,
            name=row.name,
            birth_date=row.birth_date,
            sex=row.sex,
            study_date=row.study_date,
            study_time=row.study_time,
            description=row.description,
            accession=row.accession,
            modalities=tuple(row.modalities),
            series=row.series_count,
            instances=row.instance_count,
            last_seen=row.last_seen,
            complete=row.dispatched >= row.revision,
        )
        for row in uow.execute(statement)
    )


def analyses_of(uow: UnitOfWork, tenant: int, studies: Sequence[str]) -> dict[str, list[AnalysisRow]]:
    """Study -> its analyses, newest first."""
    table = analyses.analysis.c
    columns = [table[name] for name in AnalysisRow.__dataclass_fields__]
    statement = (
        select(table.study, *columns)
        .where(table.tenant == tenant, table.study.in_(studies))
        .order_by(table.claimed.desc())
    )
    found: dict[str, list[AnalysisRow]] = {}
    for row in uow.execute(statement):
        values: dict[str, Any] = dict(zip(AnalysisRow.__dataclass_fields__, row[1:], strict=True))
        found.setdefault(row.study, []).append(AnalysisRow(**values))
    return found


def findings_of(uow: UnitOfWork, tenant: int, keys: Sequence[str]) -> dict[str, bytes]:
    """Key -> the serialised Findings, of those analyses that have some."""
    table = analyses.analysis.c
    statement = select(table.key, table.findings).where(
        table.tenant == tenant, table.key.in_(keys), table.findings.is_not(None)
    )
    return {row.key: row.findings for row in uow.execute(statement)}


def documents_of(uow: UnitOfWork, tenant: int, study: str, modalities: Sequence[str]) -> tuple[DocumentRow, ...]:
    """The instances of these modalities in a study, oldest first."""
    instance, series = imaging.instance.c, imaging.series.c
    statement = (
        select(
            instance.instance, instance.series, series.modality, series.description, instance.sender, instance.created
        )
        .select_from(imaging.instance)
        .join(imaging.series, and_(series.tenant == instance.tenant, series.series == instance.series))
        .where(instance.tenant == tenant, instance.study == study, series.modality.in_(modalities))
        .order_by(instance.created, instance.instance)
    )  # fmt: skip
    return tuple(
        DocumentRow(**dict(zip(DocumentRow.__dataclass_fields__, row, strict=True))) for row in uow.execute(statement)
    )


def images(uow: UnitOfWork, tenant: int, instances: Sequence[str]) -> dict[str, ImageRow]:
    """SOPInstanceUID -> matrix, for those that are images and stored here."""
    instance = imaging.instance.c
    statement = select(instance.instance, instance.rows, instance.columns).where(
        instance.tenant == tenant, instance.instance.in_(instances), instance.rows.is_not(None)
    )
    return {
        row.instance: ImageRow(instance=row.instance, rows=row.rows, columns=row.columns)
        for row in uow.execute(statement)
    }
