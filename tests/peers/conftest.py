"""Orthanc (Debian's) on loopback, and our own DICOM services for it to talk to."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI

from server.dimse.server import DimseServer
from server.http import dicomweb
from server.http.dicomweb_services import DicomWeb
from server.imaging.guard import GuardLimits
from server.imaging.ingest import Ingest
from server.imaging.retrieve import Retrieve
from server.security.access import Access
from server.settings import Settings
from server.store.database import Database
from server.store.packs import Packs
from tests.orthanc import Orthanc, free_port, running


@dataclass(frozen=True, kw_only=True)
class Ours:
    """Our own services."""

    url: str
    dimse_port: int


@pytest.fixture
def ours(settings: Settings, database: Database) -> Iterator[Ours]:
    packs, limits = Packs(settings.blobs), GuardLimits()
    ingest = Ingest(database, packs, limits, UTC)
    services = DicomWeb(
        settings=settings,
        database=database,
        ingest=ingest,
        retrieve=Retrieve(database, packs, limits),
        access=lambda request: Access(who="test", scopes=frozenset({"read", "write"})),
    )
    app = FastAPI()
    app.include_router(dicomweb.router(services))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    dimse = DimseServer(replace(settings, dimse_port=0), ingest)
    dimse.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield Ours(url=f"http://127.0.0.1:{port}/dicomweb", dimse_port=dimse.port)
    dimse.stop()
    server.should_exit = True
    thread.join(timeout=10)


@pytest.fixture
def orthanc(ours: Ours, tmp_path: Path) -> Iterator[Orthanc]:
    """An Orthanc that knows us as the modality and the server ``ours``."""
    modalities = {"ours": ["HUTONG", "127.0.0.1", ours.dimse_port]}
    with running(tmp_path, free_port(), free_port(), modalities, {"ours": {"Url": ours.url}}) as started:
        yield started
