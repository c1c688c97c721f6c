"""A FHIR package: its CodeSystem, ValueSet and ConceptMap resources. https://confluence.hl7.org/display/FHIR/NPM+Package+Specification"""

import json
import tarfile
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from terminology.load.release import NotThisFormat

KINDS = ("CodeSystem", "ValueSet", "ConceptMap")


def resources(path: Path) -> Iterator[Mapping[str, Any]]:
    """The package's terminology resources, code systems first."""
    if not tarfile.is_tarfile(path):
        raise NotThisFormat("A FHIR package is a .tgz with a folder package in it.")
    for kind in KINDS:
        with tarfile.open(path) as package:
            for member in package:
                resource = _resource(package, member, kind)
                if resource is not None:
                    yield resource


def _resource(package: tarfile.TarFile, member: tarfile.TarInfo, kind: str) -> Mapping[str, Any] | None:
    folder, _, name = member.name.partition("/")
    if folder != "package" or not name.endswith(".json") or "/" in name or not name.startswith(kind):
        return None
    file = package.extractfile(member)
    resource = json.load(file, parse_float=Decimal) if file else None
    return resource if isinstance(resource, dict) and resource.get("resourceType") == kind else None
