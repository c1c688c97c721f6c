"""Analyses by their key."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import text

from server.store.database import UnitOfWork

_FIELDS = (
    "key, study, adapter, adapter_version, task, findings, seconds, provider, predecessor, sr_instance, seg_instance, "
    "report, published is not null as is_published"
)
_ONE = text(f"select {_FIELDS} from analysis where tenant = :tenant and key = :key")
_CLAIM = text(
    """
    insert into analysis (tenant, key, study, adapter, adapter_version, task, predecessor)
    values (:tenant, :key, :study, :adapter, :adapter_version, :task, :predecessor)
    on conflict (tenant, key) do nothing
    """
)
_LATEST = text(
    f"select {_FIELDS} from analysis where tenant = :tenant and study = :study and adapter = :adapter "
    "and published is not null and key <> :key order by published desc limit 1"
)
_FOUND = text(
    """
    update analysis set findings = :findings, provider = :provider, seconds = :seconds, sr_instance = :sr_instance,
      found = clock_timestamp()
    where tenant = :tenant and key = :key and findings is null
    """
)
_PUBLISHED = text(
    """
    update analysis set sr_instance = :sr_instance, seg_instance = :seg_instance, report = :report,
      published = clock_timestamp()
    where tenant = :tenant and key = :key and published is null
    """
)
_KNOWN_REPORTS = text(
    "select instance from unnest(cast(:instances as text[])) as wanted (instance) "
    "where exists (select from analysis where tenant = :tenant and sr_instance = instance)"
)
_NEIGHBOURS = text(
    """
    select a.key, a.study, a.adapter, a.task, a.findings, o.study_date, o.study_time
    from study s
    join study o on o.tenant = s.tenant and o.patient = s.patient and o.study <> s.study
    join analysis a on a.tenant = o.tenant and a.study = o.study
    where s.tenant = :tenant and s.study = :study and a.published is not null and a.findings is not null
      and not exists (
        select from analysis n where n.tenant = a.tenant and n.predecessor = a.key and n.published is not null)
    order by o.study_date, o.study_time, a.study, a.claimed
    """
)
_DATE = text("select study_date, study_time from study where tenant = :tenant and study = :study")


@dataclass(frozen=True, kw_only=True, slots=True)
class Neighbour:
    """The findings of another study of the same patient, as they stand."""

    key: str
    study: str
    adapter: str
    #: Empty for somebody else's report.
    task: str
    #: Serialised.
    findings: bytes
    #: DA and TM, as received.
    study_date: str
    study_time: str


_BY_INSTANCE = text(
    f"select {_FIELDS} from analysis where tenant = :tenant and sr_instance = :instance "
    "order by report <> '' desc, claimed limit 1"
)
_HEAD = text(
    f"select {_FIELDS} from analysis where tenant = :tenant and report = :report and published is not null "
    "order by published desc limit 1"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Analysis:
    """One analysis, as far as it has come."""

    key: str
    study: str
    #: Name of the adapter; of somebody else's report, the algorithm's.
    adapter: str
    adapter_version: str
    #: Id of the Task that asked for it first; empty for somebody else's report.
    task: str
    #: Serialised; None until they are there.
    findings: bytes | None
    #: From load to findings; None until they are there, and for somebody else's report.
    seconds: float | None
    #: ONNX Runtime execution provider.
    provider: str
    #: Key of the analysis that this one supersedes; empty for none.
    predecessor: str
    sr_instance: str
    seg_instance: str
    #: Id of the DiagnosticReport.
    report: str
    #: Whether SR and resources are written.
    is_published: bool


def find(uow: UnitOfWork, tenant: int, key: str) -> Analysis | None:
    """The analysis of that key."""
    row = uow.execute(_ONE, {"tenant": tenant, "key": key}).one_or_none()
    return None if row is None else Analysis(**row._mapping)


def by_instance(uow: UnitOfWork, tenant: int, instance: str) -> Analysis | None:
    """The analysis that a structured report says."""
    row = uow.execute(_BY_INSTANCE, {"tenant": tenant, "instance": instance}).one_or_none()
    return None if row is None else Analysis(**row._mapping)


def head(uow: UnitOfWork, tenant: int, report: str) -> Analysis | None:
    """The newest version of the report with this DiagnosticReport id."""
    row = uow.execute(_HEAD, {"tenant": tenant, "report": report}).one_or_none()
    return None if row is None else Analysis(**row._mapping)


def latest(uow: UnitOfWork, tenant: int, study: str, adapter: str, key: str) -> Analysis | None:
    """The newest published analysis of a study by an adapter, other than that of ``key``."""
    parameters = {"tenant": tenant, "study": study, "adapter": adapter, "key": key}
    row = uow.execute(_LATEST, parameters).one_or_none()
    return None if row is None else Analysis(**row._mapping)


def neighbours(uow: UnitOfWork, tenant: int, study: str) -> list[Neighbour]:
    """What is found on the other studies of the study's patient, oldest study first; superseded findings left out."""
    rows = uow.execute(_NEIGHBOURS, {"tenant": tenant, "study": study})
    return [Neighbour(**row._mapping) for row in rows]


