"""Versions of a canonical: https://hl7.org/fhir/R4/references.html#canonical"""

import re

from terminology.filters import SNOMED_CT

_NUMBERS = re.compile(r"(\d+)")


def order(version: str) -> list[tuple[int, int, str]]:
    """A key by which a newer version is greater: numbers by their value, other text by its characters."""
    parts = _NUMBERS.split(version)
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts if part]


def fits(version: str, asked: str) -> bool:
    """Whether a version is the one that is asked for; an edition of SNOMED CT stands for each of its versions."""
    edition = asked.startswith(SNOMED_CT) and version.startswith(f"{asked}/version/")
    return asked in ("", version) or edition
