"""What FHIR adds to FHIRPath: https://hl7.org/fhir/R4/fhirpath.html#functions."""

import re
from collections.abc import Mapping
from typing import Any, Final

from server.errors import Unprocessable
from server.fhir.fhirpath.frame import Frame, Step
from server.fhir.fhirpath.function import Function, eager, lazy
from server.fhir.fhirpath.node import Collection, Node, plain_value, resource_node, system_value
from server.fhir.fhirpath.quantity import Quantity
from server.fhir.fhirpath.singleton import single, text
from server.fhir.fhirpath.type_specifiers import specialises

#: ``Type/id`` at the end of a reference: https://hl7.org/fhir/R4/references.html#literal.
_LITERAL = re.compile(r"(?:^|/)([A-Z][A-Za-z]+)/([A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?(?:#.*)?$")
_STRUCTURE = "http://hl7.org/fhir/StructureDefinition/"


def _extension(focus: Collection, url: Collection) -> Collection:
    wanted = text(url, "extension()")
    found: Collection = []
    for item in focus:
        if type(item) is not Node:
            continue
        holder = item.value if type(item.value) is dict else item.extra
        extensions = holder.get("extension") if isinstance(holder, dict) else None
        for each in extensions if isinstance(extensions, list) else ():
            if isinstance(each, dict) and each.get("url") == wanted:
                found.append(Node(each, "Extension", "Extension"))
    return found


def _reference_of(item: Any) -> tuple[str, str]:
    """The literal reference and the type that a Reference, canonical or uri names."""
    value = item.value if type(item) is Node else item
    if isinstance(value, str):
        return value, ""
    if isinstance(value, dict):
        return str(value.get("reference", "")), str(value.get("type", ""))
    return "", ""


def _contained(root: Node, fragment: str) -> dict[str, Any] | None:
    if not fragment:
        return root.value if isinstance(root.value, dict) else None
    inside = root.value.get("contained", ()) if isinstance(root.value, dict) else ()
    return next((each for each in inside if isinstance(each, dict) and each.get("id") == fragment), None)


def _resolve(frame: Frame, focus: Collection) -> Collection:
    """The resources referred to; where no resolver was given, what the reference itself says of them: type and id."""
    world = frame.world
    found: Collection = []
    for item in focus:
        reference, named = _reference_of(item)
        if reference.startswith("#"):
            target = _contained(world.root, reference[1:])
        elif world.resolve is not None:
            target = world.resolve(reference) if reference else None
        else:
            target = _shell(reference, named)
        if target is not None:
            found.append(resource_node(target))
    return found


def _shell(reference: str, named: str) -> dict[str, Any] | None:
    match = _LITERAL.search(reference)
    if match is not None:
        return {"resourceType": match[1], "id": match[2]}
    return {"resourceType": named} if named and not named.startswith("http") else None


def _member_of(frame: Frame, focus: Collection, value_set: Step) -> Collection:
    url = text(value_set(frame, frame.this), "memberOf()")
    if url is None or len(focus) != 1:
        return []
    value = plain_value(focus[0])
    if frame.world.member_of is not None:
        return [frame.world.member_of(value, url)]
    model = frame.world.model
    codes = None if model is None else model.codes(url.partition("|")[0])
    if codes is None:
        raise Unprocessable("FHIRPath: memberOf() needs a terminology that has the value set; none was given")
    return [_is_listed(value, codes)]


def _is_listed(value: Any, codes: Mapping[str, frozenset[str]]) -> bool:
    """Whether a code, Coding or CodeableConcept is in a value set whose codes by system are known."""
    if isinstance(value, str):
        return any(value in listed for listed in codes.values())
    if not isinstance(value, dict):
        return False
    codings = value.get("coding")
    if isinstance(codings, list):
        return any(_is_listed(coding, codes) for coding in codings if isinstance(coding, dict))
    return str(value.get("code")) in codes.get(str(value.get("system")), ())


def _conforms_to(frame: Frame, focus: Collection, structure: Step) -> Collection:
    """Only the standard's own types: an item conforms to the type that it is. Profiles are Unprocessable."""
    url = text(structure(frame, frame.this), "conformsTo()")
    if url is None or len(focus) != 1:
        return []
    name = url.removeprefix(_STRUCTURE)
    model = frame.world.model
    known = name[:1].isupper() if model is None else name in model.types
    if name == url or not known:
        raise Unprocessable(f"FHIRPath: conformsTo() knows only the types of the standard, not {url!r}")
    return [type(focus[0]) is Node and specialises(focus[0].type, name, model)]


def _comparable(focus: Collection, other: Collection) -> Collection:
    left, right = single(focus, "comparable()"), single(other, "comparable()")
    if left is None or right is None:
        return []
    return [isinstance(left, Quantity) and isinstance(right, Quantity) and left.comparable(right)]


def _html_checks(focus: Collection) -> Collection:
    """Whether narrative is non-empty XHTML without active content (https://hl7.org/fhir/R4/narrative.html, txt-1)."""
    return [all(_is_narrative(system_value(item)) for item in focus)]


#: R4 narrative.html: no head, body, script, form, base, link, frames, events; no external style.
_ACTIVE = re.compile(
    r"<\s*(?:html|head|body|script|form|base|link|i?frame|object|xlink|input)\b|\son\w+\s*=", re.IGNORECASE
)


def _is_narrative(value: Any) -> bool:
    return isinstance(value, str) and value.lstrip().startswith("<div") and _ACTIVE.search(value) is None


FHIR: Final[dict[str, Function]] = {
    "extension": eager(_extension, 1),
    "hasExtension": eager(lambda focus, url: [bool(_extension(focus, url))], 1),
    "resolve": lazy(_resolve),
    "memberOf": lazy(_member_of, 1),
    "conformsTo": lazy(_conforms_to, 1),
    "comparable": eager(_comparable, 1),
    "htmlChecks": eager(_html_checks),
}
