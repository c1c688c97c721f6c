"""Matching keys as SQL: what a search of the imaging index asks for, and the clause that says it to PostgreSQL.

The meaning is PS3.4 C.2.2.2's; ``server.imaging.criterion`` holds the same against values in memory, and a property
test keeps the two equal.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

Operator = Literal["one", "like", "name", "words", "range", "time", "moment", "empty"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Criterion:
    """What a value must be.

    one: any of the values. like: any of the patterns, in DICOM's wildcards. name: the same for a folded person name, by
    any of its component groups. words: every value begins a word of the name. range: low and high, "" where open.
    time: the same for TM, as twelve digits. moment: the same for a date and a time as one, as twenty digits.
    empty: no value at all.
    """

    operator: Operator
    values: tuple[str | int | Decimal, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Condition:
    """One matching key: ``column`` is one of COLUMNS; of a moment it is that of the date."""

    column: str
    criterion: Criterion
    #: Minutes from UTC that a study's date and time are taken in; None for as they are written.
    offset: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Declared:
    """One key on a declared attribute (an extended query tag, or one item of a sequence in it)."""

    tag: int
    criterion: Criterion
    #: Whether its values are numbers.
    number: bool = False
    #: Sequences around it that it shares with the keys before it: they must match in the same items.
    shared: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class DeclaredCondition:
    """Keys on declared attributes of one entity that must match together."""

    #: Which entity the values belong to: study, series or instance.
    level: str
    keys: tuple[Declared, ...]


AnyCondition = Condition | DeclaredCondition

#: What conditions may speak of; these are the only texts that become SQL.
COLUMNS = {
    "patient": ("patient", "patient_id", "issuer", "name_folded", "birth_date", "sex"),
    "study": (
        *("study", "study_date", "study_time", "accession", "study_id", "description", "referring_folded"),
        *("modalities", "sop_classes", "series_count", "instance_count"),
    ),
    "series": (
        *(
            "study",
            "series",
            "modality",
            "series_number",
            "description",
            "body_part",
            "laterality",
            "step_date",
            "step_time",
        ),
        *("station", "manufacturer", "instance_count"),
    ),
    "instance": (
        *("study", "series", "instance", "sop_class", "transfer_syntax", "instance_number", "frames", "rows"),
        *("columns", "bits_allocated"),
    ),
}
ALIAS = {"patient": "p", "study": "s", "series": "e", "instance": "i"}
_ALLOWED = {f"{table}.{column}": f'{ALIAS[table]}."{column}"' for table, names in COLUMNS.items() for column in names}
_LISTS = frozenset({"study.modalities", "study.sop_classes"})
_NUMBERS = frozenset(
    f"{table}.{column}"
    for table, names in COLUMNS.items()
    for column in names
    if column.endswith(("_count", "_number", "frames", "rows", "columns", "allocated"))
)
#: Number under which the groups and words of these are among the declared values, and whose key they hang on.
NAMES = {"patient.name_folded": (-1, "p.patient"), "study.referring_folded": (-2, "s.study")}
_ENTITY = {"study": "s.study", "series": "e.series", "instance": "i.instance"}


def alias_of(condition: AnyCondition) -> str:
    """The table that a condition needs."""
    if isinstance(condition, DeclaredCondition):
        return ALIAS[condition.level]
    return ALIAS[condition.column.partition(".")[0]]


def clause(condition: AnyCondition, tenant: int, parameters: list[Any]) -> str:
    """The condition as SQL; its values are appended to ``parameters``."""
    if isinstance(condition, DeclaredCondition):
        return _declared(condition, tenant, parameters)
    column, criterion = condition.column, condition.criterion
    expression = _ALLOWED[column]
    if condition.offset is not None:
        expression = _shifted(column, condition.offset)
    if column in _LISTS:
        return _of_list(expression, criterion, parameters)
    if column in NAMES:
        return _of_name(column, criterion, tenant, parameters)
    if criterion.operator == "empty":
        return f"{expression} is null" if column in _NUMBERS else f"{expression} = ''"
    if criterion.operator == "moment":
        other = column.replace("_date", "_time")
        time = _ALLOWED[other] if condition.offset is None else _shifted(other, condition.offset)
        return _moment(expression, time, criterion.values, parameters)
    return _of_value(expression, criterion, parameters)


def _shifted(column: str, offset: int) -> str:
    """A study's date or time in another zone; without a time the date stays what it is."""
    form = "YYYYMMDD" if column == "study.study_date" else "HH24MISSUS"
    moment = f"to_char(s.started at time zone interval '{int(offset)} minutes', '{form}')"
    return f"(case when s.study_time = '' or s.started is null then {_ALLOWED[column]} else {moment} end)"


def _of_value(value: str, criterion: Criterion, parameters: list[Any]) -> str:
    operator, values = criterion.operator, criterion.values
    if operator == "one":
        if len(values) == 1:
            parameters.append(values[0])
            return f"{value} = %s"
        parameters.append(list(values))
        return f"{value} = any(%s)"
    if operator in ("like", "name"):
        return _like(value, values, parameters)
    compared = _digits(value) if operator == "time" else value
    return " and ".join([f"{value} <> ''", *_bounds(compared, values, parameters)])


