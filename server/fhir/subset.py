"""_summary and _elements: https://hl7.org/fhir/R4/search.html#summary"""

from typing import Any

from server.fhir.definitions import Definitions

_SUBSETTED = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}
#: Kept whatever is asked for.
_ALWAYS = frozenset({"resourceType", "id", "meta", "implicitRules"})


def subset(
    definitions: Definitions, resource: dict[str, Any], *, summary: str = "false", elements: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The part of a resource that was asked for, tagged SUBSETTED; the whole resource where nothing was."""
    properties = definitions.properties(resource["resourceType"])
    mandatory = {name for name, found in properties.items() if found.element.min > 0}
    if elements:
        names = {name.removeprefix(resource["resourceType"] + ".").partition(".")[0] for name in elements}
        wanted = mandatory | {name for name, found in properties.items() if found.element.name in names}
        kept = _only(resource, wanted)
    elif summary == "true":
        kept = _summarised(definitions, resource, resource["resourceType"])
    elif summary == "text":
        kept = _only(resource, mandatory | {"text"})
    elif summary == "data":
        kept = {name: value for name, value in resource.items() if name != "text"}
    else:
        return resource
    meta = kept.get("meta") or {}
    return {**kept, "meta": {**meta, "tag": [*meta.get("tag", ()), _SUBSETTED]}}


def _only(resource: dict[str, Any], wanted: set[str]) -> dict[str, Any]:
    return {name: value for name, value in resource.items() if name in _ALWAYS or name.removeprefix("_") in wanted}


def _summarised(definitions: Definitions, value: dict[str, Any], path: str) -> dict[str, Any]:
    """What of a value is marked as summary, at every depth that is defined in place."""
    kept: dict[str, Any] = {}
    properties = definitions.properties(path)
    for name, inner in value.items():
        found = properties.get(name.removeprefix("_"))
        if name in _ALWAYS or found is None:
            if name in _ALWAYS:
                kept[name] = inner
            continue
        if not found.element.summary:
            continue
        in_place = found.element.content_path
        if in_place and isinstance(inner, list):
            kept[name] = [_summarised(definitions, one, in_place) if isinstance(one, dict) else one for one in inner]
        elif in_place and isinstance(inner, dict):
            kept[name] = _summarised(definitions, inner, in_place)
        else:
            kept[name] = inner
    return kept
