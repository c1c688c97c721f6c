"""Profiles written in a line or two, and resources held against them."""

from collections.abc import Callable, Mapping
from typing import Any

from server.fhir.definitions import load
from server.fhir.profile import Asked, KnownProfiles, conformance
from server.fhir.profile.instance import Elements
from server.search import bundled
from server.search.ucum_system import UcumSystem
from terminology.code_system import CodeSystem, MemoryCodeSystem
from terminology.implicit import UCUM
from terminology.value_set import Definition

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


class Terminology:
    """Value sets and code systems of some resources; ``terminology.value_set.Content``."""

    def __init__(self, find: Callable[[str, str, str], Mapping[str, Any] | None]) -> None:
        self._find = find

    def code_system(self, url: str, version: str = "") -> CodeSystem | None:
        """A code system by its canonical, UCUM by its grammar."""
        if url == UCUM:
            return UcumSystem(None)
        found = self._find("CodeSystem", url, version)
        return None if found is None else MemoryCodeSystem.of_resource(dict(found))

    def value_set(self, url: str, version: str = "") -> Definition | None:
        """A value set by its canonical, else of the standard's own."""
        found = self._find("ValueSet", url, version)
        return bundled.value_set(load(), url) if found is None else Definition(dict(found))


def known(*definitions: Mapping[str, Any]) -> KnownProfiles:
    """The profiles as a server that stores them would know them."""

    def find(kind: str, url: str, version: str = "") -> Mapping[str, Any] | None:
        for each in definitions:
            if each["resourceType"] == kind and each["url"] == url and version in ("", each.get("version")):
                return each
        return None

    def fetch(canonical: str) -> Mapping[str, Any] | None:
        url, _, version = canonical.partition("|")
        return find("StructureDefinition", url, version)

    return KnownProfiles(_ELEMENTS, fetch, Terminology(find))


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
