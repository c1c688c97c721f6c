"""What a FHIR server tells of studies, as a query by STUDY level answers."""

from typing import Any

import pytest

from server.workflow.prior_studies import answers, search_of
from server.workflow.priors import Wish, choose
from tests.workflow.test_priors import WHO

PATIENT: dict[str, Any] = {
    "resourceType": "Patient", "id": "p", "birthDate": "1970-01-02", "gender": "female",
    "identifier": [{"system": "http://other.example", "value": "X"}, {"system": "http://mrn.example", "value": "P1"}],
}  # fmt: skip
STUDY: dict[str, Any] = {
    "resourceType": "ImagingStudy", "id": "s", "status": "available", "started": "2023-02-03T10:00:00+08:00",
    "subject": {"reference": "http://far.example/fhir/Patient/p"}, "description": "Chest CT", "numberOfInstances": 9,
    "identifier": [{"system": "urn:dicom:uid", "value": "urn:oid:1.2.3"}],
    "series": [{"uid": "1", "modality": {"code": "CT"}}, {"uid": "2", "modality": {"code": "SR"}}],
}  # fmt: skip


def told(**study: Any) -> list[str]:
    found = answers([PATIENT, {**STUDY, **study}], "P1")
    chosen = choose(found, WHO, Wish(modalities=("CT",)), here={}, own="1.9", body_parts=lambda _: ())
    return [one.study for one in chosen if one.chosen]


def test_a_study_with_its_patient() -> None:
    (found,) = answers([STUDY, PATIENT], "P1")
    said = {tag: one["Value"] for tag, one in found.items()}
    assert said == {
        "0020000D": ["1.2.3"], "00080020": ["20230203"], "00080061": ["CT", "SR"], "00081030": ["Chest CT"],
        "00201208": [9], "00100020": ["P1"], "00100030": ["19700102"], "00100040": ["F"],
    }  # fmt: skip
    # No issuer is told, so the birth date tells the patient.
    assert told() == ["1.2.3"]


@pytest.mark.parametrize(
    ("identifier", "issuer"),
    [
        ({"system": "urn:oid:1.2.840.9"}, "1.2.840.9"),
        ({"assigner": {"display": "HOSP"}}, "HOSP"),
        ({"system": "http://mrn.example"}, None),
    ],
)
def test_who_gave_out_the_number(identifier: dict[str, Any], issuer: str | None) -> None:
    (found,) = answers([STUDY, {**PATIENT, "identifier": [{**identifier, "value": "P1"}]}], "P1")
    assert found.get("00100021", {}).get("Value", [None])[0] == issuer


@pytest.mark.parametrize(
    "study",
    [
        {"status": "entered-in-error"},
        {"status": "cancelled"},
        {"identifier": [{"value": "A1"}]},
        {"subject": {"reference": "Patient/other"}},
        {"subject": {"display": "somebody"}},
        {"started": "2024-03"},
    ],
)
def test_what_is_no_prior_of_theirs(study: dict[str, Any]) -> None:
    expected = ["1.2.3"] if "started" in study else []
    assert told(**study) == expected


def test_the_search() -> None:
    assert search_of({"PatientID": "P1"})["patient.identifier"] == "P1"
    assert search_of({"StudyInstanceUID": "1.2.3"})["identifier"] == "urn:dicom:uid|urn:oid:1.2.3"
