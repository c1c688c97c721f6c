"""Conditional create: many clients at once ask for the same, over one server or several of one database."""

import json
import uuid
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from benchmarks.fhir.importing import Figures
from benchmarks.fhir.wire import Wire

_SYSTEM = "urn:hutong:benchmark"
#: Clients that ask at the same time.
CLIENTS = 64


def run(bases: Sequence[str], token: str = "", rounds: int = 5) -> Figures:
    """How many of 64 created, at most and at least, over some rounds; 1 is right."""
    made = [once(bases, token) for _ in range(rounds)]
    return {
        "conditional created, least": min(one[201] for one in made),
        "conditional created, most": max(one[201] for one in made),
        "conditional 200, least": min(one[200] for one in made),
    }


def once(bases: Sequence[str], token: str = "") -> Counter[int]:
    """The statuses of 64 creates under one condition, the clients dealt out to the servers in turn."""
    value = uuid.uuid4().hex
    body = json.dumps({"resourceType": "Patient", "identifier": [{"system": _SYSTEM, "value": value}]}).encode()
    barrier = Barrier(CLIENTS)

    def client(number: int) -> int:
        wire = Wire(bases[number % len(bases)], token)
        barrier.wait()
        answer = wire.ask("POST", "/Patient", body, If_None_Exist=f"identifier={_SYSTEM}|{value}")
        wire.close()
        return answer.status

    with ThreadPoolExecutor(CLIENTS) as pool:
        return Counter(pool.map(client, range(CLIENTS)))
