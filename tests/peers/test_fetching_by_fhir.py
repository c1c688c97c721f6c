"""Priors that only a FHIR server tells of: ImagingStudies of another Hutong, the images from Orthanc beside it."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from server.cli import peers
from server.errors import Unreachable
from server.imaging.imaging_study import ImagingStudies
from server.imaging.ingest import Received
from server.outbound.dimse.entity import Entity
from server.outbound.fhir import connect_fhir
from server.security.access import system
from server.settings import Peer, Priors
from server.store import fetches
from server.workflow.fetch import Asked, Fetcher
from server.workflow.peer_archive import PeerArchive
from server.workflow.priors import Wish
from tests.orthanc import Orthanc
from tests.peers.conftest import Ours

Make = Callable[..., bytes]
pytestmark = pytest.mark.peer
STUDIES = {"1.2.2019": {}, "1.2.2022": {}, "1.2.2023": {"Modality": "MR"}}


@pytest.fixture
def registry(ours: Ours, orthanc: Orthanc, make_instance: Make) -> Iterator[Peer]:
    """Orthanc has the images; a FHIR server has ImagingStudies of them, and of studies of another patient."""
    parts = ours.parts
    studies = ImagingStudies(parts.repository)
    for number, (uid, values) in enumerate([*STUDIES.items(), ("1.2.8", {"PatientID": "P2"})], 1):
        year = f"201{number}0102"
        file = make_instance(1, study=uid, StudyDate=year, IssuerOfPatientID="HOSP", **values)
        assert orthanc.client.post("/instances", content=file).is_success
        parts.ingest.receive(system(), [Received(chunks=[file])])
        studies.update(system(), uid)
    with parts.database.unit_of_work() as uow:
        # The index of the registry outlives the images: only Orthanc has them.
        uow.driver.execute("delete from instance")
        uow.driver.execute("update study set instance_count = 0")
    base = ours.url.replace("/dicomweb", "/fhir")
    yield Peer(name="region", url=orthanc.url, fhir_url=base, query=True, timeout=30)


@pytest.fixture
def fetcher(ours: Ours, registry: Peer) -> Fetcher:
    archive = PeerArchive(entity=Entity(title="HUTONG"), ingest=ours.parts.ingest)
    rule = Priors(name="chest", match={"Modality": "CT"}, number=2, modalities=("CT",))
    return Fetcher(database=ours.parts.database, archive=archive, peers=(registry,), rules=(rule,))


def test_a_patients_studies_are_found_by_fhir_and_come_from_the_peer(
    ours: Ours, fetcher: Fetcher, registry: Peer
) -> None:
    found = fetcher.request(system(), "region", Asked(patient_id="P1", wish=Wish(number=2, modalities=("CT",))))
    assert [(one.study, one.modalities, one.instances, one.chosen, one.why) for one in found] == [
        ("1.2.2023", ("MR",), 1, False, "has other modalities"),
        ("1.2.2022", ("CT",), 1, True, ""),
        ("1.2.2019", ("CT",), 1, True, ""),
    ]
    while fetcher.step(registry):
        pass
    with ours.parts.database.reading() as uow:
        assert {line.state for line in fetches.lines(uow, 1)} == {"done"}
    assert len(list(ours.parts.retrieve.locate(system(), "1.2.2022"))) == 1


def test_one_study_by_its_uid(fetcher: Fetcher) -> None:
    (found,) = fetcher.request(system(), "region", Asked(study="1.2.2019", only_look=True))
    assert (found.study, found.date) == ("1.2.2019", "20110102")


def test_more_than_a_page(ours: Ours, registry: Peer) -> None:
    """The server's own pages, followed to the end."""
    with connect_fhir(Entity(title="HUTONG"), registry) as fhir:
        found = list(fhir.resources("ImagingStudy", {"_count": "1", "_sort": "_id"}))
    assert len(found) == len({one["id"] for one in found}) == 4


def test_what_is_no_fhir_server(fetcher: Fetcher, registry: Peer, orthanc: Orthanc) -> None:
    asked = Asked(patient_id="P1", only_look=True)
    for url in (orthanc.url, "http://127.0.0.1:1/fhir"):
        away = replace(fetcher, peers=(replace(registry, fhir_url=url),))
        with pytest.raises(Unreachable):
            away.request(system(), "region", asked)


def test_the_registry_answers_plain_clients_alike(registry: Peer) -> None:
    """What we ask is a search that any client may make."""
    with closing(httpx.Client(base_url=registry.fhir_url)) as client:
        bundle = client.get("/ImagingStudy", params={"patient.identifier": "P1", "_include": "ImagingStudy:patient"})
    kinds = [entry["resource"]["resourceType"] for entry in bundle.json()["entry"]]
    assert sorted(set(kinds)) == ["ImagingStudy", "Patient"] and kinds.count("ImagingStudy") == 3


def test_the_command_line_asks_whether_it_answers(registry: Peer, tmp_path: Path) -> None:
    file = tmp_path / "hutong.toml"
    for fhir_url, answers in ((registry.fhir_url, True), (registry.url, False)):
        file.write_text(f'[[peers]]\nname = "region"\nurl = "{registry.url}"\nfhir_url = "{fhir_url}"\n')
        said = CliRunner().invoke(peers.app, ["echo", "--config", str(file), "--json"])
        rows = json.loads(said.stdout)["peers"]
        assert [(row["by"], row["answers"]) for row in rows] == [("DICOMweb", True), ("FHIR", answers)]