def _digits(time: str) -> str:
    """A TM value as twelve digits: a part that is missing counts as zero."""
    return f"rpad(translate({time}, ':.', ''), 12, '0')"


def _bounds(value: str, bounds: Sequence[Any], parameters: list[Any]) -> Iterator[str]:
    for bound, sign in zip(bounds, (">=", "<="), strict=True):
        if bound != "":
            parameters.append(bound)
            yield f"{value} {sign} %s"


def _moment(date: str, time: str, bounds: Sequence[Any], parameters: list[Any]) -> str:
    """Date and time as one; the bare date comes first, which an index serves."""
    days = [str(bound)[:8] for bound in bounds]
    whole = f"{date} || {_digits(time)}"
    return " and ".join([f"{date} <> ''", *_bounds(date, days, parameters), *_bounds(f"({whole})", bounds, parameters)])


def like(pattern: str) -> str:
    """DICOM's wildcards (PS3.4 C.2.2.2.4) as SQL's."""
    escaped = pattern.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return escaped.replace("*", "%").replace("?", "_")


def _like(value: str, patterns: Sequence[Any], parameters: list[Any]) -> str:
    parameters.extend(like(str(pattern)) for pattern in patterns)
    return "(" + " or ".join([f"{value} like %s"] * len(patterns)) + ")"


def _of_list(value: str, criterion: Criterion, parameters: list[Any]) -> str:
    """A column of several values: any of them must match."""
    if criterion.operator == "empty":
        return f"cardinality({value}) = 0"
    if criterion.operator == "one":
        parameters.append([str(wanted) for wanted in criterion.values])
        return f"{value} && %s::text[]"
    return f"exists (select 1 from unnest({value}) as one(v) where {_of_value('one.v', criterion, parameters)})"


def _of_name(column: str, criterion: Criterion, tenant: int, parameters: list[Any]) -> str:
    number, entity = NAMES[column]
    if criterion.operator == "empty":
        return f"{_ALLOWED[column]} = ''"
    return f"{entity} in ({_entities(Declared(tag=number, criterion=criterion), tenant, parameters)})"


def _declared(condition: DeclaredCondition, tenant: int, parameters: list[Any]) -> str:
    entity = _ENTITY[condition.level]
    first = condition.keys[0]
    if first.criterion.operator == "empty":
        parameters.extend((tenant, first.tag))
        return (
            "not exists (select 1 from attribute_value v where v.tenant = %s and v.tag = %s and v.kind = 'v' "
            f"and v.entity = {entity})"
        )
    return f"{entity} in ({_entities(first, tenant, parameters, condition.keys[1:])})"


def _entities(first: Declared, tenant: int, parameters: list[Any], others: Sequence[Declared] = ()) -> str:
    """The entities whose declared values match ``first``, and ``others`` in the same items of sequences."""
    where = [_of_declared("v0", first, tenant, parameters)]
    for number, other in enumerate(others, 1):
        alias = f"v{number}"
        inner = _of_declared(alias, other, tenant, parameters)
        same = f"{alias}.items[1:{int(other.shared)}] = v0.items[1:{int(other.shared)}]"
        where.append(
            f"exists (select 1 from attribute_value {alias} where {inner} and {alias}.entity = v0.entity and {same})"
        )
    return f"select v0.entity from attribute_value v0 where {' and '.join(where)}"


def _of_declared(alias: str, key: Declared, tenant: int, parameters: list[Any]) -> str:
    operator, values = key.criterion.operator, key.criterion.values
    parameters.extend((tenant, key.tag))
    out = f"{alias}.tenant = %s and {alias}.tag = %s"
    if operator == "words":
        return f"{out} and {_words(alias, values, tenant, key.tag, parameters)}"
    # A pattern that names several groups is held against the whole name, any other against each group.
    kind = "g" if operator == "name" and not any("=" in str(value) for value in values) else "v"
    value = f"{alias}.number" if key.number else f"{alias}.value"
    return f"{out} and {alias}.kind = '{kind}' and {_of_value(value, key.criterion, parameters)}"


def _words(alias: str, words: Sequence[Any], tenant: int, tag: int, parameters: list[Any]) -> str:
    """Every word begins a word of the same name."""
    out = []
    for number, word in enumerate(words):
        if number == 0:
            parameters.append(like(str(word)) + "%")
            out.append(f"{alias}.kind = 'w' and {alias}.value like %s")
            continue
        parameters.extend((tenant, tag, like(str(word)) + "%"))
        out.append(
            f"exists (select 1 from attribute_value w{number} where w{number}.tenant = %s and w{number}.tag = %s "
            f"and w{number}.kind = 'w' and w{number}.value like %s and w{number}.entity = {alias}.entity "
            f"and w{number}.items = {alias}.items)"
        )
    return " and ".join(out)
