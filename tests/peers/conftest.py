"""Orthanc (Debian's) on loopback, and our own DICOM services for it to talk to."""

import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC
from pathlib import Path

import httpx
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

_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


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


@dataclass(frozen=True, kw_only=True)
class Orthanc:
    """A running Orthanc that knows us as the modality and the server ``ours``."""

    client: httpx.Client
    dimse_port: int
    url: str


@pytest.fixture
def orthanc(ours: Ours, tmp_path: Path) -> Iterator[Orthanc]:
    program = shutil.which("Orthanc")
    if program is None or not _PLUGIN.exists():
        if os.environ.get("CI"):
            pytest.fail("Orthanc with its DICOMweb plugin must be here under CI")
        pytest.skip("Orthanc with its DICOMweb plugin is not here")
    http_port, dimse_port = free_port(), free_port()
    configuration = {
        "StorageDirectory": str(tmp_path / "orthanc"),
        "IndexDirectory": str(tmp_path / "orthanc"),
        "Plugins": [str(_PLUGIN)],
        "HttpPort": http_port,
        "DicomPort": dimse_port,
        "DicomAet": "ORTHANC",
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomAlwaysAllowStore": True,
        "DicomCheckCalledAet": False,
        "DicomModalities": {"ours": ["HUTONG", "127.0.0.1", ours.dimse_port]},
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "Servers": {"ours": {"Url": ours.url}}},
    }
    path = tmp_path / "orthanc.json"
    path.write_text(json.dumps(configuration))
    with (tmp_path / "orthanc.log").open("wb") as log:
        process = subprocess.Popen([program, str(path)], stdout=log, stderr=log)
    client = httpx.Client(base_url=f"http://127.0.0.1:{http_port}", timeout=30)
    try:
        _wait(client, process)
        yield Orthanc(client=client, dimse_port=dimse_port, url=f"http://127.0.0.1:{http_port}/dicom-web")
    finally:
        client.close()
        process.terminate()
        process.wait(timeout=20)


def _wait(client: httpx.Client, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if client.get("/system").is_success:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    pytest.fail("Orthanc did not start")
