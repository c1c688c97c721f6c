"""The FHIR Patient of a DICOM patient (https://hl7.org/fhir/R4/patient.html, PS3.3 C.2.2 and C.7.1.1)."""

import re
from typing import Any

from server.imaging import attributes as read
from server.imaging.dataset import Attributes

Resource = dict[str, Any]

_GENDER = {"M": "male", "F": "female", "O": "other"}
_OID = re.compile(r"[0-2](\.(0|[1-9]\d*))+")
_REPRESENTATION = "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation"
#: PN component group -> how the name is written.
_GROUPS = {"Alphabetic": "ABC", "Ideographic": "IDE", "Phonetic": "SYL"}
_IDENTIFIER_TYPE = "http://terminology.hl7.org/CodeSystem/v2-0203"


def build(resource_id: str, header: Attributes) -> Resource:
    """The Patient; what the header does not say is left out."""
    resource: Resource = {"resourceType": "Patient", "id": resource_id}
    identifier = _identifier(header)
    if identifier:
        resource["identifier"] = [identifier]
    names = _names(header)
    if names:
        resource["name"] = names
    gender = _GENDER.get(read.text(header, "00100040").upper())
    if gender:
        resource["gender"] = gender
    born = read.day(header, "00100030")
    if born is not None:
        resource["birthDate"] = born.isoformat()
    return resource


def _identifier(header: Attributes) -> Resource | None:
    number = read.text(header, "00100020")
    if not number:
        return None
    identifier: Resource = {
        "type": {"coding": [{"system": _IDENTIFIER_TYPE, "code": "MR", "display": "Medical record number"}]},
        "value": number,
    }
    issuer = read.text(header, "00100021")
    if _OID.fullmatch(issuer):
        identifier["system"] = f"urn:oid:{issuer}"
    elif issuer:
        identifier["assigner"] = {"display": issuer}
    return identifier


def _names(header: Attributes) -> list[Resource]:
    found = next((value for value in read.values(header, "00100010") if isinstance(value, dict)), {})
    several = len(found) > 1
    names = []
    for group, code in _GROUPS.items():
        name = _name(found.get(group, "").replace("\0", ""))
        if name and (several or group != "Alphabetic"):
            name["extension"] = [{"url": _REPRESENTATION, "valueCode": code}]
        if name:
            names.append(name)
    return names


def _name(text: str) -> Resource:
    """Family, given, middle, prefix, suffix (PS3.5 6.2.1.1)."""
    parts = [part.strip() for part in text.split("^")] + [""] * 5
    name: Resource = {}
    if parts[0]:
        name["family"] = parts[0]
    given = [part for part in (parts[1], parts[2]) if part]
    for key, values in (("given", given), ("prefix", [parts[3]]), ("suffix", [parts[4]])):
        if any(values):
            name[key] = values
    return name
