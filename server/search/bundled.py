"""Code systems and value sets that come along: those of the standard, as facts, and those of the house."""

import json
from collections.abc import Iterator
from functools import lru_cache
from importlib import resources
from typing import Any

from server.fhir.definitions import Definitions
from terminology.code_system import CodeSystem, Header, MemoryCodeSystem
from terminology.concept import Concept
from terminology.value_set import Definition


def code_system(definitions: Definitions, url: str, version: str = "") -> CodeSystem | None:
    """A code system by its canonical; of another version than the bundled one there is none."""
    found = _systems(definitions).get(url)
    return found if found is not None and version in ("", found.header.version) else None


def value_set(definitions: Definitions, url: str) -> Definition | None:
    """A value set of the standard."""
    listed = definitions.codes(url)
    if listed is None:
        return None
    include = [
        {"system": system, "concept": [{"code": code} for code in sorted(codes)]} for system, codes in listed.items()
    ]
    return Definition({"resourceType": "ValueSet", "url": url, "status": "active", "compose": {"include": include}})


def with_value_set(definitions: Definitions, url: str) -> Header | None:
    """The code system that says of a value set that it has all its codes."""
    return next((one.header for one in _systems(definitions).values() if one.header.value_set == url), None)


@lru_cache(maxsize=4)
def _systems(definitions: Definitions) -> dict[str, CodeSystem]:
    """The systems behind the standard's required bindings, codes without words, and those of the house."""
    codes: dict[str, dict[str, None]] = {}
    for listed in definitions.tables["value_set"].values():
        for system, own in listed.items():
            codes.setdefault(system, {}).update(dict.fromkeys(own))
    found: dict[str, CodeSystem] = {
        url: MemoryCodeSystem(Header(url=url, content="fragment"), (Concept(code=code) for code in sorted(own)))
        for url, own in codes.items()
    }
    for resource in _of_the_house("CodeSystem-"):
        own_system = MemoryCodeSystem.of_resource(resource)
        found[own_system.header.url] = own_system
    return found


def _of_the_house(prefix: str) -> Iterator[dict[str, Any]]:
    for folder in resources.files("fhir_profiles").iterdir():
        for file in folder.iterdir() if folder.is_dir() else ():
            if file.name.startswith(prefix):
                yield json.loads(file.read_text(encoding="utf-8"))
