"""Which of several resources with one canonical URL is meant: https://hl7.org/fhir/R4/references.html#canonical"""

import re
from collections.abc import Sequence
from typing import Any

_PARTS = re.compile(r"(\d+)|([A-Za-z]+)")


def newest(resources: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The one with the newest business version; what was changed last among equals, retired ones last of all."""
    return max(resources, key=_rank, default=None)


def of_version(resources: Sequence[dict[str, Any]], version: str) -> list[dict[str, Any]]:
    """Those of a business version; where there is none and the version is cut short, those that it begins."""
    if not version:
        return list(resources)
    exact = [one for one in resources if one.get("version") == version]
    return exact or [one for one in resources if str(one.get("version", "")).startswith(f"{version}.")]


def _rank(resource: dict[str, Any]) -> tuple[bool, Any, str]:
    meta = resource.get("meta") or {}
    return resource.get("status") != "retired", order(str(resource.get("version", ""))), str(meta.get("lastUpdated"))


def order(version: str) -> tuple[tuple[int, int, str], ...]:
    """A version as something to sort by: numbers by what they are worth, and 2.0.0 after 2.0.0-ballot."""
    release, _, label = version.partition("-")
    end = (1, 0, "") if not label else (0, 0, "")
    return (*_parts(release), end, *_parts(label))


def _parts(text: str) -> tuple[tuple[int, int, str], ...]:
    return tuple((2, int(number[:18]), "") if number else (1, 0, word.lower()) for number, word in _PARTS.findall(text))
