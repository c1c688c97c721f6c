"""The whole way from instances to notifications, with jobs run one after the other in the test's own thread."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydicom import Dataset
from sqlalchemy import text

from server.events import topics
from server.events.dispatch import Dispatcher
from server.events.notify import Notifier
from server.fhir import definitions
from server.fhir.validate import validate
from server.imaging.guard import GuardLimits
from server.imaging.imaging_study import ImagingStudies
from server.imaging.ingest import Ingest, Outcome, Received
from server.imaging.retrieve import Retrieve
from server.imaging.sweep import sweep
from server.outbound.dimse.entity import Entity
from server.outbound.guard import Guard
from server.repository import Repository
from server.search.find import Search
from server.security.access import Access
from server.settings import Peer, Settings
from server.store import events
from server.store.database import Database
from server.store.packs import Packs
from server.store.studies import Located
from server.worker.jobs import answers
from server.workflow import pathway
from server.workflow.analysis import Analyst
from server.workflow.availability import Announcer
from server.workflow.comparison import Comparer
from server.workflow.deliver import Deliverer
from server.workflow.fetch import Fetcher
from server.workflow.foreign_report import ReportReader
from server.workflow.forward import Forwarder
from server.workflow.pathway import Planner
from server.workflow.peer_archive import PeerArchive
from server.workflow.publish import Publisher
from server.workflow.send import Fate
from server.workflow.study import StudyKeeper
from tests.ai_adapters.chest import SPACING, chest
from tests.ai_adapters.series import series
from tests.workflow.tiny_bundle import tiny_registry

ACCESS = Access(who="test", scopes=frozenset({"read", "write"}))
BASE = "http://hutong.test/fhir"
#: (z, y, x) mm of the grid, diameter: one in each lung.
NODULES = [((64.0, 130.0, 166.0), 14.0), ((70.0, 114.0, 70.0), 11.0)]
PEER = Peer(name="pacs", ae_title="PACS", send_results=True)


def ct(prefix: str = "2.25.10", slices: slice = slice(None)) -> list[Dataset]:
    """A small chest CT with two nodules as a scanner would send it."""
    images = series(chest(NODULES), SPACING, origin=(-120.0, -110.0, -50.0))
    for image in images:
        image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        image.PatientName, image.PatientID = "Test^Chest", "T-1"
        image.PatientBirthDate, image.PatientSex = "19500101", "F"
        image.StudyDate, image.StudyTime, image.StudyID, image.AccessionNumber = "20260131", "100000", "1", "A1"
        image.ReferringPhysicianName = ""
        image.BodyPartExamined = "CHEST"
    return images[slices]


def part10(dataset: Dataset) -> bytes:
    """The data set as a file."""
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@dataclass(kw_only=True)
class House:
    """All parts of the server that work on a study, without its edges."""

    database: Database
    repository: Repository
    ingest: Ingest
    retrieve: Retrieve
    planner: Planner
    dispatcher: Dispatcher
    notifier: Notifier
    analyst: Analyst
    tasks: dict[str, Callable[..., None]]
    deliverer: Deliverer
    #: Peer name and number of instances of each sending.
    sent: list[tuple[str, int]] = field(default_factory=list)

    def receive(self, datasets: Iterable[Dataset]) -> Outcome:
        """Through the door for instances."""
        return self.ingest.receive(ACCESS, [Received(chunks=[part10(dataset)]) for dataset in datasets])

    def settle(self, *, without: Sequence[str] = ()) -> list[str]:
        """Runs everything that follows, until nothing is left; gives the jobs run."""
        done: list[str] = []
        while True:
            sweep(self.database, 0)
            moved = self.dispatcher.run()
            job = self._next(without)
            carried = self.deliverer.step(PEER)
            told = self._tell()
            if job is None and not moved and not carried and not told:
                return done
            if job is not None:
                done.append(job[0])
                self.tasks[job[0]](**job[1])

    def _tell(self) -> bool:
        with self.database.reading() as uow:
            due = events.due(uow)
        for one in due:
            self.notifier.run(one.tenant, one.id)
        return bool(due)

    def _next(self, without: Sequence[str]) -> tuple[str, dict[str, Any]] | None:
        with self.database.unit_of_work() as uow:
            row = uow.execute(
                text(
                    "delete from procrastinate_jobs where id = (select min(id) from procrastinate_jobs "
                    "where status = 'todo' and task_name <> all(:without)) returning task_name, args"
                ),
                {"without": list(without)},
            ).one_or_none()
        return None if row is None else (row.task_name, dict(row.args))

    def search(self, type: str, **parameters: str) -> list[dict[str, Any]]:
        """Resources that a search finds."""
        wanted = [(name.replace("__", "-"), value) for name, value in parameters.items()]
        found = self.repository.search(ACCESS, type, [*wanted, ("_count", "1000")])
        return [self.repository.read(ACCESS, type, stored.id) for stored in found.matches]


@pytest.fixture
def house(database: Database, settings: Settings) -> House:
    known = definitions.load()
    repository = Repository(database, known, Search(known, BASE), validate=validate)
    packs, limits = Packs(settings.blobs), GuardLimits()
    ingest = Ingest(database, packs, limits, ZoneInfo("UTC"))
    retrieve = Retrieve(database, packs, limits)
    publisher = Publisher(repository=repository, ingest=ingest, uid_root="2.25", peers=(PEER,))
    planner = Planner(repository=repository, pathways=pathway.load())
    analyst = Analyst(
        database=database, repository=repository, retrieve=retrieve, publisher=publisher,
        registry=tiny_registry(settings.bundle_folder), uid_root="2.25", threads=2,
        comparer=Comparer(database=database, retrieve=retrieve, threads=2),
    )  # fmt: skip
    reader = ReportReader(
        database=database, repository=repository, retrieve=retrieve, publisher=publisher, uid_root="2.25"
    )
    notifier = Notifier(
        database=database,
        repository=repository,
        topics=topics.load(),
        guard=Guard(loopback=True),
        base=BASE,
        timeout=2,
        rights=lambda uow, tenant, id: ACCESS,
    )
    sent: list[tuple[str, int]] = []

    def carry(_access: Access, peer: Peer, located: Sequence[Located], _rank: int) -> Iterator[list[Fate]]:
        sent.append((peer.name, len(located)))
        yield [Fate(instance=place.instance, arrived=True) for place in located]

    deliverer = Deliverer(
        database=database, retrieve=retrieve, peers=(PEER,), rules=(), zone=ZoneInfo("UTC"), carry=carry,
        commit=lambda peer, transaction, located: None,
    )  # fmt: skip
    dispatcher = Dispatcher(
        database=database, repository=repository, topics=topics.load(),
        answers=answers(planner),
    )  # fmt: skip
    keeper = StudyKeeper(
        database=database, studies=ImagingStudies(repository), forwarder=Forwarder(database, (PEER,), ()),
        announcer=Announcer(database=database, peers=(PEER,), title="HUTONG", tell=lambda peer, notification: None),
        fetcher=Fetcher(
            database=database, archive=PeerArchive(entity=Entity(title="HUTONG"), ingest=ingest), peers=(PEER,)
        ),
    )  # fmt: skip
    tasks: dict[str, Callable[..., None]] = {
        "study-changed": keeper.run, "sr-received": reader.run, "plan": planner.run, "run-task": analyst.run,
        "compare": analyst.compare,
    }  # fmt: skip
    return House(
        database=database, repository=repository, ingest=ingest, retrieve=retrieve, planner=planner,
        dispatcher=dispatcher, notifier=notifier, analyst=analyst, tasks=tasks, sent=sent, deliverer=deliverer,
    )  # fmt: skip