def date_of(uow: UnitOfWork, tenant: int, study: str) -> tuple[str, str]:
    """Study Date and Study Time, as received; empty where the study is not here."""
    row = uow.execute(_DATE, {"tenant": tenant, "study": study}).one_or_none()
    return ("", "") if row is None else (str(row.study_date), str(row.study_time))


def is_superseded(uow: UnitOfWork, tenant: int, key: str) -> bool:
    """Whether a published analysis or version of a report took its place."""
    statement = "select from analysis where tenant = %s and predecessor = %s and published is not null limit 1"
    return uow.driver.execute(statement, (tenant, key)).rowcount > 0


def patient_of(uow: UnitOfWork, tenant: int, study: str) -> str:
    """Id of the study's patient; empty where the study is not here."""
    row = uow.driver.execute("select patient from study where tenant = %s and study = %s", (tenant, study)).fetchone()
    return "" if row is None else str(row[0])


def claim(
    uow: UnitOfWork, tenant: int, key: str, *, study: str, adapter: str, adapter_version: str, task: str = "",
    predecessor: str = "",
) -> None:  # fmt: skip
    """Notes that the analysis was begun; nothing changes when it was already."""
    values = {"study": study, "adapter": adapter, "adapter_version": adapter_version, "task": task}
    uow.execute(_CLAIM, {"tenant": tenant, "key": key, "predecessor": predecessor, **values})


def found(
    uow: UnitOfWork, tenant: int, key: str, findings: bytes, *, sr_instance: str, provider: str = "", seconds: float = 0
) -> None:
    """Keeps the findings, and which SR says them, so that it is known when it comes in; the first ones stay."""
    values = {"findings": findings, "provider": provider, "seconds": seconds, "sr_instance": sr_instance}
    uow.execute(_FOUND, {"tenant": tenant, "key": key, **values})


def published(uow: UnitOfWork, tenant: int, key: str, *, sr_instance: str, seg_instance: str, report: str) -> None:
    """Notes, in the transaction that writes the resources, that all is written."""
    values = {"sr_instance": sr_instance, "seg_instance": seg_instance, "report": report}
    uow.execute(_PUBLISHED, {"tenant": tenant, "key": key, **values})


def set_aside(uow: UnitOfWork, tenant: int, key: str) -> None:
    """Notes that nothing is made of a report: one that a newer version had overtaken before it came."""
    uow.driver.execute(
        "update analysis set findings = null, found = null, adapter = '', published = clock_timestamp() "
        "where tenant = %s and key = %s",
        (tenant, key),
    )


def known_reports(uow: UnitOfWork, tenant: int, instances: Iterable[str]) -> frozenset[str]:
    """Those of the SR instances whose findings are known already: our own, and others' that were read."""
    return frozenset(uow.execute(_KNOWN_REPORTS, {"tenant": tenant, "instances": list(instances)}).scalars())


def report_of(uow: UnitOfWork, tenant: int, instance: str) -> str:
    """Id of the DiagnosticReport that was made of a structured report; empty where there is none yet."""
    row = uow.driver.execute(
        "select report from analysis where tenant = %s and sr_instance = %s and report <> '' limit 1",
        (tenant, instance),
    ).fetchone()
    return "" if row is None else str(row[0])
