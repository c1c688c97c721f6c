"""The two servers, each started over an empty folder and ended with the block."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.dicomweb.wire import Failed, Wire
from server.security.token import create
from server.store.database import Database
from server.store.embedded import EmbeddedPostgres

_HOST = "127.0.0.1"
_START_SECONDS = 180.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """A running server, as its clients see it."""

    name: str
    #: Path of its DICOMweb root.
    root: str
    http_port: int
    dimse_port: int
    ae_title: str
    process: int
    folder: Path
    #: What its HTTP clients authenticate with; empty for none.
    token: str = ""

    def connect(self) -> Wire:
        """A connection for HTTP."""
        return Wire(_HOST, self.http_port, self.token)


@contextmanager
def hutong(folder: Path) -> Iterator[Server]:
    """Hutong as shipped: fsync on, embedded PostgreSQL, tokens, audit, the full index."""
    data = folder / "hutong"
    http_port, dimse_port = _free_port(), _free_port()
    ports = ["--http-port", str(http_port), "--dimse-port", str(dimse_port)]
    command = [sys.executable, "-m", "server", "serve", "--data", str(data), "--no-worker", *ports]
    with _process(command, folder / "hutong.log", f"http://{_HOST}:{http_port}/readyz", dict(os.environ)) as process:
        _wait_for_port(dimse_port)
        database = Database(EmbeddedPostgres(data).url)
        token = create(database, tenant=1, name="benchmark", scopes=frozenset({"read", "write"}))
        database.close()
        yield Server(
            name="hutong", root="/dicomweb", http_port=http_port, dimse_port=dimse_port, ae_title="HUTONG",
            process=process.pid, folder=data, token=token,
        )  # fmt: skip


@contextmanager
def orthanc(folder: Path, program: str = "", plugin: str = "") -> Iterator[Server]:
    """Orthanc tuned for speed: no authentication, no compression, no MD5, no delays on the network."""
    data = folder / "orthanc"
    data.mkdir(parents=True)
    http_port, dimse_port = _free_port(), _free_port()
    configuration = _configuration(data, http_port, dimse_port, plugin)
    path = folder / "orthanc.json"
    path.write_text(json.dumps(configuration), encoding="utf-8")
    found = program or shutil.which("Orthanc") or shutil.which("/usr/sbin/Orthanc")
    if found is None:
        raise Failed("Orthanc is not here; install orthanc and orthanc-dicomweb from Debian.")
    url = f"http://{_HOST}:{http_port}/system"
    # DCMTK reads this one.
    environment = {**os.environ, "TCP_NODELAY": "1"}
    with _process([found, str(path)], folder / "orthanc.log", url, environment) as process:
        yield Server(
            name="orthanc", root="/dicom-web", http_port=http_port, dimse_port=dimse_port, ae_title="ORTHANC",
            process=process.pid, folder=data,
        )  # fmt: skip


def _configuration(data: Path, http_port: int, dimse_port: int, plugin: str) -> dict[str, object]:
    return {
        "StorageDirectory": str(data),
        "IndexDirectory": str(data),
        "StorageCompression": False,
        "StoreMD5ForAttachments": False,
        "SyncStorageArea": True,
        "Plugins": [plugin or "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"],
        "HttpPort": http_port,
        "TcpNoDelay": True,
        "KeepAlive": True,
        "DicomPort": dimse_port,
        "DicomAet": "ORTHANC",
        "DicomThreadsCount": 4,
        "MaximumPduLength": 131072,
        "DicomAlwaysAllowStore": True,
        "DicomCheckCalledAet": False,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "SaveJobs": False,
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }


@contextmanager
def _process(
    command: list[str], log: Path, ready: str, environment: dict[str, str]
) -> "Iterator[subprocess.Popen[bytes]]":
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not _answers(ready):
            if process.poll() is not None or time.monotonic() > deadline:
                raise Failed(f"{command[0]} did not start; see {log}.")
            time.sleep(0.1)
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=60)
        process.kill()
        process.wait()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).is_success
    except httpx.HTTPError:
        return False


def _wait_for_port(port: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection((_HOST, port), timeout=1):
            return
        time.sleep(0.1)
    raise Failed(f"Nobody listens on port {port}.")


def _free_port() -> int:
    with socket.create_server((_HOST, 0)) as listener:
        return int(listener.getsockname()[1])
