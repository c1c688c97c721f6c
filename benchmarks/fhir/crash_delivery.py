"""Kills the server while it notifies, again and again: ``python -m benchmarks.fhir.crash_delivery --rounds 50``.

Somebody writes without pause, one thing after the other, and sends again what was not acknowledged. Each round one
process kills itself by SIGKILL just before or just after a notification, or before a pass of the dispatcher commits;
every second time the whole server, its database with it, is killed at that moment too. At the end every subscriber must
have every event once (the same number may come again with the same content), in the order of the writes, without a gap.
"""

import argparse
import http.client
import json
import random
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.crash import Server
from benchmarks.fhir.receiver import Receiver
from benchmarks.fhir.subscribers import Fhir, event, subscription

POINTS = ("notifying", "notified", "before-event")
_SECONDS = 120.0
#: Events in one notification, for each subscriber.
_MOST = (1, 3, 100)


@dataclass(kw_only=True)
class Outcome:
    """What all rounds left behind."""

    rounds: int
    #: Deaths of one process, and of the whole server.
    deaths: int = 0
    killed: int = 0
    written: int = 0
    notified: int = 0
    redelivered: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    disordered: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether every round killed something, and all came once and in order."""
        return self.deaths >= self.rounds and not self.lost and not self.doubled and not self.disordered


class Writer:
    """Writes studies one after the other; each is sent until it is acknowledged."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.written: list[str] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        fhir: Fhir | None = None
        while not self._stopping.is_set():
            # An update is the same twice: what had committed before the answer was lost is no second event.
            id = f"e{len(self.written):06d}"
            resource: dict[str, Any] = {**event(0), "id": id}
            try:
                fhir = fhir or Fhir(self.port)
                fhir.call("PUT", f"/ImagingStudy/{id}", resource)
                self.written.append(id)
                time.sleep(0.02)
            except (OSError, http.client.HTTPException, RuntimeError):
                fhir = None
                time.sleep(0.05)

    def stop(self) -> None:
        """Waits for the last one."""
        self._stopping.set()
        self._thread.join()


def run(folder: Path, rounds: int, port: int) -> Outcome:
    """All rounds on one data folder."""
    chance = random.Random(7)
    outcome = Outcome(rounds=rounds)
    server = Server(folder / "data", port, port + 1)
    receiver = Receiver(folder / "arrivals.json")
    server.start()
    fhir = Fhir(port)
    names = [str(most) for most in _MOST]
    ids = {}
    for most in _MOST:
        made = fhir.call("POST", "/Subscription", subscription(receiver.url(str(most)), 0, most))
        ids[str(most)] = made["id"]
    _await(lambda: all(fhir.call("GET", f"/Subscription/{id}")["status"] == "active" for id in ids.values()))
    server.kill()
    writer = Writer(port)
    try:
        for number in range(rounds):
            point = f"{POINTS[number % len(POINTS)]}:{chance.randint(1, 12)}"
            _round(server, point, outcome, whole=bool(number % 2))
            print(f"{number + 1}: {point}, {len(writer.written)} written", file=sys.stderr, flush=True)
    finally:
        writer.stop()
    server.start()
    outcome.written = len(writer.written)
    _await(lambda: all(receiver.counts().get(name, 0) >= outcome.written for name in names))
    time.sleep(1.0)
    server.stop()
    _check(receiver.finish(), writer.written, outcome)
    return outcome


def _round(server: Server, point: str, outcome: Outcome, *, whole: bool) -> None:
    deaths = server.deaths()
    server.start(kill_at=point)
    _await(lambda: server.deaths() > deaths)
    outcome.deaths += server.deaths() > deaths
    if not whole:
        # The process is started again and goes on, and then the server is ended by force all the same.
        time.sleep(2.0)
    outcome.killed += 1
    server.kill()


def _check(arrivals: dict[str, list[tuple[int, float, str]]], written: list[str], outcome: Outcome) -> None:
    for name, found in arrivals.items():
        firsts: dict[int, str] = {}
        for number, _, focus in found:
            if firsts.setdefault(number, focus) != focus:
                outcome.doubled.append(f"{name}: number {number} came as {focus} too")
        outcome.redelivered += len(found) - len(firsts)
        outcome.notified += len(firsts)
        if list(firsts) != list(range(1, len(firsts) + 1)):
            outcome.disordered.append(f"{name}: the numbers have a gap or another order")
        told = list(firsts.values())
        outcome.lost += [f"{name}: {id}" for id in sorted(set(written) - set(told))]
        if len(set(told)) != len(told):
            outcome.doubled.append(f"{name}: something has two numbers")
        if told[: len(written)] != written:
            outcome.disordered.append(f"{name}: another order than it was written in")
    outcome.lost += [f"{most}: everything" for most in _MOST if str(most) not in arrivals]


def _await(condition: Any) -> None:
    deadline = time.monotonic() + _SECONDS
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--port", type=int, default=18280)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outcome = run(Path(folder), given.rounds, given.port)
    print(json.dumps(asdict(outcome), indent=1))
    return 0 if outcome.sound else 1


if __name__ == "__main__":
    sys.exit(main())
