"""Filtering, projection, subsetting and combining: https://hl7.org/fhirpath/N1/#filtering-and-projection."""

from functools import cmp_to_key
from typing import Any, Final

from server.errors import Unprocessable
from server.fhir.fhirpath.equality import contains_item, distinct
from server.fhir.fhirpath.frame import Frame, Step
from server.fhir.fhirpath.function import Function, eager, lazy
from server.fhir.fhirpath.navigation import all_children
from server.fhir.fhirpath.node import Collection, Node, system_value
from server.fhir.fhirpath.operators import MOST_ITEMS, ordering, union
from server.fhir.fhirpath.singleton import integer, single, truth

#: repeat() makes no more values than this that are no elements: those come to an end, values need not.
_MOST_VALUES = 10_000


def _where(frame: Frame, focus: Collection, criteria: Step) -> Collection:
    out: Collection = []
    world, total = frame.world, frame.total
    for index, item in enumerate(focus):
        this = [item]
        found = criteria(Frame(world, this, index, total), this)
        if found and (found[0] is True or truth(found, "where") is True):
            out.append(item)
    return out


def _select(frame: Frame, focus: Collection, projection: Step) -> Collection:
    out: Collection = []
    for index, item in enumerate(focus):
        this = [item]
        found = projection(Frame(frame.world, this, index, frame.total), this)
        frame.world.budget.spend(len(found))
        out.extend(found)
    return out


def _repeat(frame: Frame, focus: Collection, projection: Step) -> Collection:
    out: Collection = []
    seen: set[tuple[type, Any]] = set()
    values = 0
    waiting = list(focus)
    while waiting:
        fresh: Collection = []
        for item in _select(frame, waiting, projection):
            if type(item) is Node and isinstance(item.value, dict):
                # Elements that stand at different places are different even if they read the same.
                key: tuple[type, Any] = (Node, id(item.value))
            else:
                key = (type(item), str(system_value(item)))
                values += 1
            if key not in seen:
                seen.add(key)
                fresh.append(item)
        out.extend(fresh)
        if len(out) > MOST_ITEMS or values > _MOST_VALUES:
            raise Unprocessable("FHIRPath: repeat() does not come to an end; check its projection")
        waiting = fresh
    return out


def _children(frame: Frame, focus: Collection) -> Collection:
    model = frame.world.model
    return [child for item in focus for child in all_children(item, model)]


def _descendants(frame: Frame, focus: Collection) -> Collection:
    out: Collection = []
    waiting = focus
    while waiting:
        waiting = _children(frame, waiting)
        frame.world.budget.spend(len(waiting))
        out.extend(waiting)
    return out


def _aggregate(frame: Frame, focus: Collection, aggregator: Step, start: Step | None = None) -> Collection:
    total: Collection = [] if start is None else start(frame, frame.this)
    for index, item in enumerate(focus):
        this = [item]
        total = aggregator(Frame(frame.world, this, index, total), this)
    return total


def _iif(frame: Frame, focus: Collection, criterion: Step, then: Step, otherwise: Step | None = None) -> Collection:
    if len(focus) > 1:
        raise Unprocessable("FHIRPath: iif() takes one item; use select(iif(...))")
    inner = Frame(frame.world, focus, frame.index, frame.total)
    found = criterion(inner, focus)
    decided = single(found, "iif")
    if decided is not None and not isinstance(decided, bool):
        raise Unprocessable("FHIRPath: the criterion of iif() is no boolean; use exists()")
    if decided:
        return then(inner, focus)
    return otherwise(inner, focus) if otherwise is not None else []


def _trace(_frame: Frame, focus: Collection, _name: Step, _projection: Step | None = None) -> Collection:
    # N1, 5.10: leaves the input as it is. Where a trace would go is a log, and patient data don't go into logs.
    return focus


def _coalesce(frame: Frame, _focus: Collection, *choices: Step) -> Collection:
    for choice in choices:
        found = choice(frame, frame.this)
        if found:
            return found
    return []


def _compare_keys(left: list[Any], right: list[Any]) -> int:
    for (a, descending), (b, _) in zip(left, right, strict=True):
        if a is None or b is None:
            # What has no key counts as the highest: last upwards, first downwards (HL7's suite, testSort10).
            order: int | None = int(a is None) - int(b is None)
        else:
            order = ordering(a, b, "sort()")
        if order:
            return -order if descending else order
    return 0


def sort_items(frame: Frame, focus: Collection, *keys: tuple[Step, bool]) -> Collection:
    """``sort()``: by the keys in turn, each a step and whether descending; without keys by the items themselves."""

    def key_of(item: Any) -> list[Any]:
        if not keys:
            return [(system_value(item), False)]
        inner = Frame(frame.world, [item], frame.index, frame.total)
        return [(single(step(inner, inner.this), "sort()"), descending) for step, descending in keys]

    by_keys = cmp_to_key(_compare_keys)
    return sorted(focus, key=lambda item: by_keys(key_of(item)))


def _single(focus: Collection) -> Collection:
    if len(focus) > 1:
        raise Unprocessable(f"FHIRPath: single() of {len(focus)} items; choose one with first() or where()")
    return focus


def _skip(focus: Collection, count: Collection) -> Collection:
    number = integer(count, "skip()")
    return [] if number is None else focus[max(number, 0) :]


def _take(focus: Collection, count: Collection) -> Collection:
    number = integer(count, "take()")
    return [] if number is None else focus[: max(number, 0)]


def _combine(focus: Collection, other: Collection) -> Collection:
    if len(focus) + len(other) > MOST_ITEMS:
        raise Unprocessable(f"FHIRPath: combine() would give more than {MOST_ITEMS} items")
    return focus + other


def _intersect(focus: Collection, other: Collection) -> Collection:
    return distinct([item for item in focus if contains_item(other, item)])


def _exclude(focus: Collection, other: Collection) -> Collection:
    return [item for item in focus if not contains_item(other, item)]


FILTERING: Final[dict[str, Function]] = {
    "where": lazy(_where, 1),
    "select": lazy(_select, 1),
    "repeat": lazy(_repeat, 1),
    "children": lazy(_children),
    "descendants": lazy(_descendants),
    "aggregate": lazy(_aggregate, 1, 2),
    "iif": lazy(_iif, 2, 3),
    "trace": lazy(_trace, 1, 2),
    "coalesce": lazy(_coalesce, 1, 20),
    "single": eager(_single),
    "first": eager(lambda focus: focus[:1]),
    "last": eager(lambda focus: focus[-1:]),
    "tail": eager(lambda focus: focus[1:]),
    "skip": eager(_skip, 1),
    "take": eager(_take, 1),
    "intersect": eager(_intersect, 1),
    "exclude": eager(_exclude, 1),
    "union": eager(union, 1),
    "combine": eager(_combine, 1),
}
