"""Two studies of one patient: lesions keep their names, whichever study comes first, and growth is told."""

import math
from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom import Dataset

from dicom_sr import codes
from dicom_sr.findings import Finding, Findings, ImageReference, Measurement
from dicom_sr.write_sr import write_sr
from server.fhir import instants
from server.outbound.dimse.entity import Entity
from server.settings import Peer, Priors
from server.store import analyses
from server.workflow.fetch import FIND_PRIORS, Fetcher
from server.workflow.peer_archive import PeerArchive
from terminology.private_scheme import CHANGE
from tests.ai_adapters.chest import SPACING, chest
from tests.ai_adapters.series import series
from tests.orthanc import free_port, running
from tests.workflow.conftest import ACCESS, House, part10

#: Of the sphere's volume: 10 -> 12.6 mm is twice.
STAYS, GROWS, GOES, COMES = (
    ((64.0, 130.0, 166.0), 14.0),
    ((70.0, 140.0, 74.0), 10.0),
    ((40.0, 120.0, 160.0), 9.0),
    ((88.0, 120.0, 166.0), 10.5),
)
GROWN = (GROWS[0], 12.6)
CODES = {"15454001": "grown", "129723006": "stable", "129721008": "new", "272519000": "gone"}


def study(number: int, date: str, nodules: list[Any], origin: tuple[float, float, float]) -> list[Dataset]:
    """A CT of the same patient."""
    images = series(chest(nodules), SPACING, origin=origin)
    for image in images:
        image.SOPInstanceUID = f"2.25.{number}.{image.InstanceNumber}"
        image.StudyInstanceUID, image.SeriesInstanceUID = f"2.25.{number}.10", f"2.25.{number}.11"
        image.FrameOfReferenceUID = f"2.25.{number}.12"
        image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        image.PatientName, image.PatientID = "Test^Chest", "T-1"
        image.PatientBirthDate, image.PatientSex = "19500101", "F"
        image.StudyDate, image.StudyTime, image.StudyID, image.AccessionNumber = date, "100000", "1", f"A{number}"
        image.ReferringPhysicianName, image.BodyPartExamined = "", "CHEST"
    return images


def prior() -> list[Dataset]:
    return study(71, "20260101", [STAYS, GROWS, GOES], (-120.0, -110.0, -50.0))


def current() -> list[Dataset]:
    """A hundred days later, the table elsewhere."""
    return study(72, "20260411", [STAYS, GROWN, COMES], (-112.0, -104.0, -71.0))


def reports(house: House, study: str) -> list[dict[str, Any]]:
    """The study's DiagnosticReports."""
    (imaging,) = house.search("ImagingStudy", identifier=f"urn:oid:{study}")
    named = {"reference": f"ImagingStudy/{imaging['id']}"}
    return [one for one in house.search("DiagnosticReport") if named in one["imagingStudy"]]


def lesions(house: House, study: str) -> dict[str, str]:
    """Tracking UID -> what became of it, by the Observations that hold."""
    (report,) = [one for one in reports(house, study) if one["status"] == "preliminary"]
    found = {}
    for reference in report["result"]:
        head = house.repository.read(ACCESS, "Observation", reference["reference"].partition("/")[2])
        members = [
            house.repository.read(ACCESS, "Observation", one["reference"].partition("/")[2])
            for one in head.get("hasMember", [])
        ]
        told = [
            CODES[one["valueCodeableConcept"]["coding"][0]["code"]]
            for one in (head, *members)
            if one["code"]["coding"][0]["code"] == "change-since-prior"
        ]
        found[_tracking_uid(house, head)] = told[0] if told else ""
    return found


def _tracking_uid(house: House, observation: dict[str, Any]) -> str:
    lesion = house.repository.read(ACCESS, "BodyStructure", observation["focus"][0]["reference"].partition("/")[2])
    return str(lesion["identifier"][0]["value"])


