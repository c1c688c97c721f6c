"""SIGKILL at random moments while clients post transactions: ``python -m benchmarks.fhir.kills``.

One process dies, or all do. Each transaction creates a Patient and five Observations, each under a condition of its
own, and updates the client's counter. A client that gets no answer sends the same again until it is acknowledged. At
the end there must be exactly one Patient and five Observations for each number, all found by search and tied to each
other, and every counter must have as many versions as there are numbers, each one higher than the last.
"""

import argparse
import json
import random
import tempfile
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.fhir.wire import Failed, Wire
from benchmarks.hostile.kills import kill_one
from benchmarks.hostile.server import Failed as NotWell
from benchmarks.hostile.server import Tree

_SYSTEM = "urn:hutong:kills"
#: Observations of one transaction; clients.
_PARTS, _CLIENTS = 5, 4
_PAGE = 500


@dataclass(kw_only=True)
class Client:
    """Posts one transaction after the other."""

    base: str
    number: int
    acknowledged: int = 0
    #: Answers by status; 0 for none.
    answers: Counter[int] = field(default_factory=Counter)

    def run(self, over: threading.Event) -> None:
        """Until it is over, and then until the last one is acknowledged."""
        wire = Wire(self.base, timeout=60)
        while not over.is_set():
            body = json.dumps(self._transaction(self.acknowledged + 1)).encode()
            while not self._sent(wire, body):
                time.sleep(0.1)
            self.acknowledged += 1
        wire.close()

    def _sent(self, wire: Wire, body: bytes) -> bool:
        try:
            status = wire.ask("POST", "", body).status
        except OSError:
            status = 0
        self.answers[status] += 1
        if status in (400, 404, 412, 422):
            raise Failed(f"A transaction was refused with {status}.")
        return status == 200

    def _transaction(self, count: int) -> dict[str, Any]:
        mark = f"{self.number}-{count}"
        patient = f"urn:uuid:{uuid.uuid4()}"
        entries = [_created("Patient", mark, patient, {})]
        entries += [
            _created(
                "Observation", f"{mark}-{part}", f"urn:uuid:{uuid.uuid4()}",
                {"status": "final", "code": {"text": "x"}, "subject": {"reference": patient}, "valueInteger": part},
            )
            for part in range(_PARTS)
        ]  # fmt: skip
        counter = {"resourceType": "Basic", "id": f"counter-{self.number}", "code": {"text": str(count)}}
        entries.append({"resource": counter, "request": {"method": "PUT", "url": f"Basic/counter-{self.number}"}})
        return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def _created(kind: str, mark: str, full_url: str, rest: dict[str, Any]) -> dict[str, Any]:
    identifier = [{"system": _SYSTEM, "value": mark}]
    return {
        "fullUrl": full_url,
        "resource": {"resourceType": kind, "identifier": identifier, **rest},
        "request": {"method": "POST", "url": kind, "ifNoneExist": f"identifier={_SYSTEM}|{mark}"},
    }


def run(folder: Path, *, kills: int = 50, seed: int = 1) -> dict[str, Any]:
    """Kills, waits till the server is well again, and goes on; then everything is counted."""
    chance = random.Random(seed)
    tree = Tree(folder / "data")
    tree.start()
    over = threading.Event()
    clients = [Client(base=f"http://127.0.0.1:{tree.http_port}/fhir", number=number) for number in range(_CLIENTS)]
    threads = [threading.Thread(target=client.run, args=(over,)) for client in clients]
    for thread in threads:
        thread.start()
    died: Counter[str] = Counter()
    faults: list[str] = []
    for number in range(kills):
        time.sleep(chance.uniform(0.05, 1.5))
        died[kill_one(tree, chance)] += 1
        try:
            if tree.ended:
                tree.start()
            tree.wait_until_ready(120)
        except NotWell as error:
            faults.append(f"kill {number}: {error}")
            tree.kill()
            tree.start()
    over.set()
    for thread in threads:
        thread.join()
    tree.wait_until_ready()
    faults += _faults(clients)
    tree.stop()
    return {
        "kills": died.total(), "died": dict(died), "transactions": sum(one.acknowledged for one in clients),
        "answers": dict(sum((one.answers for one in clients), Counter())), "faults": faults[:50],
        "fault_count": len(faults),
    }  # fmt: skip


def _faults(clients: list[Client]) -> list[str]:
    """What is lost, halved or doubled."""
    wire = Wire(clients[0].base)
    patients = {_mark(one): one for one in _unique(wire, "Patient")}
    wanted = {f"{client.number}-{count}" for client in clients for count in range(1, client.acknowledged + 1)}
    faults = _differing("Patient", Counter(map(_mark, _unique(wire, "Patient"))), wanted)
    parts = list(_unique(wire, "Observation"))
    every = {f"{mark}-{part}" for mark in wanted for part in range(_PARTS)}
    faults += _differing("Observation", Counter(map(_mark, parts)), every)
    for one in parts:
        patient = patients.get(_mark(one).rpartition("-")[0])
        if patient is not None and one["subject"]["reference"] != f"Patient/{patient['id']}":
            faults.append(f"Observation {_mark(one)} belongs to another transaction's Patient")
    for client in clients:
        versions = list(_pages(wire, f"/Basic/counter-{client.number}/_history?_count={_PAGE}"))
        counts = [int(one["code"]["text"]) for one in versions]
        if counts != list(range(client.acknowledged, 0, -1)):
            faults.append(f"counter {client.number} has {len(counts)} versions for {client.acknowledged} numbers")
    wire.close()
    return faults


def _differing(kind: str, found: Counter[str], wanted: set[str]) -> list[str]:
    lost = [f"{kind} {mark} is lost" for mark in sorted(wanted - found.keys())]
    made = [f"{kind} {mark} was never acknowledged" for mark in sorted(found.keys() - wanted)]
    return lost + made + [f"{kind} {mark} is there {times} times" for mark, times in found.items() if times > 1]


def _mark(resource: dict[str, Any]) -> str:
    return str(resource["identifier"][0]["value"])


def _unique(wire: Wire, kind: str) -> list[dict[str, Any]]:
    return list(_pages(wire, f"/{kind}?identifier={_SYSTEM}%7C&_count={_PAGE}"))


def _pages(wire: Wire, path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while path:
        page = json.loads(wire.expect((200,), "GET", path).body)
        found += [entry["resource"] for entry in page.get("entry", [])]
        link = next((urlsplit(one["url"]) for one in page["link"] if one["relation"] == "next"), None)
        path = f"{link.path.partition('/fhir')[2]}?{link.query}" if link else ""
    return found


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(run(Path(folder), kills=given.kills, seed=given.seed), indent=1))


if __name__ == "__main__":
    main()
