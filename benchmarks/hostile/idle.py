"""Bar 5: a thousand sockets that say nothing, or a byte now and then, on each port, and fifty idle associations."""

import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import cycle
from typing import Any

from pydicom.uid import ImplicitVRLittleEndian

from benchmarks.hostile.server import Tree
from benchmarks.hostile.wire import Association, ask

_VERIFICATION = [("1.2.840.10008.1.1", ImplicitVRLittleEndian)]
_TRICKLED = {
    "http": b"GET /dicomweb/studies HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 4000,
    "dimse": b"\x01\x00\x00\x00\xff\x00" + b"\0" * 4000,
}
_AT_MOST = 1.0


def run(tree: Tree, *, sockets: int = 1000, associations: int = 50, seconds: float = 60.0) -> dict[str, Any]:
    """Measures C-ECHO and QIDO while everybody else only holds connections; p95 in seconds, CPU by the second."""
    alone = _measure(tree, min(seconds, 10.0), [])
    with ExitStack() as stack:
        idle = [Association(tree.dimse_port, _VERIFICATION, calling=f"IDLE{n}") for n in range(associations)]
        for one in idle:
            stack.callback(one.drop)
        crowds = [stack.enter_context(_crowd(tree, name, sockets)) for name in _TRICKLED]
        time.sleep(2)
        cpu = _cpu(tree, min(seconds, 10.0))
        among = _measure(tree, seconds, crowds)
    faults = [
        f"{name}: p95 {among[name]['p95']:.2f} s, {among[name]['failed']} failed"
        for name in ("echo", "qido")
        if among[name]["p95"] > _AT_MOST or among[name]["failed"]
    ]
    return {
        "sockets": sockets, "associations": associations, "alone": alone, "among_the_idle": among,
        "idle_cpu_per_second": cpu, "restarts": tree.restarts(), "faults": faults,
    }  # fmt: skip


class _Crowd:
    """Half of the sockets never say a word; the others send a byte of a request now and then."""

    def __init__(self, port: int, words: bytes, count: int) -> None:
        self._port, self._words = port, words
        self._sockets = [self._connected() for _ in range(count)]
        self._sent = [0] * count
        self._turn = cycle(range(1, count, 2))
        self.dropped = 0

    def trickle(self, count: int = 25) -> None:
        """A byte each from the next few; who was dropped comes back, as an attacker would."""
        for _ in range(count):
            place = next(self._turn)
            try:
                at = self._sent[place]
                self._sockets[place].send(self._words[at : at + 1] or b"a")
                self._sent[place] += 1
            except OSError:
                self._sockets[place].close()
                self.dropped += 1
                self._sent[place] = 0
                with suppress(OSError):
                    self._sockets[place] = self._connected()

    def close(self) -> None:
        """All go."""
        for one in self._sockets:
            one.close()

    def _connected(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self._port), timeout=30)
        connection.setblocking(False)
        return connection


@contextmanager
def _crowd(tree: Tree, name: str, count: int) -> Iterator[_Crowd]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 8192)), hard))
    crowd = _Crowd(tree.http_port if name == "http" else tree.dimse_port, _TRICKLED[name], count)
    try:
        yield crowd
    finally:
        crowd.close()


def _measure(tree: Tree, seconds: float, crowds: list[_Crowd]) -> dict[str, dict[str, float]]:
    times: dict[str, list[float]] = {"echo": [], "qido": []}
    failed = dict.fromkeys(times, 0)
    over = time.monotonic() + seconds
    while time.monotonic() < over:
        for name, taken in times.items():
            began = time.monotonic()
            try:
                _echo(tree) if name == "echo" else _qido(tree)
            except OSError:
                failed[name] += 1
            taken.append(time.monotonic() - began)
        for crowd in crowds:
            crowd.trickle()
        time.sleep(0.05)
    dropped = {"dropped": sum(crowd.dropped for crowd in crowds)} if crowds else {}
    return {name: _percentiles(taken, failed[name]) | dropped for name, taken in times.items()}


def _percentiles(taken: list[float], failed: int) -> dict[str, float]:
    taken = sorted(taken)
    at = {"p50": 0.5, "p95": 0.95, "max": 1.0}
    found = {name: round(taken[min(len(taken) - 1, int(part * len(taken)))], 4) for name, part in at.items()}
    return found | {"count": len(taken), "failed": failed}


def _echo(tree: Tree) -> None:
    association = Association(tree.dimse_port, _VERIFICATION, calling="ECHO")
    association.echo()
    association.close()


def _qido(tree: Tree) -> None:
    answer = ask(tree.http_port, "GET", "/dicomweb/studies?limit=10", headers={"Accept": "application/dicom+json"})
    if answer.status not in (200, 204):
        raise ConnectionError(f"QIDO-RS was answered with {answer.status}.")


def _cpu(tree: Tree, seconds: float) -> float:
    before, began = tree.cpu_seconds(), time.monotonic()
    time.sleep(seconds)
    return round((tree.cpu_seconds() - before) / (time.monotonic() - began), 3)
