"""The composition root: the only file that knows every part.

Each process of the server is composed here from settings alone: ``run_web``, ``run_dimse``, ``run_events``,
``run_analysis``. Parts get what they need handed in; nothing reaches for a global.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from ai_adapters.registry import registry
from server.events import subscriptions, topics
from server.events.topics import Matches, Topic
from server.fhir import definitions
from server.fhir.validate import validate
from server.imaging.guard import GuardLimits
from server.imaging.ingest import Ingest
from server.imaging.retrieve import Retrieve
from server.outbound.http import Guard
from server.repository import Repository
from server.search.find import Search
from server.settings import Peer, Settings
from server.store import tokens
from server.store.database import Database
from server.store.migrate import upgrade
from server.store.packs import Packs
from server.telemetry import kill_points, logs
from server.workflow.publish import Publisher
from server.workflow.results import Label, Results

if TYPE_CHECKING:
    # A process loads only the parts that it runs; their names are needed for the types alone.
    from fastapi import FastAPI

    from server.events.dispatch import Dispatcher
    from server.events.notify import Notifier
    from server.workflow.pathway import Planner
    from server.workflow.send import Sender


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What every process shares: the doors and what is behind them."""

    settings: Settings
    database: Database
    topics: tuple[Topic, ...]
    guard: Guard
    repository: Repository
    ingest: Ingest
    retrieve: Retrieve


def compose(settings: Settings) -> Parts:
    """Opens the database and puts the doors together."""
    logs.configure(settings.log_level)
    kill_points.arm(settings.kill_at)
    database = Database(settings.database_url)
    packs = Packs(settings.blobs)
    limits = GuardLimits(
        instance_bytes=settings.max_instance_bytes,
        inflate_ratio=settings.max_inflate_ratio,
        sequence_depth=settings.max_sequence_depth,
    )
    facts = definitions.load()
    known = topics.load()
    guard = Guard(
        loopback=settings.is_loopback if settings.notify_loopback is None else settings.notify_loopback,
        networks=tuple(ip_network(network) for network in settings.notify_networks),
    )
    repository = Repository(
        database,
        facts,
        Search(facts, f"{settings.base_url}/fhir" if settings.base_url else ""),
        validate=validate,
        checks=(subscriptions.checking(known, guard),),
    )
    return Parts(
        settings=settings,
        database=database,
        topics=known,
        guard=guard,
        repository=repository,
        ingest=Ingest(database, packs, limits, ZoneInfo(settings.tenant_zone)),
        retrieve=Retrieve(database, packs, limits),
    )


def prepare(settings: Settings) -> None:
    """Brings the database to this version's schema."""
    database = Database(settings.database_url)
    upgrade(database)
    database.close()


def has_tokens(settings: Settings) -> bool:
    """Whether anybody could be told apart."""
    database = Database(settings.database_url)
    with database.reading() as uow:
        found = tokens.any_valid(uow)
    database.close()
    return found


def processes(settings: Settings) -> dict[str, Callable[[Settings], None]]:
    """The processes that ``serve`` runs, by name."""
    entries: dict[str, Callable[[Settings], None]] = {"web": run_web, "dimse": run_dimse, "events": run_events}
    if settings.worker:
        entries["analysis"] = run_analysis
    return entries


def web(parts: Parts) -> "FastAPI":
    """The web application: DICOMweb, FHIR, the results page, health."""
    from server.http import dicomweb, fhir, health, page, server
    from server.http.access import AccessOfRequest
    from server.http.dicomweb_services import DicomWeb
    from server.operations.served import served

    access = AccessOfRequest(parts.settings, parts.database)
    services = DicomWeb(
        settings=parts.settings,
        database=parts.database,
        ingest=parts.ingest,
        retrieve=parts.retrieve,
        access=access,
    )

    return server.create(
        [
            health.router(parts.database.check),
            dicomweb.router(services),
            fhir.router(
                fhir.FhirServices(
                    repository=parts.repository,
                    access=access,
                    base_url=parts.settings.base_url,
                    operations=served(parts.repository),
                    topics=tuple(topic.url for topic in parts.topics),
                )
            ),
            page.router(_results(parts), access, parts.settings),
        ]
    )


