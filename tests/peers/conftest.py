"""Orthanc (Debian's) on loopback, and our own web application and DICOM services for it to talk to."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import uvicorn

from server.app.dimse import offers
from server.app.parts import Parts, compose
from server.app.web import web
from server.dimse.server import DimseServer
from server.settings import Peer, Settings
from tests.orthanc import Orthanc, free_port, running


@dataclass(frozen=True, kw_only=True)
class Ours:
    """Our own services."""

    url: str
    dimse_port: int
    #: Orthanc's DIMSE port, where it is started.
    orthanc_dimse: int
    parts: Parts


@pytest.fixture
def ours(settings: Settings, database_url: str) -> Iterator[Ours]:
    """The web application and the DIMSE server as they are composed for service."""
    orthanc_dimse = free_port()
    orthanc = Peer(name="orthanc", ae_title="ORTHANC", port=orthanc_dimse)
    parts = compose(replace(settings, database_url=database_url, dimse_port=0, peers=(orthanc,)))
    server = uvicorn.Server(uvicorn.Config(web(parts), port=0, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    dimse = DimseServer(parts.settings, parts.ingest, offers(parts))
    dimse.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    url = f"http://127.0.0.1:{port}/dicomweb"
    yield Ours(url=url, dimse_port=dimse.port, orthanc_dimse=orthanc_dimse, parts=parts)
    dimse.stop()
    server.should_exit = True
    thread.join(timeout=10)
    parts.pool.close()
    parts.database.close()


@pytest.fixture
def orthanc(ours: Ours, tmp_path: Path) -> Iterator[Orthanc]:
    """An Orthanc that knows us as the modality and the server ``ours``."""
    modalities = {"ours": ["HUTONG", "127.0.0.1", ours.dimse_port]}
    with running(tmp_path, free_port(), ours.orthanc_dimse, modalities, {"ours": {"Url": ours.url}}) as started:
        yield started
