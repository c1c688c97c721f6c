"""A person goes over a report: a new version of the SR, the same resources final, the plan anew, nothing lost."""

import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom import Dataset

from dicom_sr import codes
from dicom_sr.findings import Finding, Measurement
from dicom_sr.identity import uid
from dicom_sr.read import predecessors, read
from dicom_sr.write_sr import write_sr
from server.errors import BadRequest, Conflict, Forbidden, PreconditionFailed
from server.fhir import instants, json_format
from server.security.access import Access
from server.store import reviews
from server.workflow.images import StudyImages
from server.workflow.review import Change, Decisions, Place, Reviewer
from terminology.codings import Coding
from tests.workflow.conftest import ACCESS, House, ct

DR_WANG = Access(who="Wang^Fang", scopes=frozenset({"read", "write"}))
GROUND_GLASS = Coding(value="112120", scheme="DCM", meaning="Ground glass opacity")
DENSITY = Coding(value="112118", scheme="DCM", meaning="Density")
SR = "1.2.840.10008.5.1.4.1.1.88"


@pytest.fixture
def reviewer(house: House) -> Reviewer:
    return Reviewer(
        database=house.database, repository=house.repository, retrieve=house.retrieve,
        publisher=house.analyst.publisher, uid_root="2.25",
    )  # fmt: skip


@pytest.fixture
def report(house: House) -> str:
    """Id of the AI's report on a CT with two nodules."""
    house.receive(ct())
    house.settle()
    (found,) = house.search("DiagnosticReport")
    assert found["status"] == "preliminary"
    return str(found["id"])


def documents(house: House) -> list[Dataset]:
    places = [one for one in house.retrieve.locate(ACCESS) if one.sop_class.startswith(SR)]
    return [pydicom.dcmread(BytesIO(house.retrieve.file(ACCESS, place))) for place in places]


def current(house: House, report: str) -> dict[str, Any]:
    return house.repository.read(ACCESS, "DiagnosticReport", report)


def category(house: House) -> dict[str, Any]:
    return next(one for one in house.search("Observation") if one["code"].get("text", "").startswith("Lung-RADS"))


def versions(house: House, kind: str, id: str) -> list[dict[str, Any]]:
    found = house.repository.history(ACCESS, kind, id)
    return [json_format.parse(one.body) for one in reversed(found)]


def test_accepted_as_it_stands(house: House, reviewer: Reviewer, report: str) -> None:
    before = current(house, report)
    reviewer.decide(DR_WANG, report, DR_WANG.who, Decisions(if_match=before["meta"]["versionId"]))
    house.settle()
    after = current(house, report)
    assert after["status"] == "final"
    assert after["result"] == before["result"]
    assert after["resultsInterpreter"] == [{"display": "Wang^Fang"}]
    assert after["meta"]["tag"] == before["meta"]["tag"]
    assert [one["value"] for one in after["identifier"]][1:] == [before["identifier"][0]["value"]]
    groups = house.search("Observation", code="125007")
    assert {one["status"] for one in groups} == {"final"}
    with house.database.reading() as uow:
        (share,) = reviews.shares(uow, 1)
    assert (share.accepted, share.edited, share.rejected, share.accepted_share) == (len(groups), 0, 0, 1.0)