def _results(parts: Parts) -> Results:
    labels = {
        bundle.manifest.name: Label(title=bundle.manifest.title, intended_use=bundle.manifest.intended_use)
        for bundle in registry(parts.settings.bundle_folder).bundles()
    }
    return Results(parts.database, parts.repository, labels=labels, study_quiet=parts.settings.study_quiet)


def run_web(settings: Settings) -> None:
    """The process that speaks HTTP."""
    from server.http import server

    server.serve(web(compose(settings)), settings.host, settings.http_port)


def run_dimse(settings: Settings) -> None:
    """The process that speaks DICOM's own protocol."""
    from server.dimse import server

    server.serve(settings, compose(settings).ingest)


def run_events(settings: Settings) -> None:
    """The process that moves events: quiet studies, plans, notifications, sending."""
    from server.events.retention import forget
    from server.imaging.imaging_study import ImagingStudies
    from server.imaging.sweep import sweep
    from server.worker.jobs import EventJobs
    from server.worker.run import run_worker
    from server.workflow import pathway
    from server.workflow.foreign_report import ReportReader
    from server.workflow.study import StudyKeeper

    parts = compose(settings)
    database, repository = parts.database, parts.repository
    planner = pathway.Planner(repository=repository, pathways=pathway.load())
    studies = ImagingStudies(repository, wado_url=f"{_address(settings)}/dicomweb")
    jobs = EventJobs(
        studies=StudyKeeper(database=database, studies=studies),
        reports=ReportReader(
            database=database,
            repository=repository,
            retrieve=parts.retrieve,
            publisher=_publisher(parts),
            uid_root=settings.uid_root,
        ),
        planner=planner,
        notifier=_notifier(parts),
        sender=_sender(parts),
        dispatcher=_dispatcher(parts, planner),
        sweep=lambda: sweep(database, settings.study_quiet),
        forget=lambda: forget(database, settings.event_retention_days),
    )
    run_worker(jobs.worker(settings.database_url))


def _notifier(parts: Parts) -> "Notifier":
    from server.events.notify import Notifier

    return Notifier(
        database=parts.database,
        repository=parts.repository,
        topics=parts.topics,
        guard=parts.guard,
        base=f"{_address(parts.settings)}/fhir",
        timeout=parts.settings.notify_timeout,
    )


def _dispatcher(parts: Parts, planner: "Planner") -> "Dispatcher":
    from server.events.dispatch import Dispatcher
    from server.worker.jobs import answers

    return Dispatcher(
        database=parts.database,
        repository=parts.repository,
        topics=parts.topics,
        matches=_matches(parts.repository),
        answers=answers(planner),
    )


def _sender(parts: Parts) -> "Sender":
    from server.outbound import dicom
    from server.workflow.send import Sender

    settings = parts.settings

    def send(peer: Peer, files: Sequence[bytes]) -> None:
        dicom.send(peer, files, calling=settings.ae_title)

    return Sender(database=parts.database, retrieve=parts.retrieve, peers=settings.peers, send=send)


def run_analysis(settings: Settings) -> None:
    """A process that runs adapters."""
    from server.worker.jobs import analysis_worker
    from server.worker.run import run_worker
    from server.workflow.analysis import Analyst

    parts = compose(settings)
    analyst = Analyst(
        database=parts.database,
        repository=parts.repository,
        retrieve=parts.retrieve,
        registry=registry(settings.bundle_folder),
        publisher=_publisher(parts),
        uid_root=settings.uid_root,
        threads=settings.inference_threads or None,
        providers=settings.providers,
    )
    run_worker(analysis_worker(settings.database_url, analyst))


def _publisher(parts: Parts) -> Publisher:
    return Publisher(
        repository=parts.repository,
        ingest=parts.ingest,
        uid_root=parts.settings.uid_root,
        peers=parts.settings.peers,
    )


def _matches(repository: Repository) -> Matches:
    """Whether a search would find the resource, by the code of search."""
    return lambda resource, parameters: repository.search_engine.matches(
        resource, str(resource["resourceType"]), parameters
    )


def _address(settings: Settings) -> str:
    """What notifications and endpoints call us: the public address, else the one we listen on."""
    if settings.base_url:
        return settings.base_url
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{settings.http_port}"
