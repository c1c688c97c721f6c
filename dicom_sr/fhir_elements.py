"""The FHIR R4 elements that every resource of a report is made of: https://hl7.org/fhir/R4/datatypes.html."""

import math
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from dicom_sr.errors import UnwritableFindings
from dicom_sr.findings import Finding, Gone, Measurement
from terminology.codings import Coding

Resource = dict[str, Any]
Reference = dict[str, Any]

#: http://terminology.hl7.org/CodeSystem/v3-ObservationValue: content that an artificial intelligence asserted.
AIAST = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "AIAST",
    "display": "Artificial Intelligence asserted",
}
#: AI Transparency on FHIR 0.1.0: what kind of Device an AI is, and which role it has in a Provenance.
ARTIFICIAL_INTELLIGENCE = {
    "system": "http://hl7.org/fhir/uv/aitransparency/CodeSystem/AIdeviceTypeCS",
    "code": "Artificial-Intelligence",
    "display": "All kinds of Artificial Intelligence",
}
UID_SYSTEM = "urn:dicom:uid"
#: How finely a quantity is told outside of the SR, which keeps every digit: mm and percent to a tenth, mm3 whole
#: (as finely as guidelines print them). Other units: six significant digits.
_STEPS = {"mm": Decimal("0.1"), "mm3": Decimal(1), "%": Decimal("0.1")}
_SIGNIFICANT = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class Instance:
    """Where a result lies in DICOM."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str


def concept(coding: Coding) -> dict[str, Any]:
    """A CodeableConcept of one coding."""
    return {"coding": [coding.to_fhir()], "text": coding.meaning}


def uid_identifier(uid: str) -> dict[str, Any]:
    """A DICOM UID as an Identifier: https://hl7.org/fhir/R4/imagingstudy.html#notes."""
    return {"system": UID_SYSTEM, "value": f"urn:oid:{uid}"}


def instance_reference(instance: Instance, display: str) -> Reference:
    """A logical reference to a DICOM object: R4 has no resource for one instance."""
    return {
        "type": "DocumentReference",
        "identifier": uid_identifier(instance.sop_instance_uid),
        "display": display,
    }


def to_reference(resource: Resource) -> Reference:
    """A literal reference to a resource that has an id."""
    return {"reference": f"{resource['resourceType']}/{resource['id']}"}


def instant(moment: datetime) -> str:
    """A FHIR instant with milliseconds at most; raises UnwritableFindings without a time zone."""
    if moment.tzinfo is None:
        raise UnwritableFindings("a timestamp needs a time zone", place="timestamp")
    return moment.isoformat(timespec="milliseconds" if moment.microsecond else "seconds")


def rounded(value: float, unit: str) -> Decimal:
    """A value as finely as it is told in FHIR; raises UnwritableFindings for what is no finite number."""
    if not math.isfinite(value):
        raise UnwritableFindings("not a finite number", place="measurements")
    exact = Decimal(repr(value))
    if unit in _STEPS:
        return exact.quantize(_STEPS[unit]) if abs(exact) < Decimal(10) ** 20 else exact
    return Decimal(f"{exact:.{_SIGNIFICANT}g}")


def quantity(measurement: Measurement) -> dict[str, Any]:
    """A Quantity in UCUM: https://hl7.org/fhir/R4/datatypes.html#Quantity."""
    unit = measurement.unit
    return {
        "value": rounded(measurement.value, unit.value),
        "unit": unit.meaning,
        "system": unit.system,
        "code": unit.value,
    }


def place_of(finding: Finding | Gone) -> str:
    """Where a finding is, for a person."""
    parts = [coding.meaning for coding in (finding.site, finding.laterality) if coding is not None]
    return ", ".join(parts)
