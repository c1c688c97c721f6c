"""Setting an element of a resource by its path, as dynamicValue.path writes it: https://hl7.org/fhir/R4/plandefinition.html."""

import re
from typing import Any

from server.errors import Unprocessable
from server.fhir import definitions

_STEP = re.compile(r"([A-Za-z][A-Za-z0-9]*)(?:\[(\d+)\])?")


def put(resource: dict[str, Any], path: str, values: list[Any]) -> None:
    """Sets the element at ``path`` (dots and [index]); no values leave it as it is. Unprocessable names a bad path."""
    if not values:
        return
    steps = [_step(path, part) for part in path.removeprefix(f"{resource['resourceType']}.").split(".")]
    place: Any = resource
    type_path = resource["resourceType"]
    for name, index in steps[:-1]:
        many, type_path = _property(type_path, name, path)
        place = _descend(place, name, index, many)
    name, index = steps[-1]
    many, _ = _property(type_path, name, path)
    if many and index is None:
        place[name] = list(values)
    elif many:
        found = place.setdefault(name, [])
        _grow(found, index or 0, values[0])
    else:
        place[name] = values[0]


def _descend(place: dict[str, Any], name: str, index: int | None, many: bool) -> dict[str, Any]:
    if not many:
        inner: dict[str, Any] = place.setdefault(name, {})
        return inner
    found: list[dict[str, Any]] = place.setdefault(name, [])
    while len(found) <= (index or 0):
        found.append({})
    return found[index or 0]


def _grow(found: list[Any], index: int, value: Any) -> None:
    if index > len(found):
        raise Unprocessable(f"There is no item {index - 1} before item {index}.")
    found[index : index + 1] = [value]


def _property(type_path: str, name: str, path: str) -> tuple[bool, str]:
    """Whether an element repeats, and where its own children are defined."""
    known = definitions.load().properties(type_path).get(name)
    if known is None:
        raise Unprocessable(f"{type_path} has no element '{name}'.", expression=path)
    return known.element.many, known.children


def _step(path: str, part: str) -> tuple[str, int | None]:
    match = _STEP.fullmatch(part)
    if match is None:
        raise Unprocessable(f"'{part}' is no step of an element path.", expression=path)
    return match[1], None if match[2] is None else int(match[2])
