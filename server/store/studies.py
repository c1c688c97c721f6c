"""Named queries that read the imaging index: searches at each level, and where the bytes of an instance are."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import psycopg

from server.store.conditions import ALIAS, AnyCondition, Condition, alias_of, clause
from server.store.database import UnitOfWork

Connection = psycopg.Connection[Any]
Level = Literal["patient", "study", "series", "instance"]


class Found(NamedTuple):
    """One patient, study, series or instance that matched, with what its answer is made of; see _FIELDS."""

    patient: str | None = None
    patient_attributes: bytes | None = None
    study: str = ""
    study_attributes: bytes | None = None
    modalities: Sequence[str] = ()
    sop_classes: Sequence[str] = ()
    series_count: int = 0
    instance_count: int = 0
    series: str = ""
    series_attributes: bytes | None = None
    series_instance_count: int = 0
    instance: str = ""
    sop_class: str = ""
    transfer_syntax: str = ""
    instance_number: int | None = None
    frames: int | None = None
    rows: int | None = None
    columns: int | None = None
    bits_allocated: int | None = None
    #: The whole header of the instance, or of the first instance of what was found, where asked for.
    metadata: bytes | None = None


class PatientCounts(NamedTuple):
    """How much there is of one patient."""

    studies: int
    series: int
    instances: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Located:
    """One instance and where its bytes are."""

    instance: str
    series: str
    study: str
    sop_class: str
    transfer_syntax: str
    frames: int
    pack: str
    pack_offset: int
    length: int
    digest: bytes
    dataset_offset: int
    pixel_offset: int | None
    pixel_length: int | None


#: Each field of Found but the last: the table it is read from.
_FIELDS: tuple[tuple[Level, str], ...] = (
    *(("patient", "p.patient"), ("patient", "p.attributes")),
    *(("study", "s.study"), ("study", "s.attributes"), ("study", "s.modalities"), ("study", "s.sop_classes")),
    *(("study", "s.series_count"), ("study", "s.instance_count")),
    *(("series", "e.series"), ("series", "e.attributes"), ("series", "e.instance_count")),
    *(("instance", "i.instance"), ("instance", "i.sop_class"), ("instance", "i.transfer_syntax")),
    *(("instance", "i.instance_number"), ("instance", "i.frames"), ("instance", 'i."rows"')),
    *(("instance", 'i."columns"'), ("instance", "i.bits_allocated")),
)
_ORDER: tuple[Level, ...] = ("patient", "study", "series", "instance")
#: How many of _FIELDS a level has, and the order of its results; each order is one that an index has.
_DEPTH: dict[Level, int] = {"patient": 2, "study": 8, "series": 11, "instance": 19}
_SORTED = {
    "patient": "p.patient",
    "study": "s.study_date desc, s.study_time desc, s.study desc",
    "series": "e.study, e.series_number, e.series",
    "instance": "i.series, i.instance_number, i.instance",
}
#: UIDs of higher levels that a row has without a join.
_OWN = {
    ("series", "s.study"): "e.study",
    ("instance", "s.study"): "i.study",
    ("instance", "e.series"): "i.series",
}
_JOINS = {
    "i": ("e", "join series e on e.tenant = i.tenant and e.series = i.series"),
    "e": ("s", "join study s on s.tenant = e.tenant and s.study = e.study"),
    "s": ("p", "join patient p on p.tenant = s.tenant and p.patient = s.patient"),
}
_AUDITED = {"patient": "Patient", "study": "Study", "series": "Series", "instance": "SOPInstance"}
_NOTE = "insert into audit (tenant, who, action, type, id, version) values (%s, %s, 'search', %s, %s, 0)"
_NOTED = f"with noted as ({_NOTE}) "
_FIRST_METADATA = {
    "patient": "(select m.metadata from instance m join study t on t.tenant = m.tenant and t.study = m.study "
    "where t.tenant = p.tenant and t.patient = p.patient limit 1)",
    "study": "(select m.metadata from instance m where m.tenant = s.tenant and m.study = s.study limit 1)",
    "series": "(select m.metadata from instance m where m.tenant = e.tenant and m.series = e.series limit 1)",
    "instance": "i.metadata",
}


def search(
    connection: Connection,
    tenant: int,
    level: Level,
    conditions: Sequence[AnyCondition],
    *,
    limit: int,
    offset: int = 0,
    metadata: bool = False,
    top: Level = "patient",
    who: str = "",
    within: str = "",
) -> list[Found]:
    """What matches all conditions, in a stable order; fields of levels above ``top`` are left out, but for UIDs.

    With ``who`` the same statement writes the audit row of the search; ``within`` is the study or series searched in.
    """
    parameters: list[Any] = [tenant, who, _AUDITED[level], within] if who else []
    parameters.append(tenant)
    alias = ALIAS[level]
    wanted = _stable([_near(level, condition) for condition in conditions])
    where = [f"{alias}.tenant = %s", *(clause(condition, tenant, parameters) for condition in wanted)]
    expressions = [_field(level, table, expression, top) for table, expression in _FIELDS[: _DEPTH[level]]]
    if metadata:
        expressions.append(_FIRST_METADATA[level])
    found = f"where {' and '.join(where)} order by {_SORTED[level]} limit %s offset %s"
    needed = {alias_of(condition) for condition in wanted}
    joins = _joins(level, needed | {ALIAS[t] for t in _ORDER[_ORDER.index(top) :]})
    if offset and needed <= {alias}:
        # What is skipped is not joined.
        source = f"(select * from {level} {alias} {found}) {alias} {joins} order by {_SORTED[level]}"
    else:
        source = f"{level} {alias} {joins} {found}"
    sql = f"{_NOTED if who else ''}select {', '.join(expressions)} from {source}"
    rows = connection.execute(sql.encode(), (*parameters, limit, offset))
    if metadata:
        return [Found(*row[:-1])._replace(metadata=row[-1]) for row in rows]
    return [Found(*row) for row in rows]


def note_search(connection: Connection, tenant: int, who: str, level: Level, within: str) -> None:
    """The audit row of a search that takes several statements."""
    connection.execute(_NOTE.encode(), (tenant, who, _AUDITED[level], within))


def _near(level: Level, condition: AnyCondition) -> AnyCondition:
    """A condition on the UID of a level above, on the column that the row itself has."""
    if isinstance(condition, Condition) and condition.column in ("study.study", "series.series"):
        own = f"{level}.{condition.column.partition('.')[2]}"
        return (
            replace(condition, column=own)
            if own in ("series.study", "instance.study", "instance.series")
            else condition
        )
    return condition


def _stable(conditions: Sequence[AnyCondition]) -> list[AnyCondition]:
    """In one order whatever the client's, so that the same search is the same prepared statement."""
    return sorted(conditions, key=lambda c: (alias_of(c), type(c).__name__, getattr(c, "column", "")))


