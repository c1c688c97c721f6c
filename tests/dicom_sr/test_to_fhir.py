"""Findings as FHIR R4: valid by a second opinion, complete, and the same every time."""

import importlib
import re
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from dicom_sr import codes
from dicom_sr.errors import UnwritableFindings
from dicom_sr.fhir_elements import Instance, rounded
from dicom_sr.findings import Findings
from dicom_sr.read import read
from dicom_sr.to_fhir import amended, to_fhir
from dicom_sr.write_sr import write_sr
from server.fhir.definitions import load
from server.fhir.json_format import parse, write
from server.fhir.validate.resource import validate
from tests.dicom_sr.examples import ALGORITHM, ct, findings, two_nodules
from tests.dicom_sr.strategies import reports

SR = Instance(
    study_instance_uid="2.25.1001",
    series_instance_uid="2.25.5001",
    sop_instance_uid="2.25.5002",
    sop_class_uid="1.2.840.10008.5.1.4.1.1.88.34",
)
SEG = replace(SR, sop_instance_uid="2.25.5003", sop_class_uid="1.2.840.10008.5.1.4.1.1.66.4")
AIAST = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue|AIAST"


def resources(report: Findings, **more: Any) -> tuple[dict[str, Any], ...]:
    subject, study = {"reference": "Patient/p"}, {"reference": "ImagingStudy/s"}
    return to_fhir(report, subject=subject, imaging_study=study, sr=SR, **more)


def of(kind: str, found: tuple[dict[str, Any], ...]) -> list[dict[str, Any]]:
    return [one for one in found if one["resourceType"] == kind]


def coded(observation: dict[str, Any]) -> str:
    return str(observation["code"]["coding"][0]["code"])


def check(found: tuple[dict[str, Any], ...]) -> None:
    """R4B models and our own rules accept every resource; each refers to the two given ones or to one before it."""
    definitions = load()
    known = {f"{one['resourceType']}/{one['id']}" for one in found} | {"Patient/p", "ImagingStudy/s"}
    assert len(known) == len(found) + 2
    seen: set[str] = {"Patient/p", "ImagingStudy/s"}
    for one in found:
        module = importlib.import_module(f"fhir.resources.R4B.{one['resourceType'].lower()}")
        getattr(module, one["resourceType"]).model_validate(one)
        assert validate(definitions, parse(write(one))) == ()
        assert re.fullmatch(r"[A-Za-z0-9.-]{1,64}", one["id"])
        assert set(literal(one)) <= seen
        seen.add(f"{one['resourceType']}/{one['id']}")


def literal(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["reference"]] if isinstance(value.get("reference"), str) else []
        return own + [found for one in value.values() for found in literal(one)]
    if isinstance(value, list):
        return [found for one in value for found in literal(one)]
    return []


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(reports())
def test_any_findings_are_valid_resources(report: Findings) -> None:
    check(resources(report))


def test_one_group_and_one_lesion_a_finding() -> None:
    found = resources(two_nodules(), seg=SEG, effective="2026-01-02")
    check(found)
    groups = [one for one in of("Observation", found) if coded(one) == codes.MEASUREMENT_GROUP.value]
    lesions = {f"BodyStructure/{one['id']}": one for one in of("BodyStructure", found)}
    assert len(groups) == len(lesions) == 2
    for group, finding in zip(groups, two_nodules().findings, strict=True):
        (site,) = group["bodySite"]["extension"]
        lesion = lesions[site["valueReference"]["reference"]]
        assert {one["value"] for one in lesion["identifier"]} == {
            f"urn:oid:{finding.tracking_uid}",
            finding.tracking_id,
        }
        assert group["valueCodeableConcept"]["coding"][0]["code"] == codes.NODULE.value
        # Four measurements, the certainty and the density.
        assert len(group["hasMember"]) == 6
        assert [str(one["valueQuantity"]["value"]) for one in group["component"][:3]] == [
            str(rounded(value, "mm")) for value in finding.center_mm or ()
        ]
        assert {one.get("display") for one in group["derivedFrom"]} == {None, "DICOM SR", "DICOM SEG"}


