"""FHIR packages: what is in one. https://hl7.org/fhir/packages.html (NPM package specification)

A package is a .tgz of JSON files under ``package/``; only regular files directly there are read, and no more than
limits allow, as packages are somebody else's.
"""

import gzip
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final

from server.errors import BadRequest, TooLarge
from server.fhir import json_format

#: Bytes of one file, and of all that is unpacked.
_LARGEST_FILE: Final = 256 << 20
_LARGEST: Final = 4 << 30
_MOST_FILES: Final = 100_000
#: The package that says nothing that the server's own tables don't: https://hl7.org/fhir/R4/downloads.html
CORE: Final = "hl7.fhir.r4.core"


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """What package.json says."""

    name: str
    version: str
    #: Name -> version of packages that this one builds on.
    dependencies: dict[str, str] = field(default_factory=dict)
    #: Editions of FHIR that it is for; empty where it does not say.
    editions: tuple[str, ...] = ()

    def is_for(self, version: str) -> bool:
        """Whether it is for an edition of FHIR, patch releases of it included."""
        wanted = version.rsplit(".", 1)[0]
        return not self.editions or any(each == wanted or each.startswith(f"{wanted}.") for each in self.editions)


def manifest(archive: Path) -> Manifest:
    """What a package says of itself."""
    for name, body in _files(archive):
        if name == "package.json":
            return _manifest(_object(body), archive)
    raise BadRequest(f"{archive.name} is no FHIR package: it has no package/package.json.", expression=str(archive))


def resources(archive: Path) -> Iterator[dict[str, Any]]:
    """Every resource of a package, its examples left out."""
    for name, body in _files(archive):
        if name.endswith(".json") and not name.startswith((".", "package.")):
            found = _object(body)
            if isinstance(found.get("resourceType"), str):
                yield found


def _manifest(found: dict[str, Any], archive: Path) -> Manifest:
    name, version = found.get("name"), found.get("version")
    if not isinstance(name, str) or not isinstance(version, str):
        raise BadRequest(f"package.json in {archive.name} has no name and version.", expression="package.json")
    editions = found.get("fhirVersions") or found.get("fhir-version-list") or ()
    depends = found.get("dependencies")
    return Manifest(
        name=name,
        version=version,
        dependencies={str(key): str(value) for key, value in depends.items()} if isinstance(depends, dict) else {},
        editions=tuple(str(each) for each in editions) if isinstance(editions, list) else (),
    )


def _object(body: bytes) -> dict[str, Any]:
    try:
        return json_format.parse(body.removeprefix(b"\xef\xbb\xbf"))
    except BadRequest:
        return {}


def _files(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of the files directly under ``package/``, in their order."""
    total = count = 0
    try:
        with tarfile.open(archive, "r|gz") as package:
            for member in package:
                count += 1
                total += member.size
                if count > _MOST_FILES or total > _LARGEST or member.size > _LARGEST_FILE:
                    raise TooLarge(f"{archive.name} unpacks to more than a FHIR package has.")
                path = PurePosixPath(member.name)
                if not member.isreg() or path.parts[:-1] != ("package",):
                    continue
                file = package.extractfile(member)
                if file is not None:
                    yield path.name, file.read()
    except FileNotFoundError as error:
        raise BadRequest(f"There is no file {archive}.", expression=str(archive)) from error
    except (OSError, tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BadRequest(f"{archive.name} is no .tgz that can be read: {error}.", expression=str(archive)) from error
