"""A lung task done by somebody outside, as IHE's AI Workflow for Imaging has it: the server as a user starts it, and
a performer that knows nothing but HTTP and a WebSocket. In the middle the server is killed and started again."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from pydicom import Dataset
from websockets.sync.client import connect

from tests.http.worklist import asked, performed, report, said
from tests.orthanc import free_port
from tests.workflow.conftest import ct, part10
from tests.workflow.test_foreign_report import somebody_elses

ROOT = Path(__file__).parent.parent.parent
GLOBAL = "1.2.840.10008.5.1.4.34.5"
#: Generous: other tests may keep the machine busy.
SECONDS = 120
LOCK = "1.2.840.99.7"


@contextmanager
def serving(data: Path, http_port: int, dimse_port: int) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "HUTONG_STUDY_QUIET": "1", "HUTONG_EXTERNAL_ADAPTERS": "nodule_detection"}
    command = [sys.executable, "-m", "server", "serve", "--data", str(data)]
    ports = ["--http-port", str(http_port), "--dimse-port", str(dimse_port)]
    with subprocess.Popen(
        [*command, *ports], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert "hutong is ready" in process.stdout.readline()
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(60)


def store(client: httpx.Client, datasets: list[Dataset]) -> None:
    boundary = "a-boundary"
    head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    body = b"".join(head + part10(dataset) + b"\r\n" for dataset in datasets) + f"--{boundary}--\r\n".encode()
    kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
    client.post("/dicomweb/studies", content=body, headers={"Content-Type": kind}).raise_for_status()


def until(look: Any) -> Any:
    deadline = time.monotonic() + SECONDS
    while not (found := look()):
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.2)
    return found


def resources(client: httpx.Client, kind: str) -> list[dict[str, Any]]:
    bundle = client.get(f"/fhir/{kind}", headers={"Accept": "application/fhir+json"}).raise_for_status().json()
    return [entry["resource"] for entry in bundle.get("entry", ())]


def test_a_lung_task_is_performed_outside(tmp_path: Path) -> None:
    http_port, dimse_port = free_port(), free_port()
    client = httpx.Client(base_url=f"http://127.0.0.1:{http_port}", timeout=60)
    images = ct(slices=slice(0, 8))
    with client, serving(tmp_path / "data", http_port, dimse_port) as process:
        channel = client.post(f"/dicomweb/workitems/{GLOBAL}/subscribers/GPU7").headers["Content-Location"]
        assert channel == f"ws://127.0.0.1:{http_port}/dicomweb/subscribers/GPU7"
        store(client, images)
        with connect(channel) as socket:
            kind, uid, state = said(report(socket, SECONDS))
        assert (kind, state) == (1, "SCHEDULED")
        item = client.get(f"/dicomweb/workitems/{uid}").json()[0]
        source = item["00404021"]["Value"][0]["0040E025"]["Value"][0]["00081190"]["Value"][0]
        assert len(client.get(f"{source}/metadata").json()) == 8
        claim = asked("IN PROGRESS", LOCK)
        assert client.put(f"/dicomweb/workitems/{uid}/state/GPU7", json=claim).status_code == 200
        process.kill()
        process.wait(60)
    with (
        httpx.Client(base_url=f"http://127.0.0.1:{http_port}", timeout=60) as client,
        serving(tmp_path / "data", http_port, dimse_port),
    ):
        with connect(channel) as socket:
            told = [said(report(socket, SECONDS)) for _ in range(3)]
        assert told == [(1, uid, "SCHEDULED"), (1, uid, "IN PROGRESS"), (4, GLOBAL, "")]
        (task,) = resources(client, "Task")
        assert task["status"] == "in-progress" and task["owner"]["display"] == "GPU7"
        result = somebody_elses(images)
        store(client, [result])
        until(lambda: resources(client, "DiagnosticReport"))
        done = performed(LOCK, outputs=(("1.2.840.10008.5.1.4.1.1.88.34", str(result.SOPInstanceUID)),))
        assert client.post(f"/dicomweb/workitems/{uid}", json=done).status_code == 200
        assert client.put(f"/dicomweb/workitems/{uid}/state", json=asked("COMPLETED", LOCK)).status_code == 200
        (task,) = resources(client, "Task")
        (made,) = resources(client, "DiagnosticReport")
        references = [one.get("valueReference", {}).get("reference") for one in task["output"]]
        assert task["status"] == "completed" and f"DiagnosticReport/{made['id']}" in references
