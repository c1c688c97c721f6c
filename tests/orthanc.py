"""Orthanc, Debian's, on loopback: started with a configuration, ended with the block."""

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


@dataclass(frozen=True, kw_only=True)
class Orthanc:
    """A running Orthanc."""

    client: httpx.Client
    dimse_port: int
    #: Its DICOMweb root.
    url: str


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def running(
    folder: Path, http_port: int, dimse_port: int, modalities: Mapping[str, Any], servers: Mapping[str, Any]
) -> Iterator[Orthanc]:
    """Orthanc with its files in ``folder``, knowing these modalities and DICOMweb servers."""
    program = shutil.which("Orthanc") or shutil.which("/usr/sbin/Orthanc")
    if program is None or not _PLUGIN.exists():
        if os.environ.get("CI"):
            pytest.fail("Orthanc with its DICOMweb plugin must be here under CI")
        pytest.skip("Orthanc with its DICOMweb plugin is not here")
    configuration = {
        "StorageDirectory": str(folder / "orthanc"),
        "IndexDirectory": str(folder / "orthanc"),
        "Plugins": [str(_PLUGIN)],
        "HttpPort": http_port,
        "DicomPort": dimse_port,
        "DicomAet": "ORTHANC",
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomAlwaysAllowStore": True,
        "DicomCheckCalledAet": False,
        "DicomModalities": dict(modalities),
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "Servers": dict(servers)},
    }
    path = folder / "orthanc.json"
    path.write_text(json.dumps(configuration))
    with (folder / "orthanc.log").open("wb") as log:
        process = subprocess.Popen([program, str(path)], stdout=log, stderr=log)
    client = httpx.Client(base_url=f"http://127.0.0.1:{http_port}", timeout=120)
    try:
        _wait(client, process)
        yield Orthanc(client=client, dimse_port=dimse_port, url=f"http://127.0.0.1:{http_port}/dicom-web")
    finally:
        client.close()
        process.terminate()
        process.wait(timeout=20)


def _wait(client: httpx.Client, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if client.get("/system").is_success:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    pytest.fail("Orthanc did not start")
