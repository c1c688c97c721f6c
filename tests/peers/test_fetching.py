"""Studies brought here from real peers: Orthanc by WADO-RS, C-GET and C-MOVE; nothing of it wakes an adapter."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC
from pathlib import Path

import pytest

from server.dimse.server import DimseServer
from server.errors import NotFound
from server.imaging.guard import GuardLimits
from server.imaging.ingest import Ingest, Received
from server.imaging.retrieve import Retrieve
from server.imaging.sameness import content_digest
from server.imaging.sweep import sweep
from server.outbound.dimse.entity import Entity
from server.security.access import system
from server.settings import Forward, Peer, Priors, Settings
from server.store import fetches
from server.store import forward as queue
from server.store.database import Database
from server.store.packs import Packs
from server.workflow.fetch import Asked, Fetcher
from server.workflow.forward import Forwarder
from server.workflow.peer_archive import PeerArchive
from server.workflow.priors import Wish
from tests.orthanc import Orthanc, free_port, running

Make = Callable[..., bytes]
pytestmark = pytest.mark.peer


@dataclass(frozen=True, kw_only=True)
class Here:
    """Our side: a store, a C-STORE SCP for C-MOVE, and Orthanc that knows it."""

    database: Database
    ingest: Ingest
    retrieve: Retrieve
    orthanc: Orthanc

    def peer(self, by: str) -> Peer:
        peer = Peer(name="archive", ae_title="ORTHANC", port=self.orthanc.dimse_port, query=True, timeout=30)
        return replace(peer, url=self.orthanc.url) if by == "web" else replace(peer, fetch_by=by)

    def fetcher(self, peer: Peer, *rules: Priors) -> Fetcher:
        archive = PeerArchive(entity=Entity(title="HUTONG"), ingest=self.ingest)
        return Fetcher(database=self.database, archive=archive, peers=(peer,), rules=rules)

    def bring(self, *files: bytes) -> None:
        """Puts files into Orthanc."""
        for file in files:
            assert self.orthanc.client.post("/instances", content=file).is_success

    def digests(self, study: str) -> list[bytes]:
        return sorted(digest(self.retrieve.file(system(), place)) for place in self.retrieve.locate(system(), study))

    def lines(self) -> list[fetches.Line]:
        with self.database.reading() as uow:
            return fetches.lines(uow, 1)


def digest(file: bytes) -> bytes:
    return content_digest(file, 0, len(file), GuardLimits())


@pytest.fixture
def here(settings: Settings, database: Database, tmp_path: Path) -> Iterator[Here]:
    packs, limits = Packs(settings.blobs), GuardLimits()
    ingest = Ingest(database, packs, limits, UTC)
    dimse = DimseServer(replace(settings, dimse_port=0), ingest, ())
    dimse.start()
    modalities = {"ours": ["HUTONG", "127.0.0.1", dimse.port]}
    with running(tmp_path, free_port(), free_port(), modalities, {}) as orthanc:
        yield Here(database=database, ingest=ingest, retrieve=Retrieve(database, packs, limits), orthanc=orthanc)
    dimse.stop()


@pytest.mark.parametrize("by", ["web", "get", "move"])
def test_a_study_is_fetched_whole_and_as_a_prior(here: Here, make_instance: Make, by: str) -> None:
    files = [make_instance(n) for n in range(1, 8)]
    here.bring(*files)
    peer = here.peer(by)
    fetcher = here.fetcher(peer)
    (found,) = fetcher.request(system(), "archive", Asked(study="1.2.3"))
    assert found.chosen and (found.instances in (0, 7))
    assert fetcher.step(peer) and not fetcher.step(peer)
    (line,) = here.lines()
    assert (line.state, line.last_error, line.instances) == ("done", "", 7)
    assert here.digests("1.2.3") == sorted(map(digest, files))
    with here.database.reading() as uow:
        assert fetches.is_prior(uow, 1, "1.2.3")
    # It goes to nobody by a rule that does not name its origin.
    other = Peer(name="other", ae_title="OTHER")
    assert Forwarder(here.database, (other,), [Forward(name="all", peer="other")]).quiet(1, "1.2.3") == 0
    named = Forward(name="all", peer="other", senders=("peer:archive",))
    assert Forwarder(here.database, (other,), [named]).quiet(1, "1.2.3") == 7
    with here.database.reading() as uow:
        assert [one.instances for one in queue.lines(uow, 1)] == [7]
    # A scanner that brings more of it makes it a study like any other.
    here.ingest.receive(system(), [Received(chunks=[make_instance(8)])])
    with here.database.unit_of_work() as uow:
        uow.driver.execute("update instance set sender = 'ae:CT1' where instance = '1.2.3.1.8'")
    with here.database.reading() as uow:
        assert not fetches.is_prior(uow, 1, "1.2.3")


@pytest.mark.parametrize("by", ["web", "get"])
def test_priors_are_found_by_rule(here: Here, make_instance: Make, by: str) -> None:
    for year in (2019, 2021, 2022, 2023):
        here.bring(make_instance(1, study=f"1.2.{year}", StudyDate=f"{year}0101", IssuerOfPatientID="HOSP"))
    here.bring(
        make_instance(1, study="1.2.7", StudyDate="20230601", Modality="US", IssuerOfPatientID="HOSP"),
        make_instance(1, study="1.2.8", StudyDate="20230701", IssuerOfPatientID="HOSP", BodyPartExamined="HEAD"),
        make_instance(1, study="1.2.9", StudyDate="20230801", PatientID="P2", IssuerOfPatientID="HOSP"),
    )
    here.ingest.receive(system(), [Received(chunks=[make_instance(1, IssuerOfPatientID="HOSP")])])
    peer = here.peer(by)
    rule = Priors(name="chest", match={"Modality": "CT"}, number=2, modalities=("CT",), body_parts=("CHEST",))
    fetcher = here.fetcher(peer, rule)
    fetcher.quiet(1, "1.2.3")
    with here.database.unit_of_work() as uow:
        jobs = uow.driver.execute("select args from procrastinate_jobs where task_name = 'find-priors'").fetchall()
    assert [job[0]["peer"] for job in jobs] == ["archive"]
    fetcher.find_priors(**jobs[0][0])
    fetcher.find_priors(**jobs[0][0])
    assert sorted(line.study for line in here.lines()) == ["1.2.2022", "1.2.2023"]
    assert {line.requested_by for line in here.lines()} == {"rule:chest"}
    while fetcher.step(peer):
        pass
    assert {line.state for line in here.lines()} == {"done"}
    # Priors have no priors.
    fetcher.quiet(1, "1.2.2022")
    with here.database.unit_of_work() as uow:
        assert uow.driver.execute("select count(*) from procrastinate_jobs").fetchone() == (1,)


def test_a_patients_studies_on_request(here: Here, make_instance: Make) -> None:
    here.bring(
        make_instance(1, study="1.2.1", StudyDate="20210101", IssuerOfPatientID="HOSP"),
        make_instance(1, study="1.2.2", StudyDate="20220101", IssuerOfPatientID="HOSP"),
    )
    fetcher = here.fetcher(here.peer("web"))
    look = Asked(patient_id="P1", wish=Wish(number=1), only_look=True)
    assert [(one.study, one.chosen) for one in fetcher.request(system(), "archive", look)] == [
        ("1.2.2", True),
        ("1.2.1", False),
    ]
    assert here.lines() == []
    fetcher.request(system(), "archive", replace(look, only_look=False))
    assert fetcher.step(here.peer("web"))
    sweep(here.database, 0)
    with here.database.reading() as uow:
        assert fetches.is_prior(uow, 1, "1.2.2")
    assert sweep(here.database, 0) == 0
    # It is looked at anew when somebody wants it analysed, though nothing more comes.
    fetcher.request(system(), "archive", Asked(study="1.2.2", analyse=True))
    assert sweep(here.database, 0) == 1
    assert [(line.study, line.prior) for line in here.lines()] == [("1.2.2", False)]
    with here.database.reading() as uow:
        assert not fetches.is_prior(uow, 1, "1.2.2")


def test_what_is_not_there(here: Here) -> None:
    peer = here.peer("web")
    fetcher = here.fetcher(peer)
    with pytest.raises(NotFound):
        fetcher.request(system(), "archive", Asked(study="1.2.99"))
    with pytest.raises(NotFound):
        fetcher.request(system(), "nobody", Asked(study="1.2.99"))
    with here.database.unit_of_work() as uow:
        fetches.request(uow, 1, peer="archive", study="1.2.99", by="test", senders=["peer:archive"], prior=True)
    assert fetcher.step(peer)
    assert here.lines()[0].state == "failed"
    away = replace(peer, url="http://127.0.0.1:1")
    with here.database.unit_of_work() as uow:
        fetches.request(uow, 1, peer="archive", study="1.2.98", by="test", senders=["peer:archive"], prior=True)
    assert here.fetcher(away).step(away) and not here.fetcher(away).step(away)
    assert here.lines()[0].state == "waiting" and "could not be reached" in here.lines()[0].last_error
