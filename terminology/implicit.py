"""Value sets that no resource defines: their address says what is in them.

https://hl7.org/fhir/R4/snomedct.html#implicit, https://hl7.org/fhir/R4/loinc.html#implicit
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from terminology.filters import SNOMED_CT

LOINC = "http://loinc.org"
UCUM = "http://unitsofmeasure.org"
#: The property by which an answer stands in a LOINC answer list: https://hl7.org/fhir/R4/loinc.html#4.3.1.0.4
ANSWER_LIST = "LIST"
_ALL = {f"{LOINC}/vs": LOINC, f"{UCUM}/vs": UCUM}


def implicit(url: str) -> Mapping[str, Any] | None:
    """The value set that an address defines by itself; None where it does not."""
    if url.startswith(SNOMED_CT):
        include = _snomed(url)
    elif url.startswith(f"{LOINC}/vs/"):
        code = url.removeprefix(f"{LOINC}/vs/")
        filters = (ANSWER_LIST, "=", code) if code.startswith("LL") else ("concept", "descendent-of", code)
        include = _include(LOINC, filters)
    else:
        include = _include(_ALL[url]) if url in _ALL else None
    if include is None:
        return None
    return {"resourceType": "ValueSet", "url": url, "status": "active", "compose": {"include": [include]}}


def all_codes(system: str, url: str) -> Mapping[str, Any]:
    """The value set of all codes of a system, as CodeSystem.valueSet names it."""
    return {"resourceType": "ValueSet", "url": url, "status": "active", "compose": {"include": [_include(system)]}}


def _include(system: str, *filters: tuple[str, str, str], version: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {"system": system}
    if version:
        found["version"] = version
    if filters:
        found["filter"] = [{"property": name, "op": op, "value": value} for name, op, value in filters]
    return found


def _snomed(url: str) -> dict[str, Any] | None:
    """``?fhir_vs`` and what follows it; an edition and version before it are the system's version."""
    base, mark, asked = url.partition("?fhir_vs")
    if not mark or (asked and not asked.startswith("=")):
        return None
    version = base if base != SNOMED_CT else ""
    kind, _, value = asked.removeprefix("=").partition("/")
    value = unquote(value)
    filters = {
        "": (),
        "isa": (("concept", "is-a", value),),
        "refset": (("concept", "in", value),) if value else (("memberOf", "exists", "true"),),
        "ecl": (("constraint", "=", value),),
    }
    return None if kind not in filters else _include(SNOMED_CT, *filters[kind], version=version)
