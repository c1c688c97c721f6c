"""JSON Merge Patch (RFC 7396): an object that says what members are to be; null takes one away."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class MergePatch:
    """What a resource is merged with."""

    changes: dict[str, Any]


def patched(resource: dict[str, Any], patch: MergePatch) -> dict[str, Any]:
    """The resource with the changes; lists are replaced as a whole."""
    return _merged(resource, patch.changes)


def _merged(target: Any, changes: dict[str, Any]) -> dict[str, Any]:
    found = dict(target) if isinstance(target, dict) else {}
    for name, value in changes.items():
        if value is None:
            found.pop(name, None)
        else:
            found[name] = _merged(found.get(name), value) if isinstance(value, dict) else value
    return found
