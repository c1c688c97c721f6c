"""Keys of a search, whoever asks, made into conditions of the index: the step that QIDO-RS and C-FIND share."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile

from server.imaging import criterion
from server.imaging.query_keys import BY_TAG, Key, is_above, vr_of
from server.store.conditions import AnyCondition, Condition, Criterion, Declared, DeclaredCondition
from server.store.extended_tags import ExtendedTag
from server.store.studies import Level

#: A date and the time that makes a moment of it.
_PAIRS = (("00080020", "00080030"), ("00400244", "00400245"))
_OFFSET = "00080201"


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """One key of a search."""

    #: Tags from the outermost sequence inwards.
    path: tuple[str, ...]
    #: As the client wrote it.
    name: str
    value: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Ways:
    """How keys are matched where the standard leaves a choice (PS3.4 C.5.1.1)."""

    #: Names by the beginnings of their words.
    fuzzy: bool = False
    #: Two quotation marks ask for no value.
    empty: bool = False
    #: Ranges of a date and of its time are one range.
    combine: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Understood:
    """The conditions, and the keys with a value that are not searched by."""

    conditions: tuple[AnyCondition, ...]
    unsupported: tuple[Asked, ...]


def understand(
    level: Level, asked: Iterable[Asked], declared: Sequence[ExtendedTag], ways: Ways | None = None
) -> Understood:
    """Conditions of a search at ``level``; raises BadRequest naming the key whose value is none."""
    ways = ways or Ways()
    keys = {key.path: key for key in asked}
    offset = None
    zone = keys.pop((_OFFSET,), None)
    unsupported: list[Asked] = []
    if zone is not None and zone.value.strip():
        offset = criterion.offset_minutes(zone.value)
        if offset is None:
            raise criterion.bad(zone.name, "an offset as +HHMM or -HHMM")
    conditions: list[AnyCondition] = []
    if ways.combine:
        conditions += _moments(level, keys, offset)
    found: list[tuple[ExtendedTag, Criterion]] = []
    by_path = {tag.path: tag for tag in declared if tag.ready}
    for key in keys.values():
        known = BY_TAG.get(key.path[0]) if len(key.path) == 1 else None
        if known is not None and is_above(known.level, level):
            _add(conditions, known, key, ways, offset)
            continue
        tag = by_path.get(".".join(key.path))
        vr = tag.vr if tag is not None else vr_of(key.path[-1])
        wanted = criterion.parse(vr, key.value, key.name, fuzzy=ways.fuzzy, empty=ways.empty)
        if tag is not None and is_above(tag.level, level):  # type: ignore[arg-type]
            found += [(tag, wanted)] if wanted is not None else []
        elif wanted is not None:
            unsupported.append(key)
    return Understood(conditions=(*conditions, *_grouped(found)), unsupported=tuple(unsupported))


def _add(conditions: list[AnyCondition], known: Key, key: Asked, ways: Ways, offset: int | None) -> None:
    wanted = criterion.parse(known.vr, key.value, key.name, fuzzy=ways.fuzzy, empty=ways.empty)
    if wanted is not None:
        shifted = offset if known.tag in _PAIRS[0] and wanted.operator != "empty" else None
        conditions.append(Condition(column=known.column, criterion=wanted, offset=shifted))


def _moments(level: Level, keys: dict[tuple[str, ...], Asked], offset: int | None) -> list[AnyCondition]:
    """Takes pairs of ranges out of ``keys``."""
    found: list[AnyCondition] = []
    for date, time in _PAIRS:
        one, other = keys.get((date,)), keys.get((time,))
        if one is None or other is None or not is_above(BY_TAG[date].level, level):
            continue
        wanted = criterion.combined(one.value, other.value)
        if wanted is not None:
            shifted = offset if date == _PAIRS[0][0] else None
            found.append(Condition(column=BY_TAG[date].column, criterion=wanted, offset=shifted))
            del keys[(date,)], keys[(time,)]
    return found


def _grouped(found: Sequence[tuple[ExtendedTag, Criterion]]) -> list[AnyCondition]:
    """Keys in one sequence must match in one item of it (PS3.4 C.2.2.2.6)."""
    groups: dict[tuple[str, ...], list[tuple[ExtendedTag, Criterion]]] = {}
    for tag, wanted in found:
        outer = tag.path.partition(".")
        alone = not outer[1] or wanted.operator == "empty"
        groups.setdefault((tag.level, tag.path if alone else outer[0]), []).append((tag, wanted))
    return [DeclaredCondition(level=tags[0][0].level, keys=_declared_keys(tags)) for tags in groups.values()]


def _declared_keys(tags: Sequence[tuple[ExtendedTag, Criterion]]) -> tuple[Declared, ...]:
    first = tags[0][0].path.split(".")[:-1]
    out = []
    for tag, wanted in tags:
        sequences = tag.path.split(".")[:-1]
        shared = sum(1 for _ in takewhile(lambda two: two[0] == two[1], zip(first, sequences, strict=False)))
        out.append(Declared(tag=tag.tag, criterion=wanted, number=tag.vr in criterion.NUMBERS, shared=shared))
    return tuple(out)
