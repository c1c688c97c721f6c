"""A FHIR server's ImagingStudies as a query by STUDY level would answer them (PS3.4 table C.6-1).

R4: https://hl7.org/fhir/R4/imagingstudy.html, with the Patients that they are of. What is no study of the patient
asked for is left out.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from server.imaging.dataset import Attributes

Resource = dict[str, Any]

_OID = "urn:oid:"
_SEX = {"male": "M", "female": "F", "other": "O"}


def search_of(keys: Mapping[str, str]) -> dict[str, str]:
    """The search for what a query by STUDY level asks for: one study, or those of a patient."""
    study = keys.get("StudyInstanceUID", "")
    what = {"identifier": f"urn:dicom:uid|{_OID}{study}"} if study else {"patient.identifier": keys["PatientID"]}
    return {**what, "_include": "ImagingStudy:patient", "_count": "100"}


def answers(found: Iterable[Resource], patient_id: str = "") -> list[Attributes]:
    """The studies, each with its patient; ``patient_id`` is the one asked for, empty for whichever it is."""
    resources = list(found)
    patients = {str(one.get("id", "")): one for one in resources if one.get("resourceType") == "Patient"}
    studies = [one for one in resources if one.get("resourceType") == "ImagingStudy"]
    return [one for study in studies if (one := _answer(study, patients, patient_id))]


def _answer(study: Resource, patients: Mapping[str, Resource], patient_id: str) -> Attributes:
    patient = patients.get(str(study.get("subject", {}).get("reference", "")).rpartition("/")[2], {})
    numbers = [one for one in patient.get("identifier", ()) if not patient_id or one.get("value") == patient_id]
    uid = _uid(study)
    if not uid or not numbers or study.get("status") in ("cancelled", "entered-in-error"):
        return {}
    number = next((one for one in numbers if _issuer(one)), numbers[0])
    return {
        tag: {"vr": vr, "Value": values}
        for tag, vr, values in (
            ("0020000D", "UI", [uid]),
            ("00080020", "DA", _day(study.get("started", ""))),
            ("00080061", "CS", list(dict.fromkeys(_modalities(study)))),
            ("00081030", "LO", _given(study.get("description"))),
            ("00201208", "IS", _given(study.get("numberOfInstances"))),
            ("00100020", "LO", _given(number.get("value"))),
            ("00100021", "LO", _given(_issuer(number))),
            ("00100030", "DA", _day(patient.get("birthDate", ""))),
            ("00100040", "CS", _given(_SEX.get(str(patient.get("gender", ""))))),
        )
        if values
    }


def _uid(study: Resource) -> str:
    return next(
        (
            str(one.get("value", "")).removeprefix(_OID)
            for one in study.get("identifier", ())
            if one.get("system") == "urn:dicom:uid"
        ),
        "",
    )


def _issuer(identifier: Resource) -> str:
    """Issuer of Patient ID, as our own Patients have it (``server/imaging/patient.py``)."""
    system = str(identifier.get("system", ""))
    if system.startswith(_OID):
        return system.removeprefix(_OID)
    return str(identifier.get("assigner", {}).get("display", ""))


def _modalities(study: Resource) -> Iterator[str]:
    codings = [*study.get("modality", ()), *(series.get("modality", {}) for series in study.get("series", ()))]
    return (str(one["code"]) for one in codings if one.get("code"))


def _day(moment: str) -> list[str]:
    """A FHIR date or dateTime as DA, by the zone it is told in; a month or a year alone is no day."""
    day = str(moment)[:10].replace("-", "")
    return [day] if len(day) == 8 and day.isdigit() else []


def _given(value: Any) -> list[Any]:
    return [value] if value not in (None, "") else []