def _field(level: Level, table: str, expression: str, top: Level) -> str:
    own = _OWN.get((level, expression))
    if own is not None:
        return own
    return expression if _ORDER.index(table) >= _ORDER.index(top) or table == level else "null"


def _joins(level: Level, needed: set[str]) -> str:
    """The tables above the level, as far up as needed."""
    chain: list[tuple[str, str]] = []
    alias = ALIAS[level]
    while alias in _JOINS:
        alias, join = _JOINS[alias]
        chain.append((alias, join))
    last = max((n for n, (alias, _) in enumerate(chain) if alias in needed), default=-1)
    return " ".join(join for _, join in chain[: last + 1])


def patient_counts(uow: UnitOfWork, tenant: int, patients: Sequence[str]) -> dict[str, PatientCounts]:
    """Number of studies, series and instances of each patient (PS3.4 table C.3-1)."""
    rows = uow.driver.execute(
        "select patient, count(*), sum(series_count), sum(instance_count) from study "
        "where tenant = %s and patient = any(%s) group by patient",
        (tenant, list(patients)),
    )
    return {row[0]: PatientCounts(int(row[1]), int(row[2]), int(row[3])) for row in rows}


_LOCATED = (
    "select instance, series, study, sop_class, transfer_syntax, frames, pack, pack_offset, length, digest, "
    "dataset_offset, pixel_offset, pixel_length from instance where tenant = %s"
)
_NAMES = _LOCATED.removeprefix("select ").split(" from ")[0].split(", ")


def _narrow(study: str, series: str, instance: str) -> tuple[str, list[str]]:
    given = [("study", study), ("series", series), ("instance", instance)]
    return "".join(f" and {name} = %s" for name, value in given if value), [value for _, value in given if value]


def locate(uow: UnitOfWork, tenant: int, study: str = "", series: str = "", instance: str = "") -> list[Located]:
    """The instances of a study or series, or one of them, in series and instance number order."""
    where, values = _narrow(study, series, instance)
    rows = uow.driver.execute(
        f"{_LOCATED}{where} order by series, instance_number nulls last, instance".encode(), (tenant, *values)
    )
    return [Located(**dict(zip(_NAMES, row, strict=True))) for row in rows]


def metadata(
    uow: UnitOfWork, tenant: int, study: str = "", series: str = "", instance: str = ""
) -> list[tuple[str, str, str, bytes]]:
    """Study, series and SOP Instance UID and stored DICOM JSON of the same instances."""
    where, values = _narrow(study, series, instance)
    rows = uow.driver.execute(
        "select study, series, instance, metadata from instance where tenant = %s"
        f"{where} order by series, instance_number nulls last, instance".encode(),
        (tenant, *values),
    )
    return rows.fetchall()
