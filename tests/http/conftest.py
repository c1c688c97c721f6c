"""The FHIR routes in a minimal application, served by uvicorn on loopback over a real PostgreSQL."""

import threading
import time
from collections.abc import Iterator
from datetime import UTC

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Request

from server.fhir.definitions import load
from server.fhir.validate import validate
from server.http import dicomweb, dicomweb_store, wado_uri
from server.http.dicomweb_services import DicomWeb
from server.http.fhir import FhirServices, router
from server.http.server import create
from server.http.uploads import UploadProtocol
from server.imaging.guard import GuardLimits
from server.imaging.ingest import Ingest
from server.imaging.pixel_pool import PixelPool
from server.imaging.pixels import PixelData
from server.imaging.retrieve import Retrieve
from server.operations.bulk import BulkRequests
from server.operations.served import served
from server.repository import Repository
from server.search.find import Search
from server.security.access import Access, system
from server.settings import Settings
from server.store.bulk_files import BulkFiles
from server.store.database import Database
from server.store.packs import Packs


@pytest.fixture
def repository(database: Database) -> Repository:
    """The door behind the FHIR routes."""
    definitions = load()
    return Repository(database, definitions, Search(definitions), validate=validate)


@pytest.fixture
def bulk_requests(database: Database, settings: Settings) -> BulkRequests:
    """Exports and imports; nobody works on them unless a test does."""
    return BulkRequests(database, BulkFiles(settings.blobs), hours=1)


def _caller(request: Request) -> Access:
    """Everybody may do everything, unless a header says who calls with which scopes."""
    who = request.headers.get("who")
    scopes = frozenset(request.headers.get("scopes", "read write").split())
    return system() if who is None else Access(who=who, scopes=scopes)


@pytest.fixture
def fhir_url(repository: Repository, bulk_requests: BulkRequests) -> Iterator[str]:
    """The base URL of the FHIR routes, open to everybody."""
    app = FastAPI()
    services = FhirServices(
        repository=repository,
        access=_caller,
        operations=served(repository, bulk_requests),
        requests=bulk_requests,
    )
    app.include_router(router(services))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}/fhir"
    server.should_exit = True
    thread.join(timeout=10)


@pytest.fixture
def fhir(fhir_url: str) -> Iterator[httpx.Client]:
    """A client of the FHIR routes."""
    with httpx.Client(base_url=fhir_url) as client:
        yield client


@pytest.fixture
def dicomweb_url(settings: Settings, database: Database) -> Iterator[str]:
    """The base URL of the DICOMweb routes, open to everybody."""
    packs, limits = Packs(settings.blobs), GuardLimits()
    retrieve, pool = Retrieve(database, packs, limits), PixelPool(1, 1 << 30)
    services = DicomWeb(
        settings=settings,
        database=database,
        ingest=Ingest(database, packs, limits, UTC),
        retrieve=retrieve,
        pool=pool,
        pixels=PixelData(retrieve, pool),
        access=lambda request: Access(
            who="test", scopes=frozenset(request.headers.get("scopes", "read write").split())
        ),
    )
    routers = [dicomweb.router(services), wado_uri.router(services)]
    app = create(routers, uploads=dicomweb_store.Stores(services))
    config = uvicorn.Config(app, port=0, http=UploadProtocol, proxy_headers=False, log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}/dicomweb"
    server.should_exit = True
    thread.join(timeout=10)
    pool.close()
