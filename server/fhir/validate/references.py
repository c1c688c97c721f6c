"""References: what they may point to, and contained resources (https://hl7.org/fhir/R4/references.html)."""

import re
from collections.abc import Iterator
from typing import Any

from server.fhir.definitions import Definitions
from server.fhir.validate.problem import Problems, Scope, below, wrong

#: ``Type/id`` at the end of a relative or absolute reference to a FHIR server.
_LITERAL = re.compile(r"(?:^|/)([A-Z][A-Za-z]+)/[A-Za-z0-9\-.]{1,64}(?:/_history/[A-Za-z0-9\-.]{1,64})?$")


def check_reference(
    value: dict[str, Any], targets: tuple[str, ...], scope: Scope, definitions: Definitions
) -> Problems:
    """Whether a Reference can point where it does: a type that is allowed, a contained resource that is there."""
    literal = value.get("reference")
    if not isinstance(literal, str):
        return None
    if literal.startswith("#"):
        return _check_contained(literal[1:], targets, scope)
    match = _LITERAL.search(literal)
    if match is None or not definitions.is_resource(match[1]):
        return None
    return _check_type(match[1], targets)


def _check_type(name: str, targets: tuple[str, ...]) -> Problems:
    if not targets or name in targets or "Resource" in targets:
        return None
    return wrong("value", f"a {name} can't be referred to here; allowed: {', '.join(targets)}", "reference")


def _check_contained(fragment: str, targets: tuple[str, ...], scope: Scope) -> Problems:
    """Invariant ref-1; ``#`` alone is the container itself."""
    if not fragment:
        return None
    contained = scope.root.get("contained")
    for resource in contained if isinstance(contained, list) else ():
        if isinstance(resource, dict) and resource.get("id") == fragment:
            return _check_type(str(resource.get("resourceType")), targets)
    return wrong("not-found", "nothing with that id is contained (ref-1); contain it or refer elsewhere", "reference")


def local_references(value: Any) -> Iterator[str]:
    """Ids that something in the value refers to as ``#id``, in references, canonicals, uris and urls."""
    waiting = [value]
    while waiting:
        current = waiting.pop()
        if isinstance(current, dict):
            waiting.extend(current.values())
        elif isinstance(current, list):
            waiting.extend(current)
        elif isinstance(current, str) and current.startswith("#"):
            yield current[1:]


def check_contained(resource: dict[str, Any]) -> Problems:
    """Invariants dom-2 to dom-5 of a resource that contains others."""
    contained = resource.get("contained")
    if not isinstance(contained, list):
        return None
    problems: list[Any] = []
    referred = set(local_references({key: value for key, value in resource.items() if key != "text"}))
    for index, each in enumerate(contained):
        found = _check_one_contained(each, referred) if isinstance(each, dict) else None
        if found:
            problems += below("contained", below(f"[{index}]", found))
    return problems or None


def _check_one_contained(each: dict[str, Any], referred: set[str]) -> Problems:
    problems: list[Any] = []
    if "contained" in each:
        problems += wrong("invariant", "what is contained can't contain (dom-2); contain it beside", "contained")
    meta = each.get("meta")
    if isinstance(meta, dict):
        for name in ("versionId", "lastUpdated", "security"):
            if name in meta:
                problems += wrong("invariant", "what is contained has no such metadata (dom-4, dom-5)", name, "meta")
    uses_container = any(fragment == "" for fragment in local_references(each))
    if each.get("id") not in referred and not uses_container:
        problems += wrong("invariant", "nothing refers to it (dom-3); refer to it by '#' and its id, or leave it out")
    return problems or None
