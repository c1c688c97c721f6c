"""Two servers as users start them: one sends on to the other, is killed in the middle, and nothing comes back."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.orthanc import free_port

Make = Callable[..., bytes]
pytestmark = pytest.mark.peer
ROOT = Path(__file__).parent.parent.parent


@dataclass(kw_only=True)
class Hutong:
    """One server with its data, its settings and its ports."""

    folder: Path
    title: str
    http_port: int
    dimse_port: int
    settings: str = ""
    process: "subprocess.Popen[str] | None" = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    def start(self) -> None:
        self.folder.mkdir(exist_ok=True)
        config = self.folder / "hutong.toml"
        config.write_text(f'ae_title = "{self.title}"\nstudy_quiet = 1.0\nworker = false\n{self.settings}')
        command = [sys.executable, "-m", "server", "serve", "--data", str(self.folder / "data")]
        command += ["--http-port", str(self.http_port), "--dimse-port", str(self.dimse_port), "--config", str(config)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=dict(os.environ), stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert self.process.stdout is not None
        assert "ready" in self.process.stdout.readline()

    def end(self, number: int = signal.SIGTERM) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(60)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def store(self, *files: bytes) -> None:
        boundary = "hutong-test"
        parts = b"".join(b"--hutong-test\r\nContent-Type: application/dicom\r\n\r\n" + file + b"\r\n" for file in files)
        kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
        answer = httpx.post(
            f"{self.url}/dicomweb/studies", content=parts + b"--hutong-test--", headers={"Content-Type": kind}
        )
        assert answer.status_code == 200, answer.text

    def instances(self) -> list[str]:
        found = httpx.get(f"{self.url}/dicomweb/instances").json()
        return [one["00080018"]["Value"][0] for one in found]

    def queue(self) -> list[dict[str, Any]]:
        deliveries: list[dict[str, Any]] = httpx.get(f"{self.url}/queue?everything=true").json()["deliveries"]
        return deliveries


def until(condition: Callable[[], bool], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.05)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Hutong, Hutong]]:
    first = Hutong(folder=tmp_path / "a", title="HOUSEA", http_port=free_port(), dimse_port=free_port())
    second = Hutong(folder=tmp_path / "b", title="HOUSEB", http_port=free_port(), dimse_port=free_port())
    for one, other in ((first, second), (second, first)):
        one.settings = f"""
[[peers]]
name = "other"
ae_title = "{other.title}"
port = {other.dimse_port}
commit = true
query = true

[[forward]]
name = "everything"
peer = "other"
when = "instance"
unless = {{ PatientID = "STAYS" }}
"""
    with contextlib.ExitStack() as ended:
        for one in (first, second):
            one.start()
            ended.callback(one.end)
        yield first, second


def test_one_sends_to_the_other_across_its_own_death(pair: tuple[Hutong, Hutong], make_instance: Make) -> None:
    first, second = pair
    files = [make_instance(n, PixelData=bytes(128) * 2000, Rows=400, Columns=320) for n in range(1, 401)]
    for at in range(0, len(files), 50):
        first.store(*files[at : at + 50])
    until(lambda: bool(second.instances()))
    first.end(signal.SIGKILL)
    before = len(second.instances())
    first.start()
    until(lambda: [line["state"] for line in first.queue()] == ["done"])
    (line,) = first.queue()
    assert (line["instances"], line["sent"], line["committed"]) == (400, 400, 400), line
    arrived = second.instances()
    assert len(arrived) == len(set(arrived)) == 400
    assert before > 0
    # What came from the first goes back to nobody.
    time.sleep(2)
    assert second.queue() == []


def test_a_prior_comes_from_the_other_and_is_marked(pair: tuple[Hutong, Hutong], make_instance: Make) -> None:
    first, second = pair
    second.store(*(make_instance(n, study="1.2.9", StudyDate="20200101", PatientID="STAYS") for n in (1, 2)))
    until(lambda: len(second.instances()) == 2)
    answer = httpx.post(f"{first.url}/fetch", json={"peer": "other", "patient": "STAYS"})
    assert answer.status_code == 202, answer.text
    assert [(one["study"], one["chosen"]) for one in answer.json()["candidates"]] == [("1.2.9", True)]
    until(lambda: [one["state"] for one in httpx.get(f"{first.url}/fetch").json()["fetches"]] == ["done"])
    assert sorted(first.instances()) == ["1.2.9.1.1", "1.2.9.1.2"]

    def studies() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = httpx.get(f"{first.url}/fhir/ImagingStudy").json().get("entry", [])
        return found

    until(lambda: len(studies()) == 1)
    assert studies()[0]["resource"]["meta"]["tag"] == [{"system": "urn:hutong:study", "code": "prior"}]

    def found(kind: str) -> int:
        return int(httpx.get(f"{first.url}/fhir/{kind}").json()["total"])

    # It is read, so that later studies can be compared with it; nothing is proposed because of it.
    until(lambda: found("Task") == 1)
    time.sleep(1)
    assert [found(kind) for kind in ("Task", "CarePlan", "ServiceRequest")] == [1, 0, 0]
