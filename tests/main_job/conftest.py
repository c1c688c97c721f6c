"""The server as a user starts it, Orthanc beside it as a peer, a subscriber, and studies to send."""

import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from server.cli.demo.client import Client, dicom_files
from server.cli.demo.command import TOPIC
from server.cli.demo.subscriber import Subscriber, number_and_focus
from tests.orthanc import Orthanc, free_port, running

ROOT = Path(__file__).parent.parent.parent
#: Generous: other tests may keep the machine busy.
RESULT_SECONDS = 240


@dataclass(frozen=True, kw_only=True)
class House:
    """Everything that one run of the main job talks to."""

    url: str
    data: Path
    http_port: int
    dimse_port: int
    client: Client
    orthanc: Orthanc
    subscriber: Subscriber

    def await_report(self, study: str) -> dict[str, Any]:
        """The report of a study, once the subscriber was told of it."""
        deadline = time.monotonic() + RESULT_SECONDS
        while time.monotonic() < deadline:
            reports = {f"DiagnosticReport/{one['id']}": one for one in self.client.reports(study)}
            told = {
                "/".join(focus.split("/")[-2:])
                for bundle in self.subscriber.all_received()
                for _, focus in number_and_focus(bundle)
            }
            for reference in reports.keys() & told:
                return reports[reference]
            time.sleep(0.3)
        pytest.fail(f"no report of {study} within {RESULT_SECONDS} s")

    def until(self, condition: Any, seconds: float = 60) -> None:
        """Waits for a condition; fails when it never comes."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "it never came"
            time.sleep(0.2)


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """``serve`` with Orthanc as a peer that wants results; SIGTERM must end it with status 0."""
    folder = tmp_path_factory.mktemp("main_job")
    http_port, dimse_port, orthanc_dimse = free_port(), free_port(), free_port()
    url = f"http://127.0.0.1:{http_port}"
    modalities = {"ours": ["HUTONG", "127.0.0.1", dimse_port]}
    servers = {"ours": {"Url": f"{url}/dicomweb"}}
    environment = {
        **os.environ,
        "HUTONG_STUDY_QUIET": "1",
        "HUTONG_PEERS": f"orthanc=ORTHANC@127.0.0.1:{orthanc_dimse}+results",
    }
    command = [sys.executable, "-m", "server", "serve", "--data", str(folder / "data")]
    ports = ["--http-port", str(http_port), "--dimse-port", str(dimse_port)]
    with (
        running(folder, free_port(), orthanc_dimse, modalities, servers) as orthanc,
        subprocess.Popen(
            [*command, *ports], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process,
    ):
        assert process.stdout is not None
        try:
            assert "ready" in process.stdout.readline()
            client = Client(url)
            with closing(client), Subscriber() as subscriber:
                client.subscribe(TOPIC, subscriber.endpoint)
                assert subscriber.wait("handshake", 60)
                yield House(
                    url=url,
                    data=folder / "data",
                    http_port=http_port,
                    dimse_port=dimse_port,
                    client=client,
                    orthanc=orthanc,
                    subscriber=subscriber,
                )
        finally:
            process.terminate()
            assert process.wait(60) == 0


@pytest.fixture(scope="session")
def lidc(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The two annotated CTs, each in a folder of its own."""
    folder = tmp_path_factory.mktemp("lidc")
    for name in ("LIDC-IDRI-0001", "LIDC-IDRI-0003"):
        with tarfile.open(shared / "lidc" / f"{name}.tar.xz") as archive:
            archive.extractall(folder / name, filter="data")
    return folder


def phantom(folder: Path, seed: int) -> Path:
    """A small phantom with UIDs of its own."""
    options = ["--seed", str(seed), "--matrix", "192", "--spacing", "2.5", "--fresh-uids", "--nodules", "14", "10"]
    subprocess.run([sys.executable, "-m", "conformance.phantom", str(folder), *options], cwd=ROOT, check=True)
    assert dicom_files(folder)
    return folder
