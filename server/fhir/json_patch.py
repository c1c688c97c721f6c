"""JSON Patch (RFC 6902) with JSON Pointer (RFC 6901): https://hl7.org/fhir/R4/http.html#patch"""

import copy
import re
from collections.abc import Callable
from typing import Any

from server.errors import BadRequest, TooLarge, Unprocessable

_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")
_BAD_ESCAPE = re.compile(r"~(?![01])")
#: Members and characters that copies may bring in all: each copy can double the document.
MOST_COPIED = 16 << 20


def patched(document: Any, operations: Any) -> Any:
    """The document after all operations; BadRequest for what is no patch, Unprocessable for one that can't apply."""
    if not isinstance(operations, list):
        raise BadRequest("A JSON Patch is an array of operations.")
    # One member more, so that the whole document has a parent like everything else.
    root = {"": copy.deepcopy(document)}
    copied = 0
    for place, operation in enumerate(operations):
        where = f"[{place}]"
        if not isinstance(operation, dict) or operation.get("op") not in _OPERATIONS:
            raise BadRequest(f"op is one of {', '.join(_OPERATIONS)}.", expression=where)
        try:
            copied += _size(_source(root, operation)) if operation["op"] == "copy" else 0
            if copied > MOST_COPIED:
                raise TooLarge("The patch copies too much.", expression=where)
            _OPERATIONS[operation["op"]](root, operation)
        except BadRequest as error:
            raise BadRequest(error.details, expression=where) from error
        except Unprocessable as error:
            raise Unprocessable(error.details, expression=where) from error
    return root[""]


def _pointer(operation: dict[str, Any], name: str = "path") -> list[str]:
    text = operation.get(name)
    if not isinstance(text, str) or (text and not text.startswith("/")) or _BAD_ESCAPE.search(text):
        raise BadRequest(f"{name} must be a JSON Pointer, e.g. /name/0/family.")
    return [step.replace("~1", "/").replace("~0", "~") for step in text.split("/")]


def _parent(root: Any, steps: list[str]) -> Any:
    """What the last step is a member of."""
    found = root
    for step in steps[:-1]:
        found = _member(found, step)
    if not isinstance(found, dict | list):
        raise Unprocessable("The path leads into a value that has no members.")
    return found


def _member(parent: Any, step: str) -> Any:
    if isinstance(parent, dict) and step in parent:
        return parent[step]
    if isinstance(parent, list):
        return parent[_index(step, len(parent) - 1)]
    raise Unprocessable(f"There is nothing at '{step[:64]}'.")


def _index(step: str, last: int) -> int:
    if not _INDEX.fullmatch(step):
        raise Unprocessable(f"'{step[:64]}' is no place in an array.")
    if int(step) > last:
        raise Unprocessable(f"The array ends before {step}.")
    return int(step)


def _value(operation: dict[str, Any]) -> Any:
    if "value" not in operation:
        raise BadRequest(f"{operation['op']} needs a value.")
    return copy.deepcopy(operation["value"])


def _put(root: Any, steps: list[str], value: Any) -> None:
    parent, last = _parent(root, steps), steps[-1]
    if isinstance(parent, dict):
        parent[last] = value
    elif last == "-":
        parent.append(value)
    else:
        parent.insert(_index(last, len(parent)), value)


def _take(root: Any, steps: list[str]) -> Any:
    parent, last = _parent(root, steps), steps[-1]
    found = _member(parent, last)
    if isinstance(parent, dict):
        del parent[last]
    else:
        del parent[int(last)]
    return found


def _add(root: Any, operation: dict[str, Any]) -> None:
    _put(root, _pointer(operation), _value(operation))


def _remove(root: Any, operation: dict[str, Any]) -> None:
    _take(root, _pointer(operation))


def _replace(root: Any, operation: dict[str, Any]) -> None:
    steps, value = _pointer(operation), _value(operation)
    parent = _parent(root, steps)
    _member(parent, steps[-1])
    parent[steps[-1] if isinstance(parent, dict) else int(steps[-1])] = value


def _move(root: Any, operation: dict[str, Any]) -> None:
    source, target = _pointer(operation, "from"), _pointer(operation)
    if target[: len(source)] == source and target != source:
        raise Unprocessable("A value can't be moved into itself.")
    _put(root, target, _take(root, source))


def _copy(root: Any, operation: dict[str, Any]) -> None:
    _put(root, _pointer(operation), copy.deepcopy(_source(root, operation)))


def _source(root: Any, operation: dict[str, Any]) -> Any:
    steps = _pointer(operation, "from")
    return _member(_parent(root, steps), steps[-1])


def _size(value: Any) -> int:
    """Members and characters of a JSON value."""
    size, waiting = 0, [value]
    while waiting:
        each = waiting.pop()
        size += 1
        if isinstance(each, dict):
            size += sum(map(len, each))
            waiting.extend(each.values())
        elif isinstance(each, list):
            waiting.extend(each)
        elif isinstance(each, str):
            size += len(each)
    return size


def _test(root: Any, operation: dict[str, Any]) -> None:
    steps = _pointer(operation)
    if not _same(_member(_parent(root, steps), steps[-1]), _value(operation)):
        raise Unprocessable("The test does not hold: the value is another.")


def _same(left: Any, right: Any) -> bool:
    """Equality of JSON values: true is not 1."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_same(left[name], right[name]) for name in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(_same(one, other) for one, other in zip(left, right, strict=True))
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


_OPERATIONS: dict[str, Callable[[Any, dict[str, Any]], None]] = {
    "add": _add,
    "remove": _remove,
    "replace": _replace,
    "move": _move,
    "copy": _copy,
    "test": _test,
}
