"""A code with its scheme, and the two names that each scheme has: DICOM's designator and FHIR's system URI.

DICOM PS3.16 Table 8-1 "Coding Schemes" gives the designators with their FHIR URIs.
"""

from dataclasses import dataclass, field
from typing import Any

#: Coding Scheme Designator -> FHIR system URI (PS3.16 Table 8-1; private schemes are added by their owners).
SYSTEMS: dict[str, str] = {
    "SCT": "http://snomed.info/sct",
    "DCM": "http://dicom.nema.org/resources/ontology/DCM",
    "UCUM": "http://unitsofmeasure.org",
    "LN": "http://loinc.org",
    "RADLEX": "http://radlex.org",
    "FMA": "http://purl.org/sig/ont/fma",
    "IBSI": "urn:oid:1.2.840.10008.2.16.13",
    "NCIt": "http://ncit.nci.nih.gov",
    "UMLS": "http://terminology.hl7.org/CodeSystem/umls",
    "MDC": "urn:iso:std:iso:11073:10101",
    "99IHE": "urn:oid:1.3.6.1.4.1.19376",
}
_DESIGNATORS = {uri: designator for designator, uri in SYSTEMS.items()}


@dataclass(frozen=True, kw_only=True, slots=True)
class Coding:
    """One coded concept; two codings are equal when value and scheme are, whatever the meaning's wording."""

    value: str
    #: DICOM Coding Scheme Designator, e.g. SCT, DCM, UCUM.
    scheme: str
    meaning: str = field(compare=False)

    @property
    def system(self) -> str:
        """The FHIR system URI of the scheme; an unknown designator becomes an urn of its own."""
        return SYSTEMS.get(self.scheme, f"urn:hutong:coding-scheme:{self.scheme}")

    def to_fhir(self) -> dict[str, Any]:
        """The FHIR Coding: https://hl7.org/fhir/R4/datatypes.html#Coding."""
        return {"system": self.system, "code": self.value, "display": self.meaning}


def from_fhir(coding: dict[str, Any]) -> Coding:
    """The Coding of a FHIR Coding element; raises KeyError when it has no code."""
    system = coding.get("system", "")
    scheme = _DESIGNATORS.get(system, system.removeprefix("urn:hutong:coding-scheme:"))
    return Coding(value=coding["code"], scheme=scheme, meaning=coding.get("display", coding["code"]))
