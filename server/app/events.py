"""The process that moves events: quiet studies, plans, notifications, sending."""

from server.app.archive import keeper, retainer
from server.app.outbound import announcer, commitments, deliverer, fetcher
from server.app.pages import documents
from server.app.parts import Parts, address, compose, publisher
from server.app.worklist import workitems
from server.events import discovery
from server.events.deliver import Delivery
from server.events.dispatch import Dispatcher
from server.events.notify import Notifier
from server.events.retention import forget
from server.imaging import extended_tags
from server.imaging.imaging_study import ImagingStudies
from server.imaging.sweep import sweep
from server.imaging.workitem_subscriptions import WorkitemSubscriptions
from server.operations.export_job import Exporter
from server.operations.import_job import Importer
from server.outbound.smtp import Mailer
from server.search import declarations
from server.security.access import system
from server.settings import Settings
from server.worker.jobs import EventJobs, answers
from server.worker.run import run_worker
from server.workflow import pathway, revise
from server.workflow.foreign_report import ReportReader
from server.workflow.forward import Forwarder
from server.workflow.pathway import Planner
from server.workflow.periodic import Timekeeper
from server.workflow.study import StudyKeeper

#: Bytes a second that clearing up reads at most: those who wait for an image come first.
_KEEP_RATE = 50 << 20


def run(settings: Settings) -> None:
    """The process that moves events: quiet studies, plans, notifications, sending."""
    parts = compose(settings)
    database, repository = parts.database, parts.repository
    extended_tags.declare_all(database, system(), (*extended_tags.REQUIRED, *settings.extended_query_tags))
    discovery.publish(repository, parts.topic_sources)
    planner = Planner(repository=repository, pathways=pathway.load())
    studies = ImagingStudies(repository, wado_url=f"{address(settings)}/dicomweb")
    revise.measure(database)
    forwarder = Forwarder(database, settings.peers, settings.forward)
    telling, fetching, promises = announcer(parts), fetcher(parts), commitments(parts)
    days = settings.event_retention_days
    jobs = EventJobs(
        studies=StudyKeeper(
            database=database, studies=studies, forwarder=forwarder, announcer=telling, fetcher=fetching
        ),
        reports=_reports(parts),
        planner=planner,
        documents=documents(parts),
        delivery=_delivery(parts),
        forwarder=forwarder,
        deliverer=deliverer(parts),
        fetcher=fetching,
        announcer=telling,
        commitments=promises,
        dispatcher=_dispatcher(parts, planner),
        exporter=Exporter(repository, parts.bulk),
        importer=Importer(repository, parts.bulk, parts.guard),
        sweep=lambda: sweep(database, settings.study_quiet),
        forget=lambda: forget(database, days) + promises.commitments.forget(days) + _forget_others(parts),
        keep=keeper(settings, database, rate=_KEEP_RATE).run,
        retain=retainer(settings, database).run,
        periodic=Timekeeper(repository=repository, pathways=planner.pathways).run,
        index=lambda: extended_tags.index_next(database),
        search_parameters=lambda: declarations.index_next(database, repository.search_engine.declarations),
    )
    run_worker(jobs.worker(settings.database_url))
    parts.pool.close()


def _reports(parts: Parts) -> ReportReader:
    return ReportReader(
        database=parts.database,
        repository=parts.repository,
        retrieve=parts.retrieve,
        publisher=publisher(parts),
        uid_root=parts.settings.uid_root,
    )


def _forget_others(parts: Parts) -> int:
    """Deletes workitems that ended, event reports and bulk requests, when they were kept long enough."""
    settings = parts.settings
    gone = workitems(parts).forget(settings.workitem_days, settings.tombstone_days)
    gone += WorkitemSubscriptions(database=parts.database).forget(settings.event_retention_days)
    return gone + parts.bulk.forget()


def _delivery(parts: Parts) -> Delivery:
    settings = parts.settings
    mailer = Mailer(url=settings.smtp_url, sender=settings.smtp_from) if settings.smtp_url else None
    notifier = Notifier(
        database=parts.database,
        repository=parts.repository,
        topics=parts.topics,
        guard=parts.guard,
        base=f"{address(settings)}/fhir",
        timeout=settings.notify_timeout,
        rights=parts.subscribers.access,
        mailer=mailer,
        rate=settings.notify_rate,
    )
    return Delivery(database=parts.database, notifier=notifier)


def _dispatcher(parts: Parts, planner: Planner) -> Dispatcher:
    return Dispatcher(
        database=parts.database, repository=parts.repository, topics=parts.topics, answers=answers(planner)
    )
