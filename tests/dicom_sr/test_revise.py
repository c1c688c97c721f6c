"""Versions of a report: what stands keeps its name, what goes is withdrawn, nothing is lost."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings

from dicom_sr import codes
from dicom_sr.edit import Edit, Spot, added, edited, size_of
from dicom_sr.fhir_elements import Instance, Resource
from dicom_sr.findings import Findings
from dicom_sr.geometry import plane
from dicom_sr.revise import inherited, revised
from dicom_sr.to_fhir import to_fhir
from terminology.private_scheme import CHANGE, SOLID
from tests.dicom_sr.examples import DENSITY, ct, findings, nodule, references, two_nodules
from tests.dicom_sr.strategies import reports

SR = Instance(study_instance_uid="1.2", series_instance_uid="1.3", sop_instance_uid="1.4", sop_class_uid="1.5")
WHO: dict[str, Any] = {
    "subject": {"reference": "Patient/p"}, "imaging_study": {"reference": "ImagingStudy/s"}, "sr": SR
}  # fmt: skip


def stored(resources: tuple[Resource, ...]) -> Callable[[str, str], Resource | None]:
    known = {
        (one["resourceType"], one["id"]): {**one, "meta": {**one.get("meta", {}), "versionId": "1"}}
        for one in resources
    }
    return lambda kind, id: known.get((kind, id))


def results(resources: tuple[Resource, ...]) -> dict[str, Resource]:
    return {one["id"]: one for one in resources if one["resourceType"] == "Observation"}


@given(reports())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_a_person_accepts_is_the_same_results_final(report: Findings) -> None:
    report = replace(report, verified=False)
    first = to_fhir(report, **WHO)
    accepted = replace(report, key="0" * 16, person="Wang^Fang", verified=True)
    second = revised(accepted, [report], stored(first), **WHO)
    assert results(second).keys() == results(first).keys()
    assert {one["status"] for one in results(second).values()} == {"final"}
    (head,) = [one for one in second if one["resourceType"] == "DiagnosticReport"]
    assert head["status"] == "final"


@given(reports())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_a_person_rejects_is_withdrawn_and_kept(report: Findings) -> None:
    assume(report.findings)
    first = to_fhir(report, **WHO)
    nothing = replace(report, key="0" * 16, person="Wang^Fang", verified=True, findings=())
    second = results(revised(nothing, [report], stored(first), **WHO))
    withdrawn = {id: one for id, one in second.items() if one["status"] == "entered-in-error"}
    about = {finding.tracking_uid for finding in report.findings}
    assert len(withdrawn) >= len(about)
    for id, one in withdrawn.items():
        assert {**one, "status": "", "meta": {}} == {**results(first)[id], "status": "", "meta": {}}
    standing = [one for one in second.values() if one["status"] == "final"]
    assert len(withdrawn) + len(standing) == len(results(first)) + len(standing) - len(report.gone)
    assert {one["code"]["text"] for one in standing} <= {codes.CAD_SUMMARY.meaning, CHANGE.meaning}


def test_numbers_keep_their_names_whatever_their_order() -> None:
    report = two_nodules()
    first = to_fhir(report, **WHO)
    turned = replace(report.findings[0], measurements=report.findings[0].measurements[::-1])
    second = revised(
        replace(report, key="0" * 16, findings=(turned, report.findings[1]), verified=True, person="W"),
        [report], stored(first), **WHO,
    )  # fmt: skip
    codes_of = {id: one["code"] for id, one in results(first).items()}
    assert {id: one["code"] for id, one in results(second).items()} == codes_of


def test_a_tool_that_leaves_the_program_out_makes_a_version_all_the_same() -> None:
    report = two_nodules()
    changed = edited(report.findings[0], Edit(numbers={codes.LONG_AXIS: 3.0}), None)
    plain = replace(changed, by_person=False, mask=None, confidence=None)
    said = inherited(
        replace(report, algorithm=None, person="W", verified=True, findings=(plain, report.findings[1])), report
    )
    assert said.algorithm == report.algorithm
    assert [one.by_person for one in said.findings] == [True, False]
    assert said.findings[0].confidence == report.findings[0].confidence
    assert (said.findings[0].mask, said.findings[1].mask) == (None, report.findings[1].mask)


def _spot(column: float = 30.5, row: float = 20.5, index: int = 2) -> Spot:
    at = plane(ct()[index])
    assert at is not None
    return Spot(image=references()[index], plane=at, column=column, row=row)


def test_an_edit_that_changes_nothing_is_none() -> None:
    finding = nodule(1, (3, 20, 40), 4)
    same = {m.concept: m.value for m in finding.measurements}
    assert edited(finding, Edit(numbers=same, site=finding.site), _spot()) is finding


def test_size_carries_diameter_and_outline_and_drops_the_volume() -> None:
    finding = nodule(1, (3, 20, 40), 4)
    after = edited(finding, Edit(numbers={codes.LONG_AXIS: 9.0, codes.SHORT_AXIS: 6.0}), _spot(40.5, 20.5, 3))
    assert {m.concept: m.value for m in after.measurements} == {
        codes.LONG_AXIS: 9.0, codes.SHORT_AXIS: 6.0, codes.DIAMETER: 7.5
    }  # fmt: skip
    assert after.by_person and after.mask is None and after.tracking_uid == finding.tracking_uid
    assert after.region is not None
    columns = [column for column, _ in after.region.points]
    assert max(columns) - min(columns) == pytest.approx(7.5 / 0.75)
    given = edited(finding, Edit(numbers={codes.LONG_AXIS: 9.0, codes.VOLUME: 200.0}), None)
    assert {m.concept: m.value for m in given.measurements}[codes.VOLUME] == 200.0


def test_place_and_kind() -> None:
    finding = nodule(1, (3, 20, 40), 4)
    spot = _spot()
    moved = edited(finding, Edit(spot=spot), None)
    assert moved.center_mm == pytest.approx(spot.plane.to_patient(30.5, 20.5))
    assert moved.region is not None and moved.region.image == spot.image
    solid = edited(finding, Edit(qualities={DENSITY: SOLID}), None)
    assert [one.value for one in solid.qualities] == [SOLID]
    assert solid.mask == finding.mask and solid.by_person


def test_what_is_added_has_a_place_a_size_and_a_name() -> None:
    edit = Edit(finding=codes.NODULE, numbers={codes.LONG_AXIS: 7.0, codes.SHORT_AXIS: 6.0}, spot=_spot())
    new = added(edit, tracking_id="Added 1", tracking_uid="2.25.9")
    assert (new.tracking_uid, size_of(new), new.by_person) == ("2.25.9", 6.5, True)
    assert new.center_mm is not None and new.region is not None
    assert inherited(findings(new), findings()).findings == (new,)