def test_the_version_is_a_document_that_names_person_and_predecessor(
    house: House, reviewer: Reviewer, report: str, tmp_path: Path
) -> None:
    (first,) = documents(house)
    draft = reviewer.draft(DR_WANG, report)
    dropped = draft.findings.findings[0]
    decisions = Decisions(if_match=draft.version, rejected={dropped.tracking_uid: "a vessel"})
    reviewer.decide(DR_WANG, report, DR_WANG.who, decisions)
    second = next(one for one in documents(house) if one.SOPInstanceUID != first.SOPInstanceUID)
    assert second.VerificationFlag == "VERIFIED"
    assert second.VerifyingObserverSequence[0].VerifyingObserverName == "Wang^Fang"
    assert predecessors(second) == (first.SOPInstanceUID,)
    said, was = read(second), read(first)
    assert said.verified and said.person == "Wang^Fang" and said.algorithm == was.algorithm
    assert {one.tracking_uid for one in said.findings} == {one.tracking_uid for one in was.findings} - {
        dropped.tracking_uid
    }
    assert "a vessel" in said.comments[0] and dropped.tracking_uid in said.comments[0]
    path = tmp_path / "second.dcm"
    second.save_as(path, enforce_file_format=True)
    program = shutil.which("dciodvfy")
    assert program, "dicom3tools must be here"
    checked = subprocess.run([program, str(path)], capture_output=True, text=True)
    assert [line for line in (checked.stdout + checked.stderr).splitlines() if line.startswith("Error")] == []
    # Its own door knows it: read again, it makes nothing new.
    assert "sr-received" not in house.settle()


