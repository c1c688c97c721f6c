"""CRUD mix: each client creates a Patient, reads it, updates it, finds it by its identifier and deletes it."""

import json
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.fhir.bundles import templates
from benchmarks.fhir.clients import Tally, all_seconds, milliseconds, rate, span, together
from benchmarks.fhir.importing import Figures
from benchmarks.fhir.wire import Failed, Wire

_SYSTEM = "urn:hutong:benchmark"
_PROCESSES, _THREADS = 4, 4


def run(base: str, token: str, bundles: Path, *, seconds: float) -> Figures:
    """Requests a second of 16 clients, and how long each kind took."""
    patients = [one.patient for one in templates(bundles)[:16]]
    tallies = together(_client, (base, token, patients, seconds), processes=_PROCESSES, threads=_THREADS)
    found: Figures = {"crud requests/s": rate(tallies), "crud requests": sum(one.done for one in tallies)}
    for kind, taken in all_seconds(tallies).items():
        found[f"crud {kind} p50 ms"] = milliseconds(taken, 50)
        found[f"crud {kind} p99 ms"] = milliseconds(taken, 99)
    return found | {"crud clients' cores": sum(one.cpu for one in tallies) / span(tallies)}


def _client(number: int, given: tuple[str, str, list[dict[str, Any]], float]) -> Callable[[Tally], None]:
    base, token, patients, seconds = given

    def work(tally: Tally) -> None:
        wire = Wire(base, token)
        over = time.monotonic() + seconds
        while time.monotonic() < over:
            _one_life(wire, tally, patients[number % len(patients)])
        wire.close()

    return work


def _one_life(wire: Wire, tally: Tally, patient: dict[str, Any]) -> None:
    """Five requests about one Patient."""
    value = uuid.uuid4().hex
    new = {**patient, "identifier": [{"system": _SYSTEM, "value": value}]}
    del new["id"]
    made = tally.timed("create", lambda: wire.expect((201,), "POST", "/Patient", json.dumps(new).encode()))
    id = made.header("location").split("/Patient/")[1].split("/")[0]
    tally.timed("read", lambda: wire.expect((200,), "GET", f"/Patient/{id}"))
    changed = json.dumps({**new, "id": id, "active": True}).encode()
    tally.timed("update", lambda: wire.expect((200,), "PUT", f"/Patient/{id}", changed))
    found = tally.timed("search", lambda: wire.expect((200,), "GET", f"/Patient?identifier={_SYSTEM}%7C{value}"))
    if f'"{id}"'.encode() not in found.body:
        raise Failed(f"The search by identifier did not find Patient/{id}.")
    tally.timed("delete", lambda: wire.expect((200, 204), "DELETE", f"/Patient/{id}"))
    tally.done += 5
