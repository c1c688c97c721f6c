"""Existence: https://hl7.org/fhirpath/N1/#existence."""

from typing import Final

from server.errors import Unprocessable
from server.fhir.fhirpath.equality import contains_item, distinct
from server.fhir.fhirpath.frame import Frame, Step
from server.fhir.fhirpath.function import Function, eager, lazy
from server.fhir.fhirpath.node import Collection, Node, system_value
from server.fhir.fhirpath.singleton import truth


def _exists(frame: Frame, focus: Collection, criteria: Step | None = None) -> Collection:
    if criteria is None:
        return [bool(focus)]
    for index, item in enumerate(focus):
        this = [item]
        if truth(criteria(Frame(frame.world, this, index, frame.total), this), "exists") is True:
            return [True]
    return [False]


def _all(frame: Frame, focus: Collection, criteria: Step) -> Collection:
    for index, item in enumerate(focus):
        this = [item]
        if truth(criteria(Frame(frame.world, this, index, frame.total), this), "all") is not True:
            return [False]
    return [True]


def _booleans(focus: Collection, what: str) -> list[bool]:
    values = [system_value(item) for item in focus]
    for value in values:
        if not isinstance(value, bool):
            raise Unprocessable(f"FHIRPath: {what}() takes booleans only; use all() or exists() with a criterion")
    return values


def _not(focus: Collection) -> Collection:
    value = truth(focus, "not()")
    return [] if value is None else [not value]


def _subset(focus: Collection, other: Collection) -> Collection:
    return [all(contains_item(other, item) for item in focus)]


def _has_value(focus: Collection) -> Collection:
    return [len(focus) == 1 and not (type(focus[0]) is Node and isinstance(focus[0].value, dict | None))]


def _get_value(focus: Collection) -> Collection:
    if len(focus) != 1:
        return []
    value = system_value(focus[0])
    return [] if value is None or type(value) is Node else [value]


EXISTENCE: Final[dict[str, Function]] = {
    "empty": eager(lambda focus: [not focus]),
    "exists": lazy(_exists, 0, 1),
    "all": lazy(_all, 1),
    "allTrue": eager(lambda focus: [all(_booleans(focus, "allTrue"))]),
    "anyTrue": eager(lambda focus: [any(_booleans(focus, "anyTrue"))]),
    "allFalse": eager(lambda focus: [not any(_booleans(focus, "allFalse"))]),
    "anyFalse": eager(lambda focus: [not all(_booleans(focus, "anyFalse"))]),
    "subsetOf": eager(_subset, 1),
    "supersetOf": eager(lambda focus, other: _subset(other, focus), 1),
    "count": eager(lambda focus: [len(focus)]),
    "distinct": eager(distinct),
    "isDistinct": eager(lambda focus: [len(distinct(focus)) == len(focus)]),
    "not": eager(_not),
    "hasValue": eager(_has_value),
    "getValue": eager(_get_value),
}
