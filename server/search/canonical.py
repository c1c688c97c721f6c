"""Which of several resources with one canonical URL is meant: https://hl7.org/fhir/R4/references.html#canonical"""

from collections.abc import Sequence
from typing import Any

from terminology.versions import fits, order


def newest(resources: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The one with the newest business version; what was changed last among equals, retired ones last of all."""
    return max(resources, key=_rank, default=None)


def of_version(resources: Sequence[dict[str, Any]], version: str) -> list[dict[str, Any]]:
    """Those of a business version; where there is none and the version is cut short, those that it begins."""
    if not version:
        return list(resources)
    known = [(str(one.get("version", "")), one) for one in resources]
    exact = [one for own, one in known if own == version]
    return exact or [one for own, one in known if fits(own, version) or own.startswith(f"{version}.")]


def _rank(resource: dict[str, Any]) -> tuple[bool, Any, str]:
    meta = resource.get("meta") or {}
    return resource.get("status") != "retired", order(str(resource.get("version", ""))), str(meta.get("lastUpdated"))