def test_edited_rejected_and_added(house: House, reviewer: Reviewer, report: str) -> None:
    was = category(house)
    draft = reviewer.draft(DR_WANG, report)
    kept, dropped = draft.findings.findings[:2]
    middle = draft.images[len(draft.images) // 2]
    decisions = Decisions(
        if_match=draft.version,
        rejected={one.tracking_uid: "" for one in draft.findings.findings if one is not kept},
        changed={
            kept.tracking_uid: Change(
                numbers={codes.LONG_AXIS: 5.0, codes.SHORT_AXIS: 4.0}, qualities={DENSITY: GROUND_GLASS}
            )
        },
        added=(
            Change(
                finding=codes.NODULE,
                numbers={codes.LONG_AXIS: 7.0, codes.SHORT_AXIS: 6.4},
                place=Place(instance=middle[1], column=60.0, row=70.0),
            ),
        ),
    )
    reviewer.decide(DR_WANG, report, DR_WANG.who, decisions)
    jobs = house.settle()
    assert "plan" in jobs
    after = current(house, report)
    groups = [house.repository.read(ACCESS, "Observation", one["reference"][12:]) for one in after["result"]]
    assert [one["status"] for one in groups] == ["final", "final"]
    sizes = [_members(house, one) for one in groups]
    assert [(float(size["Diameter"]), float(size["Long Axis"])) for size in sizes] == [(4.5, 5.0), (6.7, 7.0)]
    assert "Volume" not in sizes[0] and "Volume" not in sizes[1]
    assert all("meta" not in one or "security" not in one["meta"] for one in groups)
    gone = [one for one in house.search("Observation", code="125007") if one["status"] == "entered-in-error"]
    assert len(gone) == len(draft.findings.findings) - 1
    assert any(dropped.tracking_uid in one for one in _conclusions(after))
    # Category and plan follow from the new version, by the same event and plan.
    now = category(house)
    assert now["id"] == was["id"]
    assert now["valueCodeableConcept"]["text"] == "Lung-RADS 3"
    assert was["valueCodeableConcept"]["text"] != "Lung-RADS 3"
    assert now["derivedFrom"] == after["result"]
    with house.database.reading() as uow:
        (share,) = reviews.shares(uow, 1)
    assert (share.accepted, share.edited, share.added) == (0, 1, 1)
    assert share.rejected == len(gone)


def _members(house: House, group: dict[str, Any]) -> dict[str, Any]:
    members = [house.repository.read(ACCESS, "Observation", one["reference"][12:]) for one in group["hasMember"]]
    return {one["code"]["text"]: one["valueQuantity"]["value"] for one in members if "valueQuantity" in one}


def _conclusions(report: dict[str, Any]) -> list[str]:
    return str(report["conclusion"]).splitlines()


def test_history_is_whole(house: House, reviewer: Reviewer, report: str) -> None:
    original = current(house, report)
    draft = reviewer.draft(DR_WANG, report)
    kept = draft.findings.findings[0]
    change = Change(numbers={codes.LONG_AXIS: 9.0, codes.SHORT_AXIS: 8.0})
    reviewer.decide(
        DR_WANG, report, DR_WANG.who, Decisions(if_match=draft.version, changed={kept.tracking_uid: change})
    )
    again = reviewer.draft(DR_WANG, report)
    change = Change(numbers={codes.LONG_AXIS: 10.0, codes.SHORT_AXIS: 8.0})
    reviewer.decide(DR_WANG, report, "Li^Na", Decisions(if_match=again.version, changed={kept.tracking_uid: change}))
    house.settle()
    states = [one["status"] for one in versions(house, "DiagnosticReport", report)]
    assert states == ["preliminary", "final", "corrected"]
    assert house.repository.vread(ACCESS, "DiagnosticReport", report, "1").body == json_format.write(original)
    group = current(house, report)["result"][0]["reference"][12:]
    diameter = next(
        one["reference"][12:]
        for one in house.repository.read(ACCESS, "Observation", group)["hasMember"]
        if house.repository.read(ACCESS, "Observation", one["reference"][12:])["code"]["text"] == "Diameter"
    )
    told = [(one["status"], float(one["valueQuantity"]["value"])) for one in versions(house, "Observation", diameter)]
    assert [status for status, _ in told] == ["preliminary", "final", "corrected"]
    assert [value for _, value in told][1:] == [8.5, 9.0]
    provenance = house.search("Provenance", target=f"DiagnosticReport/{report}")
    verifiers = {
        agent["who"]["display"]
        for one in provenance
        for agent in one["agent"]
        if agent["type"]["coding"][0]["code"] == "verifier"
    }
    assert verifiers == {"Wang^Fang", "Li^Na"}
    revisions = [e["what"]["reference"] for one in provenance for e in one["entity"] if e["role"] == "revision"]
    assert sorted(revisions) == [f"DiagnosticReport/{report}/_history/{n}" for n in (1, 2)]


def test_what_was_rejected_can_come_back(house: House, reviewer: Reviewer, report: str) -> None:
    (first,) = documents(house)
    draft = reviewer.draft(DR_WANG, report)
    everything = {one.tracking_uid: "" for one in draft.findings.findings}
    reviewer.decide(DR_WANG, report, DR_WANG.who, Decisions(if_match=draft.version, rejected=everything))
    house.settle()
    (nothing,) = current(house, report)["result"]
    summary = house.repository.read(ACCESS, "Observation", nothing["reference"][12:])
    assert summary["valueCodeableConcept"]["coding"][0]["code"] == "111241"
    assert category(house)["valueCodeableConcept"]["text"] == "Lung-RADS 1"
    assert _second_opinion(house, first, documents(house), lambda findings: draft.findings.findings)
    house.settle()
    groups = house.search("Observation", code="125007")
    assert {one["status"] for one in groups} == {"corrected"}
    assert len(current(house, report)["result"]) == len(groups) == len(everything)


def _second_opinion(
    house: House,
    first: Dataset,
    known: list[Dataset],
    change: Callable[[tuple[Finding, ...]], tuple[Finding, ...]],
    **flags: Any,
) -> Dataset:
    """What a workstation sends: a verified SR that names the newest version as its predecessor."""
    newest = next((one for one in known if one.SOPInstanceUID != first.SOPInstanceUID), first)
    was = read(newest)
    images = StudyImages.of(house.retrieve, ACCESS, was.study_instance_uid)
    sources = images.of_series(source.sop_instance_uid for source in was.sources)
    fields = {"algorithm": None, "person": "Zhao^Min", "verified": True, "timestamp": instants.now(), **flags}
    said = replace(was, key=uid("2.25", "workstation", str(fields)), findings=change(was.findings), **fields)
    document = write_sr(said, sources, uid_root="1.2.3.99", predecessor=newest)
    assert house.receive([document]).refused == []
    return document


def _larger(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    big = tuple(
        Measurement(concept=concept, value=value, unit=codes.MILLIMETER)
        for concept, value in ((codes.LONG_AXIS, 22.0), (codes.SHORT_AXIS, 20.0), (codes.DIAMETER, 21.0))
    )
    return (replace(findings[0], measurements=big, by_person=False), *findings[1:])


def test_a_verified_document_by_store_is_the_next_version(house: House, report: str) -> None:
    (first,) = documents(house)
    document = _second_opinion(house, first, [first], _larger)
    jobs = house.settle()
    assert jobs.count("sr-received") == 1
    after = current(house, report)
    assert after["status"] == "final"
    assert after["identifier"][0]["value"] == f"urn:oid:{document.SOPInstanceUID}"
    assert after["resultsInterpreter"] == [{"display": "Zhao^Min"}]
    # It does not name the program, and is a version of the program's report all the same.
    assert after["meta"]["security"][0]["code"] == "AIAST"
    assert category(house)["valueCodeableConcept"]["text"] == "Lung-RADS 4B"
    assert len(house.search("DiagnosticReport")) == 1
    with house.database.reading() as uow:
        (share,) = reviews.shares(uow, 1)
    assert share.edited == 1


def test_a_version_that_nobody_verified_stays_preliminary(house: House, reviewer: Reviewer, report: str) -> None:
    (first,) = documents(house)
    _second_opinion(house, first, [first], _larger, verified=False)
    house.settle()
    assert current(house, report)["status"] == "preliminary"
    assert category(house)["valueCodeableConcept"]["text"] == "Lung-RADS 4B"
    with house.database.reading() as uow:
        assert reviews.shares(uow, 1) == ()


def test_of_two_at_once_one_wins_and_the_other_is_told(house: House, reviewer: Reviewer, report: str) -> None:
    draft = reviewer.draft(DR_WANG, report)
    uids = [one.tracking_uid for one in draft.findings.findings]

    def decide(index: int) -> str:
        decisions = Decisions(if_match=draft.version, rejected={uids[index % 2]: f"by {index}"})
        try:
            reviewer.decide(DR_WANG, report, f"Reader^{index}", decisions)
        except (PreconditionFailed, Conflict):
            return "told"
        return "won"

    with ThreadPoolExecutor(6) as threads:
        outcomes = list(threads.map(decide, range(6)))
    assert sorted(outcomes) == ["told"] * 5 + ["won"]
    assert len(documents(house)) == 2, "whoever is told leaves nothing behind"
    assert current(house, report)["meta"]["versionId"] == "2"


def test_an_overtaken_document_is_kept_and_not_applied(house: House, reviewer: Reviewer, report: str) -> None:
    (first,) = documents(house)
    draft = reviewer.draft(DR_WANG, report)
    reviewer.decide(DR_WANG, report, DR_WANG.who, Decisions(if_match=draft.version))
    late = _second_opinion(house, first, [first], _larger)
    house.settle()
    assert current(house, report)["resultsInterpreter"] == [{"display": "Wang^Fang"}]
    assert len(house.search("DiagnosticReport")) == 1
    assert late.SOPInstanceUID in {one.SOPInstanceUID for one in documents(house)}
    assert "sr-received" not in house.settle()


def test_what_can_not_be_decided(house: House, reviewer: Reviewer, report: str) -> None:
    draft = reviewer.draft(DR_WANG, report)
    with pytest.raises(Forbidden):
        reader = Access(who="reader", scopes=frozenset({"read"}))
        reviewer.decide(reader, report, "Reader", Decisions(if_match=draft.version))
    with pytest.raises(BadRequest, match="has no finding"):
        reviewer.decide(DR_WANG, report, "W", Decisions(if_match=draft.version, rejected={"1.2.3": ""}))
    with pytest.raises(BadRequest, match="by name"):
        reviewer.decide(DR_WANG, report, "  ", Decisions(if_match=draft.version))
    assert len(documents(house)) == 1
