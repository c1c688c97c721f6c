"""Named queries that put instances into the index, each on the caller's transaction.

They run on the driver, with one statement for any number of rows: this is the hot path of ingest. Rows are taken in
the order of their keys, so that two senders of one study wait for each other and never for each other's wait.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from server.store.database import UnitOfWork


@dataclass(frozen=True, kw_only=True, slots=True)
class PatientRow:
    """Columns of ``patient``."""

    patient: str
    issuer: str
    patient_id: str
    name: str
    name_folded: str
    birth_date: str
    sex: str
    attributes: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyRow:
    """Columns of ``study``."""

    study: str
    patient: str
    study_date: str
    study_time: str
    started: datetime | None
    accession: str
    study_id: str
    description: str
    description_folded: str
    referring: str
    referring_folded: str
    attributes: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class SeriesRow:
    """Columns of ``series``."""

    series: str
    study: str
    modality: str
    series_number: int | None
    description: str
    description_folded: str
    body_part: str
    laterality: str
    step_date: str
    step_time: str
    station: str
    manufacturer: str
    attributes: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class InstanceRow:
    """Columns of ``instance``."""

    instance: str
    series: str
    study: str
    sop_class: str
    transfer_syntax: str
    instance_number: int | None
    frames: int
    rows: int | None
    columns: int | None
    bits_allocated: int | None
    pack: str
    pack_offset: int
    length: int
    digest: bytes
    dataset_offset: int
    pixel_offset: int | None
    pixel_length: int | None
    sender: str
    metadata: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """An instance that is stored, as far as a duplicate is compared with it."""

    instance: str
    series: str
    study: str
    pack: str
    pack_offset: int
    length: int
    digest: bytes


_Row = PatientRow | StudyRow | SeriesRow | InstanceRow
_INTEGERS = frozenset(
    [
        "series_number",
        "instance_number",
        "frames",
        "rows",
        "columns",
        "bits_allocated",
        "pack_offset",
        "length",
        "dataset_offset",
        "pixel_offset",
        "pixel_length",
    ]
)
_BYTES = frozenset({"attributes", "digest", "metadata"})


def column_types(kind: type[Any]) -> dict[str, str]:
    """The row's columns in their order, with PostgreSQL's types."""
    return {
        f.name: "bigint"
        if f.name in _INTEGERS
        else "bytea"
        if f.name in _BYTES
        else "timestamptz"
        if f.name == "started"
        else "text"
        for f in fields(kind)
    }


def _insert(kind: type[Any], table: str, key: str) -> str:
    """An insert of any number of rows by arrays, that skips keys that are there and names those that were not."""
    types = column_types(kind)
    names = list(types)
    columns = ", ".join(f'"{name}"' for name in names)
    arrays = ", ".join(f"%b::{types[name]}[]" for name in names)
    return (
        f"insert into {table} (tenant, {columns}) select %s, {columns} from unnest({arrays}) as new({columns}) "
        f"order by {key} on conflict do nothing returning {key}"
    )


_INSERTS = {
    PatientRow: _insert(PatientRow, "patient", "patient"),
    StudyRow: _insert(StudyRow, "study", "study"),
    SeriesRow: _insert(SeriesRow, "series", "series"),
    InstanceRow: _insert(InstanceRow, "instance", "instance"),
}


def add(uow: UnitOfWork, tenant: int, rows: Sequence[_Row]) -> frozenset[str]:
    """Inserts the rows (all of one kind) whose keys are not there yet; gives the keys that were new."""
    if not rows:
        return frozenset()
    kind = type(rows[0])
    arrays = [[getattr(row, f.name) for row in rows] for f in fields(kind)]
    return frozenset(row[0] for row in uow.driver.execute(_INSERTS[kind], (tenant, *arrays)))


def add_pack(uow: UnitOfWork, tenant: int, pack: str) -> None:
    """Notes that a pack is in use."""
    uow.driver.execute("insert into pack (tenant, pack) values (%s, %s) on conflict do nothing", (tenant, pack))


def known(uow: UnitOfWork, tenant: int, uids: Iterable[str]) -> dict[str, Known]:
    """Those of the SOP Instance UIDs that are stored, seen or hidden."""
    wanted = "select instance, series, study, pack, pack_offset, length, digest from"
    rows = uow.driver.execute(
        f"{wanted} instance where tenant = %(tenant)s and instance = any(%(uids)s) union all "
        f"{wanted} hidden_instance h where tenant = %(tenant)s and instance = any(%(uids)s) "
        # Expired data that come anew are kept anew, and so is what was rejected no more (server/imaging/rejection.py).
        "and not exists (select from rejection r where r.tenant = h.tenant and r.instance = h.instance "
        "and r.reason in ('113039', ''))",
        {"tenant": tenant, "uids": list(uids)},
    )
    return {
        row[0]: Known(
            instance=row[0], series=row[1], study=row[2], pack=row[3], pack_offset=row[4], length=row[5], digest=row[6]
        )
        for row in rows
    }


def lock_studies(uow: UnitOfWork, tenant: int, studies: Iterable[str]) -> dict[str, str]:
    """Holds the studies till the commit; gives the patient of each."""
    rows = uow.driver.execute(
        "select study, patient from study where tenant = %s and study = any(%s) order by study for no key update",
        (tenant, list(studies)),
    )
    return dict(rows.fetchall())


def studies_of_series(uow: UnitOfWork, tenant: int, series: Iterable[str]) -> dict[str, str]:
    """The study that each series belongs to."""
    rows = uow.driver.execute(
        "select series, study from series where tenant = %s and series = any(%s)", (tenant, list(series))
    )
    return dict(rows.fetchall())


def count(uow: UnitOfWork, tenant: int, added: Sequence[InstanceRow]) -> None:
    """Brings the counts, modalities and SOP classes of series and studies up to the instances just added."""
    uow.driver.execute(
        "update series s set instance_count = s.instance_count + n.n from (select series, count(*) n "
        "from unnest(%s::text[]) as u(series) group by series) n where s.tenant = %s and s.series = n.series",
        ([row.series for row in added], tenant),
    )
    uow.driver.execute(
        "update study t set instance_count = t.instance_count + n.n, "
        "series_count = (select count(*) from series s where s.tenant = t.tenant and s.study = t.study), "
        "modalities = array(select distinct s.modality from series s where s.tenant = t.tenant and s.study = t.study "
        "and s.modality <> '' order by 1), "
        "sop_classes = array(select distinct c from unnest(t.sop_classes || n.classes) c order by 1) "
        "from (select study, count(*) n, array_agg(distinct sop_class) classes "
        "from unnest(%s::text[], %s::text[]) as u(study, sop_class) group by study) n "
        "where t.tenant = %s and t.study = n.study",
        ([row.study for row in added], [row.sop_class for row in added], tenant),
    )


def touch(uow: UnitOfWork, tenant: int, studies: Iterable[str]) -> None:
    """Notes that the studies changed just now."""
    uow.driver.execute(
        "insert into study_activity as a (tenant, study) select %s, study from unnest(%s::text[]) as u(study) "
        "order by study on conflict (tenant, study) do update "
        "set last_seen = clock_timestamp(), revision = a.revision + 1",
        (tenant, sorted(set(studies))),
    )


def note_stored(uow: UnitOfWork, tenant: int, who: str, uids: Sequence[str]) -> None:
    """Audit rows for instances that ``who`` added."""
    uow.driver.execute(
        "insert into audit (tenant, who, action, type, id, version) "
        "select %s, %s, 'create', 'SOPInstance', uid, 1 from unnest(%s::text[]) as u(uid)",
        (tenant, who, list(uids)),
    )
