"""Kills the server at named points and counts what was lost or doubled: ``python -m benchmarks.crash --rounds 5``.

Each round sends a study of its own, lets one process die by SIGKILL at one point, and every second time kills the whole
server with it; then it is started again and everything is read back over the wire.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pydicom
from pydicom.uid import generate_uid
from rich.console import Console

from server.cli.demo.client import Client, dicom_files
from server.cli.demo.command import TOPIC
from server.cli.demo.subscriber import Subscriber, number_and_focus
from server.errors import HutongError
from server.telemetry.kill_points import POINTS

_SETTLE_SECONDS = 1.5
#: A loaded machine may take this long to start and to analyse.
_START_SECONDS, _RESULT_SECONDS = 180, 300


@dataclass(kw_only=True, slots=True)
class Outcome:
    """What one round left behind."""

    point: str
    #: "process": only the process at the point dies; "server": all of them.
    scope: str
    died: bool = False
    seconds: float = 0.0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    #: The same event number sent again with the same content, as at-least-once delivery allows.
    redelivered: int = 0

    @property
    def sound(self) -> bool:
        """Nothing lost, nothing doubled, and the process did die."""
        return self.died and not self.lost and not self.doubled


class Server:
    """``hutong serve`` with a kill point, started again as often as needed."""

    def __init__(self, data: Path, http_port: int, dimse_port: int) -> None:
        self.data = data
        self.url = f"http://127.0.0.1:{http_port}"
        self._ports = ["--http-port", str(http_port), "--dimse-port", str(dimse_port)]
        self._process: subprocess.Popen[bytes] | None = None
        self.log = data / "serve.log"

    def start(self, kill_at: str = "") -> None:
        """Starts the server and waits until it is ready."""
        self.data.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "HUTONG_STUDY_QUIET": "0.5", "HUTONG_KILL_AT": kill_at}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "server", "serve", "--data", str(self.data), *self._ports],
                stdout=log, stderr=log, env=environment,
            )  # fmt: skip
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            with suppress(httpx.HTTPError):
                if httpx.get(f"{self.url}/readyz", timeout=2).is_success:
                    return
            time.sleep(0.1)
        self.kill()
        raise HutongError(f"The server did not come up; see {self.log}.")

    def deaths(self) -> int:
        """How often a process of this server ended and was started again."""
        return self.log.read_text(encoding="utf-8", errors="replace").count("process ended and is started again")

    def kill(self) -> None:
        """SIGKILL to the supervisor; its children and its database die with it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """SIGTERM, and wait until everything is drained."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(60)


def renamed(datasets: list[pydicom.Dataset]) -> list[pydicom.Dataset]:
    """The same images as another study of another patient."""
    uids: dict[str, str] = {}
    for dataset in datasets:
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"):
            setattr(dataset, keyword, uids.setdefault(str(dataset[keyword].value), generate_uid()))
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    patient = f"CRASH-{datasets[0].StudyInstanceUID[-12:]}"
    for dataset in datasets:
        dataset.PatientID = patient
    return datasets


def one_round(server: Server, subscriber: Subscriber, images: list[pydicom.Dataset], outcome: Outcome) -> None:
    """Sends a study, survives the death, reads everything back."""
    began = time.monotonic()
    study = str(images[0].StudyInstanceUID)
    deaths = server.deaths()
    server.start(kill_at=outcome.point)
    client = Client(server.url)
    with closing(client):
        _store_until_taken(client, images)
        _await(lambda: server.deaths() > deaths or _finished(client, study), _RESULT_SECONDS)
        outcome.died = server.deaths() > deaths
        if outcome.scope == "server":
            server.kill()
            server.start()
        _await(lambda: _finished(client, study), _RESULT_SECONDS)
        # The job of a process that died is taken up again when its heartbeat is missed, some seconds later.
        _await(lambda: _announced(client, subscriber, study), _RESULT_SECONDS)
        time.sleep(_SETTLE_SECONDS)
        _check(client, subscriber, study, len(images), outcome)
    server.stop()
    outcome.seconds = round(time.monotonic() - began, 1)


def _store_until_taken(client: Client, images: list[pydicom.Dataset]) -> None:
    """What a sender does: the same again until it is acknowledged."""
    for _ in range(30):
        try:
            # In one request: a death between two of them would rightly make an unfinished study look complete.
            client.store(images, lambda _: None, batch=len(images))
        except (OSError, HutongError):
            time.sleep(0.5)
        else:
            return
    raise HutongError("The study was never acknowledged.")


def _finished(client: Client, study: str) -> bool:
    try:
        report = next(iter(client.reports(study)), None)
        return (
            report is not None
            and next(client.search(f"CarePlan?subject={report['subject']['reference']}"), None) is not None
        )
    except (httpx.HTTPError, HutongError):
        return False


def _announced(client: Client, subscriber: Subscriber, study: str) -> bool:
    told = {
        "/".join(focus.split("/")[-2:]) for bundle in subscriber.all_received() for _, focus in number_and_focus(bundle)
    }
    return {f"DiagnosticReport/{one['id']}" for one in client.reports(study)} <= told


def _await(condition: Any, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)


def _check(client: Client, subscriber: Subscriber, study: str, images: int, outcome: Outcome) -> None:
    """Counts what should be there once, and is."""
    reports = client.reports(study)
    subject = reports[0]["subject"]["reference"] if reports else ""
    counts = {
        "CT": len(client.instances(study, "CT")) - images + 1,
        "SR": len(client.instances(study, "SR")),
        "DiagnosticReport": len(reports),
        "Task": len(list(client.search(f"Task?patient={subject}"))),
        "CarePlan": len(list(client.search(f"CarePlan?subject={subject}"))),
    }
    tracked = [code for one in client.search(f"BodyStructure?patient={subject}") for code in _uids(one)]
    counts |= {f"lesion {uid}": number for uid, number in Counter(tracked).items()}
    for name, number in counts.items():
        if number < 1:
            outcome.lost.append(name)
        if number > 1:
            outcome.doubled.append(f"{name} x {number}")
    _check_notifications(subscriber, {f"DiagnosticReport/{one['id']}" for one in reports}, outcome)


def _uids(resource: dict[str, Any]) -> list[str]:
    return [one["value"] for one in resource.get("identifier", []) if one["value"].startswith("urn:oid:")]


def _check_notifications(subscriber: Subscriber, reports: set[str], outcome: Outcome) -> None:
    seen: dict[int, str] = {}
    announced: Counter[str] = Counter()
    for bundle in subscriber.all_received():
        for number, focus in number_and_focus(bundle):
            short = "/".join(focus.split("/")[-2:])
            if number in seen and seen[number] != short:
                outcome.doubled.append(f"event number {number}")
            outcome.redelivered += number in seen
            if number not in seen:
                announced[short] += 1
            seen[number] = short
    if sorted(seen) != list(range(1, len(seen) + 1)):
        outcome.lost.append("an event number")
    outcome.lost += [f"notification of {report}" for report in reports if not announced[report]]
    outcome.doubled += [f"notification of {report}" for report in reports if announced[report] > 1]


@contextmanager
def subscribed(server: Server) -> Iterator[Subscriber]:
    """A subscriber that lives through all rounds."""
    with Subscriber() as subscriber:
        server.start()
        client = Client(server.url)
        client.subscribe(TOPIC, subscriber.endpoint)
        if subscriber.wait("handshake", 30) is None:
            raise HutongError("No handshake.")
        client.close()
        server.stop()
        yield subscriber


def run(folder: Path, images: Path, points: tuple[str, ...], rounds: int, ports: tuple[int, int]) -> list[Outcome]:
    """All rounds on one data folder; ``images`` is a folder with one CT study."""
    console = Console(stderr=True)
    server = Server(folder, *ports)
    outcomes = []
    with subscribed(server) as subscriber:
        for number in range(rounds):
            for place, point in enumerate(points):
                scope = ("process", "server")[(number + place) % 2]
                outcome = Outcome(point=point, scope=scope)
                try:
                    one_round(server, subscriber, renamed(dicom_files(images)), outcome)
                finally:
                    server.kill()
                console.print(outcome)
                outcomes.append(outcome)
    return outcomes


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path, help="a folder with one CT study, e.g. made by `hutong phantom`")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--points", nargs="*", default=list(POINTS))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outcomes = run(
            Path(folder) / "data", arguments.images, tuple(arguments.points), arguments.rounds, (18080, 18112)
        )
    print(json.dumps([asdict(outcome) for outcome in outcomes], indent=1))
    print(f"{sum(outcome.sound for outcome in outcomes)} of {len(outcomes)} sound", file=sys.stderr)


if __name__ == "__main__":
    main()
