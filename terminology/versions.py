"""Versions of a canonical: https://hl7.org/fhir/R4/references.html#canonical"""

import re

from terminology.filters import SNOMED_CT

_PARTS = re.compile(r"(\d+)|([A-Za-z]+)")


def order(version: str) -> tuple[tuple[int, int, str], ...]:
    """A key by which a newer version is greater: numbers by their value, and 2.0.0 after 2.0.0-ballot."""
    release, _, label = version.partition("-")
    end = (0, 0, "") if label else (1, 0, "")
    return (*_parts(release), end, *_parts(label))


def _parts(text: str) -> tuple[tuple[int, int, str], ...]:
    return tuple((2, int(number[:18]), "") if number else (1, 0, word.lower()) for number, word in _PARTS.findall(text))


def fits(version: str, asked: str) -> bool:
    """Whether a version is the one that is asked for.

    An edition of SNOMED CT stands for each of its versions, and what ends in ``.x`` for what begins like it.
    """
    edition = asked.startswith(SNOMED_CT) and version.startswith(f"{asked}/version/")
    begun = asked.endswith(".x") and version.startswith(asked.rstrip(".x") + ".")
    return asked in ("", version) or edition or begun
