"""Named queries that read the imaging index: searches at each level, and where the bytes of an instance are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from server.store.database import UnitOfWork

Level = Literal["study", "series", "instance"]
Operator = Literal["in", "like", "name", "range", "prefix", "any"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Condition:
    """One matching key, made ready: ``column`` is one of COLUMNS, ``values`` are data."""

    column: str
    operator: Operator
    #: in, any: the values; like, name: patterns, one of which must match; range: low and high, "" where open.
    values: tuple[Any, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """One study, series or instance that matched, with what its answer is made of."""

    study: str
    series: str = ""
    instance: str = ""
    patient_attributes: bytes = b"{}"
    study_attributes: bytes = b"{}"
    series_attributes: bytes = b"{}"
    modalities: tuple[str, ...] = ()
    sop_classes: tuple[str, ...] = ()
    series_count: int = 0
    instance_count: int = 0
    series_instance_count: int = 0
    sop_class: str = ""
    transfer_syntax: str = ""
    instance_number: int | None = None
    frames: int | None = None
    rows: int | None = None
    columns: int | None = None
    bits_allocated: int | None = None
    #: The whole header of the instance, or of the first instance of the study or series, where asked for.
    metadata: bytes = b""


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
    sha256: bytes
    dataset_offset: int
    pixel_offset: int | None
    pixel_length: int | None


#: What conditions may speak of; the keys are the only text that becomes SQL.
COLUMNS = {
    "patient": ("patient", "patient_id", "issuer", "name_folded", "birth_date", "sex"),
    "study": (
        *("study", "study_date", "study_time", "accession", "study_id", "description", "referring_folded"),
        *("modalities", "sop_classes", "series_count", "instance_count"),
    ),
    "series": (
        *("series", "modality", "series_number", "description", "body_part", "laterality", "step_date", "step_time"),
        *("station", "manufacturer", "instance_count"),
    ),
    "instance": (
        *("instance", "sop_class", "transfer_syntax", "instance_number", "frames", "rows", "columns"),
        "bits_allocated",
    ),
}
_ALIAS = {"patient": "p", "study": "s", "series": "e", "instance": "i"}
_ALLOWED = {f"{table}.{column}": f'{_ALIAS[table]}."{column}"' for table, names in COLUMNS.items() for column in names}

_STUDY_FIELDS = (
    ("study", "s.study"),
    ("patient_attributes", "p.attributes"),
    ("study_attributes", "s.attributes"),
    ("modalities", "s.modalities"),
    ("sop_classes", "s.sop_classes"),
    ("series_count", "s.series_count"),
    ("instance_count", "s.instance_count"),
)
_SERIES_FIELDS = (
    *_STUDY_FIELDS,
    ("series", "e.series"),
    ("series_attributes", "e.attributes"),
    ("series_instance_count", "e.instance_count"),
)
_INSTANCE_FIELDS = (
    *_SERIES_FIELDS,
    ("instance", "i.instance"),
    ("sop_class", "i.sop_class"),
    ("transfer_syntax", "i.transfer_syntax"),
    ("instance_number", "i.instance_number"),
    ("frames", "i.frames"),
    ("rows", 'i."rows"'),
    ("columns", 'i."columns"'),
    ("bits_allocated", "i.bits_allocated"),
)
_FROM_STUDY = "study s join patient p on p.tenant = s.tenant and p.patient = s.patient"
_FROM_SERIES = f"series e join study s on s.tenant = e.tenant and s.study = e.study {_FROM_STUDY[len('study s ') :]}"
_FROM_INSTANCE = (
    f"instance i join series e on e.tenant = i.tenant and e.series = i.series {_FROM_SERIES[len('series e ') :]}"
)
#: Columns, tables, tenant's column and order of each level.
_LEVELS = {
    "study": (_STUDY_FIELDS, _FROM_STUDY, "s.tenant", "s.study_date desc, s.study_time desc, s.study"),
    "series": (_SERIES_FIELDS, _FROM_SERIES, "e.tenant", "e.study, e.series_number nulls last, e.series"),
    "instance": (
        *(_INSTANCE_FIELDS, _FROM_INSTANCE, "i.tenant"),
        "i.study, i.series, i.instance_number nulls last, i.instance",
    ),
}
_FIRST_METADATA = {
    "study": "(select m.metadata from instance m where m.tenant = s.tenant and m.study = s.study limit 1)",
    "series": "(select m.metadata from instance m where m.tenant = e.tenant and m.series = e.series limit 1)",
    "instance": "i.metadata",
}


def search(
    uow: UnitOfWork,
    tenant: int,
    level: Level,
    conditions: Sequence[Condition],
    *,
    limit: int,
    offset: int = 0,
    metadata: bool = False,
) -> list[Found]:
    """What matches all conditions, in a stable order."""
    fields, tables, tenant_column, order = _LEVELS[level]
    names = [name for name, _ in fields]
    expressions = [expression for _, expression in fields]
    if metadata:
        names.append("metadata")
        expressions.append(_FIRST_METADATA[level])
    where, parameters = [f"{tenant_column} = %s"], list[Any]([tenant])
    for condition in conditions:
        where.append(_clause(condition, parameters))
    sql = (
        f"select {', '.join(expressions)} from {tables} where {' and '.join(where)} order by {order} limit %s offset %s"
    )
    rows = uow.driver.execute(sql.encode(), (*parameters, limit, offset))
    return [_found(names, row) for row in rows]


def _found(names: Sequence[str], row: Sequence[Any]) -> Found:
    values: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in zip(names, row, strict=True)}
    return Found(**values)


def _clause(condition: Condition, parameters: list[Any]) -> str:
    column = _ALLOWED[condition.column]
    values = condition.values
    if condition.operator == "in":
        parameters.append(list(values))
        return f"{column} = any(%s)"
    if condition.operator == "any":
        parameters.append(list(values))
        return f"{column} && %s::text[]"
    if condition.operator == "range":
        low, high = values
        bounds = [f"{column} >= %s"] * (low != "") + [f"{column} <= %s"] * (high != "")
        parameters.extend(value for value in values if value != "")
        return " and ".join([f"{column} <> ''", *bounds])
    patterns = [p for value in values for p in _name_patterns(value)] if condition.operator == "name" else list(values)
    parameters.extend(patterns)
    return "(" + " or ".join([f"{column} like %s"] * len(patterns)) + ")"


def _name_patterns(pattern: str) -> tuple[str, ...]:
    """A person name matches by any of its component groups (PS3.4 C.2.2.2.1)."""
    return pattern, f"{pattern}=%", f"%={pattern}", f"%={pattern}=%"


_LOCATED = (
    "select instance, series, study, sop_class, transfer_syntax, frames, pack, pack_offset, length, sha256, "
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
