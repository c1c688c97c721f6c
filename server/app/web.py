"""The process that speaks HTTP: DICOMweb, FHIR, the results page, health."""

from fastapi import FastAPI

from ai_adapters.registry import registry
from server.app.outbound import fetcher
from server.app.parts import Parts, compose, reviewer
from server.app.worklist import workitem_services
from server.events.websocket import Websockets
from server.http import (
    dicomweb,
    dicomweb_store,
    fetch,
    fhir,
    health,
    page,
    queue,
    review,
    server,
    viewer,
    wado_uri,
    workitems,
)
from server.http.access import AccessOfRequest
from server.http.dicomweb_services import DicomWeb
from server.http.drawing import Drawing
from server.imaging.workitem_subscriptions import WorkitemSubscriptions
from server.operations.served import served
from server.settings import Settings
from server.telemetry import memory
from server.workflow.delivery_queue import DeliveryQueue
from server.workflow.results import Label, Results


def run(settings: Settings) -> None:
    """Answers until SIGTERM."""
    parts = compose(settings)
    WorkitemSubscriptions(database=parts.database).restarted()
    application = web(parts)
    memory.settle()
    server.serve(application, settings.host, settings.http_port)


def web(parts: Parts) -> FastAPI:
    """The web application: DICOMweb, FHIR, the results page, health."""
    access = AccessOfRequest(parts.settings, parts.database)
    services = dicomweb_services(parts, access)
    results, drawing = _results(parts), Drawing(parts.settings)
    worklist = workitems.router(workitem_services(parts, access))
    return server.create(
        [
            health.router(parts.database.check),
            dicomweb.router(services, [worklist]),
            worklist,
            wado_uri.router(services),
            fhir.router(
                fhir.FhirServices(
                    repository=parts.repository,
                    access=access,
                    base_url=parts.settings.base_url,
                    operations=served(parts.repository, parts.bulk),
                    requests=parts.bulk,
                    topics=tuple(topic.url for topic in parts.topics),
                    websockets=Websockets(
                        repository=parts.repository, topics=parts.topics, subscribers=parts.subscribers
                    ),
                )
            ),
            page.router(results, access, drawing),
            review.router(reviewer(parts), results, access, drawing),
            viewer.router(parts.settings),
            queue.router(DeliveryQueue(database=parts.database, peers=parts.settings.peers), access),
            fetch.router(fetcher(parts), access),
        ],
        uploads=dicomweb_store.Stores(services),
    )


def dicomweb_services(parts: Parts, access: AccessOfRequest) -> DicomWeb:
    """What the DICOMweb routes work with."""
    return DicomWeb(
        settings=parts.settings,
        database=parts.database,
        ingest=parts.ingest,
        retrieve=parts.retrieve,
        pool=parts.pool,
        pixels=parts.pixels,
        access=access,
    )


def _results(parts: Parts) -> Results:
    labels = {
        bundle.manifest.name: Label(title=bundle.manifest.title, intended_use=bundle.manifest.intended_use)
        for bundle in registry(parts.settings.bundle_folder).bundles()
    }
    return Results(parts.database, parts.repository, labels=labels, study_quiet=parts.settings.study_quiet)