def number(house: House, code: str) -> list[dict[str, Any]]:
    """What the analysis measured; what a pathway concludes from it has codes of its own."""
    return [
        one for one in house.search("Observation", code=f"{CHANGE.system}|{code}") if one["status"] == "preliminary"
    ]


def texts(house: House, study: str) -> set[str]:
    """Every text of the study's SRs."""
    places = house.retrieve.locate(ACCESS, study)
    found = [one for one in places if one.sop_class.startswith("1.2.840.10008.5.1.4.1.1.88")]
    srs = [pydicom.dcmread(BytesIO(house.retrieve.file(ACCESS, one))) for one in found]
    return {str(item.value) for sr in srs for item in sr.iterall() if item.keyword == "TextValue"}


@pytest.mark.parametrize("order", ["prior first", "prior late", "together"])
def test_lesions_keep_their_names(house: House, order: str) -> None:
    for images in {"prior first": [prior(), current()], "prior late": [current(), prior()]}.get(order, []):
        house.receive(images)
        house.settle()
    if order == "together":
        house.receive([*current(), *prior()])
        house.settle()
    before, now = lesions(house, "2.25.71.10"), lesions(house, "2.25.72.10")
    assert Counter(before.values()) == {"": 3}
    assert Counter(now.values()) == {"stable": 1, "grown": 1, "new": 1, "gone": 1}
    assert {uid for uid, told in now.items() if told != "new"} == set(before)
    (doubling,) = [one for one in number(house, "volume-doubling-time") if one["valueQuantity"]["value"] < 400]
    # Twice the volume in a hundred days; the network's share of a voxel is soft.
    assert float(doubling["valueQuantity"]["value"]) == pytest.approx(100, rel=0.25)
    below = doubling["component"][0]
    assert below["code"]["coding"][0]["code"] == "371885007"
    # The pathway reads that, and says no second one.
    assert house.search("Observation", code="nodule-category")
    assert house.search("Observation", code="https://hutong.example/fhir/CodeSystem/lung-nodule|volume-change") == []
    assert [float(one["valueQuantity"]["value"]) for one in number(house, "time-since-prior")] == [100, 100]
    assert "compared with=2.25.71.10" in texts(house, "2.25.72.10")
    assert not any(text.startswith("compared with") for text in texts(house, "2.25.71.10"))


def test_a_late_prior_gives_a_second_version_once(house: House) -> None:
    house.receive(current())
    house.settle()
    first = set(lesions(house, "2.25.72.10"))
    house.receive(prior())
    jobs = Counter(house.settle())
    assert (jobs["run-task"], jobs["compare"]) == (1, 1)
    assert {uid for uid, told in lesions(house, "2.25.72.10").items() if told != "gone"} == first
    assert Counter(one["status"] for one in reports(house, "2.25.72.10")) == {"preliminary": 1, "amended": 1}
    house.receive(reversed(prior()))
    assert house.settle() == []


def test_what_can_not_be_laid_over_is_said(house: House) -> None:
    earlier = prior()
    for image in earlier:
        # Somebody lay on the side.
        pixels = np.rot90(np.frombuffer(image.PixelData, "<i2").reshape(150, 150))
        image.PixelData = pixels.tobytes()
    house.receive(earlier)
    house.settle()
    house.receive(current())
    house.settle()
    assert set(lesions(house, "2.25.72.10").values()) == {""}
    said = texts(house, "2.25.72.10")
    assert any(text.startswith("not compared=the scans do not show the same chest") for text in said)
    assert not any(text.startswith("compared with") for text in said)


def test_what_was_superseded_meanwhile_is_left_alone(house: House) -> None:
    house.receive(current())
    house.settle()
    house.receive(prior())
    house.settle(without=["compare"])
    with house.database.unit_of_work() as uow:
        row = uow.driver.execute("select key from analysis where study = '2.25.72.10'").fetchone()
        assert row is not None
        analyses.claim(uow, 1, "signed", study="2.25.72.10", adapter="a person", adapter_version="", predecessor=row[0])
        analyses.published(uow, 1, "signed", sr_instance="2.25.1", seg_instance="", report="x")
    assert house.settle() == ["compare"]
    assert len(reports(house, "2.25.72.10")) == 1


