"""The resources of a FHIR package: https://hl7.org/fhir/R4/packages.html and https://confluence.hl7.org/display/FHIR/NPM+Package+Specification"""

import json
import tarfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any


def resources(source: Path) -> Iterator[tuple[str, bytes, dict[str, Any]]]:
    """File name, bytes and parsed JSON of every resource in a folder or a .tgz, by name."""
    for name, body in sorted(_files(source)):
        parsed = parse(body)
        if isinstance(parsed, dict) and "resourceType" in parsed:
            yield name, body, parsed


def _files(source: Path) -> Iterator[tuple[str, bytes]]:
    if source.is_dir():
        inside = source / "package"
        for path in (inside if inside.is_dir() else source).glob("*.json"):
            yield path.name, path.read_bytes()
        return
    with tarfile.open(source) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.name.endswith(".json") else None
            if file is not None:
                yield Path(member.name).name, file.read()


def parse(body: bytes) -> Any:
    """JSON with every number as the Decimal that was written."""
    return json.loads(body, parse_float=Decimal, parse_int=Decimal)