def test_numbers_are_told_as_finely_as_the_guidelines_read_them() -> None:
    quantities = {
        coded(one): one["valueQuantity"]["value"]
        for one in of("Observation", resources(two_nodules()))
        if "valueQuantity" in one
    }
    assert quantities[codes.VOLUME.value] == Decimal("1235")
    assert quantities[codes.DIAMETER.value] == Decimal("3.0")
    assert quantities[codes.CERTAINTY.value] == Decimal("87.7")
    assert rounded(0.1234567891, "[hnsf'U]") == Decimal("0.123457")


def test_an_ai_is_labelled_everywhere() -> None:
    found = resources(two_nodules())
    for one in found:
        labels = {f"{label['system']}|{label['code']}" for label in one.get("meta", {}).get("security", [])}
        assert labels == (set() if one["resourceType"] == "Device" else {AIAST})
    (provenance,) = of("Provenance", found)
    (device,) = of("Device", found)
    assert provenance["reason"][0]["coding"][0]["code"] == "AIAST"
    assert provenance["agent"][0]["who"] == {"reference": f"Device/{device['id']}"}
    assert device["identifier"][0]["value"] == f"urn:oid:{ALGORITHM.device_uid}"
    assert {f"{one['resourceType']}/{one['id']}" for one in found} - set(literal(provenance["target"])) == {
        f"Device/{device['id']}",
        f"Provenance/{provenance['id']}",
    }


def test_another_build_is_another_device() -> None:
    (one,) = of("Device", resources(findings()))
    (other,) = of("Device", resources(replace(findings(), algorithm=replace(ALGORITHM, digest="cd" * 32))))
    assert one["id"] != other["id"]


def test_nothing_is_final_that_no_person_verified() -> None:
    statuses = {
        one["status"] for one in resources(two_nodules()) if one["resourceType"] in ("Observation", "DiagnosticReport")
    }
    assert statuses == {"preliminary"}
    verified = replace(two_nodules(), algorithm=None, person="Li^Wei", verified=True)
    assert of("DiagnosticReport", resources(verified))[0]["status"] == "final"


def test_a_lesion_outlives_its_analysis() -> None:
    later = replace(two_nodules(), key="f00d" * 8)
    ids = [
        {one["id"] for one in of(kind, resources(report))}
        for kind in ("BodyStructure", "Observation")
        for report in (two_nodules(), later)
    ]
    assert ids[0] == ids[1]
    assert not ids[2] & ids[3]


def test_nothing_found_is_an_observation_of_its_own() -> None:
    found = resources(findings())
    check(found)
    (observation,) = of("Observation", found)
    assert observation["valueCodeableConcept"]["coding"][0]["code"] == codes.NO_FINDINGS.value
    assert of("DiagnosticReport", found)[0]["conclusion"].startswith("No finding by nodule_detection 1.0.0.")


def test_the_same_resources_from_the_findings_and_from_their_sr() -> None:
    again = read(write_sr(two_nodules(), ct()))
    assert resources(again) == resources(two_nodules())


def test_a_superseded_report_is_amended() -> None:
    older = resources(two_nodules())
    changed = amended(older)
    assert {one["resourceType"] for one in changed} == {"Observation", "DiagnosticReport"}
    assert {one["status"] for one in changed} == {"amended"}
    assert amended(changed) == ()
    predecessor = {"reference": "DiagnosticReport/older"}
    newer = resources(two_nodules(), predecessor=predecessor)
    assert of("DiagnosticReport", newer)[0]["extension"][0]["valueReference"] == predecessor
    assert {"role": "revision", "what": predecessor} in of("Provenance", newer)[0]["entity"]


def test_several_groups_on_one_lesion_stay_apart() -> None:
    twice = findings(two_nodules().findings[0], two_nodules().findings[0])
    found = resources(twice)
    check(found)
    assert len(of("BodyStructure", found)) == 1
    assert len(of("Observation", found)) == 14


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_no_resource_has_a_number_that_is_none(value: float) -> None:
    with pytest.raises(UnwritableFindings):
        rounded(value, "mm")