def read_by_a_person(images: list[Dataset]) -> Dataset:
    """A reader's own report on the prior, from elsewhere: two of its nodules, by the reader's own names."""
    origin = (-120.0, -110.0, -50.0)
    found = []
    for number, ((z, y, x), diameter) in enumerate((STAYS, GROWS), 1):
        sizes = [
            Measurement(concept=codes.DIAMETER, value=diameter, unit=codes.MILLIMETER),
            Measurement(concept=codes.VOLUME, value=math.pi / 6 * diameter**3, unit=codes.CUBIC_MILLIMETER),
        ]
        found.append(
            Finding(
                tracking_id=f"Reader {number}", tracking_uid=f"2.25.900{number}", finding=codes.NODULE,
                center_mm=(x + origin[0], y + origin[1], z + origin[2]), measurements=tuple(sizes),
            )
        )  # fmt: skip
    images = sorted(images, key=lambda image: float(image.ImagePositionPatient[2]))
    findings = Findings(
        key="their report", study_instance_uid=images[0].StudyInstanceUID,
        frame_of_reference_uid=images[0].FrameOfReferenceUID,
        sources=tuple(
            ImageReference(
                sop_class_uid=image.SOPClassUID, sop_instance_uid=image.SOPInstanceUID,
                series_instance_uid=image.SeriesInstanceUID,
            )
            for image in images
        ),
        findings=tuple(found), timestamp=instants.now(), person="Reader^Test", verified=True,
    )  # fmt: skip
    return write_sr(findings, images, uid_root="1.2.3.4", organization="Elsewhere")


@pytest.mark.parametrize("alone", [True, False])
def test_a_readers_report_is_compared_with_like_an_adapters(house: House, alone: bool) -> None:
    house.receive(prior())
    house.receive([read_by_a_person(prior())])
    # Alone: nothing but the reader's report is known of the prior when the next study comes.
    house.settle(without=["run-task"] if alone else [])
    if alone:
        with house.database.unit_of_work() as uow:
            uow.driver.execute("delete from procrastinate_jobs where task_name = 'run-task'")
    house.receive(current())
    house.settle()
    now = lesions(house, "2.25.72.10")
    assert (now.pop("urn:oid:2.25.9001"), now.pop("urn:oid:2.25.9002")) == ("stable", "grown")
    assert Counter(now.values()) == ({"new": 1} if alone else {"new": 1, "gone": 1})


@pytest.mark.peer
def test_a_prior_that_a_peer_has_is_fetched_read_and_compared_with(house: House, tmp_path: Path) -> None:
    rule = Priors(name="chest", match={"Modality": "CT"}, modalities=("CT",))
    house.receive(current())
    house.settle()
    assert set(lesions(house, "2.25.72.10").values()) == {""}
    asked = {one["id"] for one in house.search("ServiceRequest")}
    with running(tmp_path, free_port(), free_port(), {}, {}) as orthanc:
        for image in prior():
            assert orthanc.client.post("/instances", content=part10(image)).is_success
        peer = Peer(
            name="archive", ae_title="ORTHANC", port=orthanc.dimse_port, url=orthanc.url, query=True, timeout=30
        )
        archive = PeerArchive(entity=Entity(title="HUTONG"), ingest=house.ingest)
        fetcher = Fetcher(database=house.database, archive=archive, peers=(peer,), rules=(rule,))
        fetcher.quiet(1, "2.25.72.10")
        house.tasks[FIND_PRIORS] = fetcher.find_priors
        house.settle()
        while fetcher.step(peer):
            pass
    house.settle()
    now = lesions(house, "2.25.72.10")
    assert Counter(now.values()) == {"stable": 1, "grown": 1, "new": 1, "gone": 1}
    # Nothing is asked for because of what the prior shows.
    assert {one["id"] for one in house.search("ServiceRequest")} == asked
