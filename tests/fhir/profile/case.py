"""Profiles written in a line or two, and resources held against them."""

from collections.abc import Mapping
from typing import Any

from server.fhir.definitions import load
from server.fhir.profile import Asked, KnownProfiles, conformance
from server.fhir.profile.instance import Elements

BASE = "http://example.org/fhir/StructureDefinition/"
STRUCTURE = "http://hl7.org/fhir/StructureDefinition/"
_ELEMENTS = Elements(load())


def element(id: str, **facts: Any) -> dict[str, Any]:
    """An ElementDefinition by its id."""
    steps = [step.partition(":") for step in id.split(".")]
    found: dict[str, Any] = {"id": id, "path": ".".join(name for name, _, _ in steps)}
    if steps[-1][2]:
        found["sliceName"] = steps[-1][2]
    return {**found, **facts}


def profile(
    name: str, kind: str, *elements: dict[str, Any], base: str = "", view: str = "differential", **more: Any
) -> dict[str, Any]:
    """A StructureDefinition with a differential (or snapshot)."""
    return {
        "resourceType": "StructureDefinition",
        "url": BASE + name,
        "name": name,
        "status": "active",
        "kind": "complex-type" if kind == "Extension" else "resource",
        "abstract": False,
        "type": kind,
        "baseDefinition": base or STRUCTURE + kind,
        "derivation": "constraint",
        view: {"element": list(elements)},
        **more,
    }


def sliced(*discriminators: tuple[str, str], rules: str = "open", ordered: bool = False) -> dict[str, Any]:
    """ElementDefinition.slicing."""
    named = [{"type": kind, "path": path} for kind, path in discriminators]
    return {"discriminator": named, "rules": rules, "ordered": ordered}


def known(*definitions: Mapping[str, Any]) -> KnownProfiles:
    """The profiles as a server that stores them would know them."""

    def fetch(kind: str, canonical: str) -> Mapping[str, Any] | None:
        url, _, version = canonical.partition("|")
        for each in definitions:
            if each["resourceType"] == kind and each["url"] == url and version in ("", each.get("version")):
                return each
        return None

    return KnownProfiles(_ELEMENTS, fetch)


def faults(
    resource: dict[str, Any], *definitions: Mapping[str, Any], severity: str = "error", **asked: Any
) -> list[tuple[str, str]]:
    """Code and place of what keeps a resource from meeting the first of the profiles."""
    return [(code, place) for code, place, _ in told(resource, *definitions, severity=severity, **asked)]


def told(
    resource: dict[str, Any], *definitions: Mapping[str, Any], severity: str = "error", **asked: Any
) -> list[tuple[str, str, str]]:
    """The same with the words."""
    wanted = Asked(**{"profiles": [str(definitions[0]["url"])], **asked})
    issues = conformance(resource, known(*definitions), wanted)
    return [(issue.code, issue.expression, issue.details) for issue in issues if issue.severity == severity]
