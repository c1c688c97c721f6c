"""FHIR packages from a registry that speaks npm's protocol: https://confluence.hl7.org/display/FHIR/NPM+Package+Specification"""

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

from server.errors import BadRequest, NotFound, Unavailable
from server.outbound.guard import Guard
from server.outbound.http import get

_NAME = re.compile(r"(@[a-z0-9-]+/)?[A-Za-z0-9][A-Za-z0-9._-]*")
_LARGEST_LIST, _LARGEST_PACKAGE = 64 << 20, 1 << 30
_SECONDS = 60.0


def fetch(registry: str, name: str, version: str, folder: Path, guard: Guard) -> Path:
    """The .tgz of a package, in a folder; without version the one that the registry calls the latest."""
    if not _NAME.fullmatch(name):
        raise BadRequest(f"'{name[:100]}' is no name of a package; write NAME@VERSION.", expression="package")
    url = f"{registry.rstrip('/')}/{quote(name, safe='@')}"
    listed = _object(get(url, {"Accept": "application/json"}, timeout=_SECONDS, guard=guard, most=_LARGEST_LIST), url)
    versions = listed.get("versions") or {}
    wanted = version or str((listed.get("dist-tags") or {}).get("latest", ""))
    if wanted not in versions:
        have = ", ".join(list(versions)[-10:]) or "none"
        raise NotFound(f"{registry} has no {name}@{version or 'latest'}; it has {have}.", expression="package")
    dist = versions[wanted].get("dist") or {}
    body = get(str(dist.get("tarball", "")), {}, timeout=_SECONDS, guard=guard, most=_LARGEST_PACKAGE)
    if not _is_whole(body, dist):
        raise Unavailable(f"{name}@{wanted} came with another checksum than the registry names; fetch it again.")
    file = folder / "package.tgz"
    file.write_bytes(body)
    return file


def _object(body: bytes, url: str) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Unavailable(f"{url} gave no JSON object, so it is no package registry; set package_registry to one.")
    return found


def _is_whole(body: bytes, dist: dict[str, Any]) -> bool:
    """Whether the checksums that are given are those of what came."""
    algorithm, _, value = str(dist.get("integrity", "")).partition("-")
    if algorithm in ("sha256", "sha384", "sha512") and value:
        return base64.b64encode(hashlib.new(algorithm, body).digest()).decode() == value
    # What registries of old give; not there to keep out forgers.
    shasum = str(dist.get("shasum", ""))
    return not shasum or hashlib.sha1(body, usedforsecurity=False).hexdigest() == shasum.lower()
