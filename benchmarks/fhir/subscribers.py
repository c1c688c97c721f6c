"""100 subscribers, with and without three bad ones among them: ``python -m benchmarks.fhir.subscribers``.

Each event matches ten subscribers. A delay is the time from the write, as the notification tells it, to the arrival.
Afterwards every subscriber, the bad ones too, reads what it missed by ``$events``; nothing may be missing or doubled.
"""

import argparse
import http.client
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.crash import Server
from benchmarks.fhir.receiver import Arrivals, Receiver

TOPIC = "https://hutong.example/fhir/SubscriptionTopic/prior-study-available"
_BACKPORT = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition"
_GROUPS = 10
BAD = {"0": "hangs", "1": "flaps", "2": "errors"}
_PATIENCE = 300.0
#: Most that the bad ones may add to the others' p95.
BAR = 1.2


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much is measured."""

    subscribers: int = 100
    events: int = 10_000
    #: Events a second.
    rate: float = 50.0
    #: Most events in one notification.
    most: int = 10
    #: Events in one transaction.
    batch: int = 10


@dataclass(kw_only=True)
class Outcome:
    """What one run came to."""

    name: str
    seconds: float
    #: Seconds that the writes took; where that is more than their rate asks for, the server was at its limit.
    wrote: float
    #: Of the subscribers that are good in every run, milliseconds.
    p50: float
    p95: float
    p99: float
    #: Notified events a second.
    per_second: float
    #: Subscribers whose numbers came out of order, or with a gap.
    disordered: list[str]
    #: Subscribers for whom $events is not every event once and in order.
    incomplete: list[str]
    redelivered: int


class Fhir:
    """A client that costs little, over one connection."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def close(self) -> None:
        """Ends the connection."""
        self._connection.close()

    def call(self, method: str, path: str, resource: dict[str, Any] | None = None) -> dict[str, Any]:
        """The resource that comes back; raises on a refusal."""
        body = json.dumps(resource) if resource is not None else None
        self._connection.request(method, f"/fhir{path}", body, {"Content-Type": "application/fhir+json"})
        answer = self._connection.getresponse()
        data = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {data[:500]!r}")
        found: dict[str, Any] = json.loads(data) if data else {}
        return found


def subscription(endpoint: str, group: int, most: int) -> dict[str, Any]:
    """A Subscription to one group's events."""
    content = [{"url": f"{_BACKPORT}/backport-payload-content", "valueCode": "id-only"}]
    wanted = {"url": f"{_BACKPORT}/backport-filter-criteria", "valueString": f"ImagingStudy?patient=Patient/g{group}"}
    return {
        "resourceType": "Subscription",
        "status": "requested",
        "reason": "measuring",
        "criteria": TOPIC,
        "_criteria": {"extension": [wanted]},
        "channel": {
            "extension": [{"url": f"{_BACKPORT}/backport-max-count", "valuePositiveInt": most}],
            "type": "rest-hook",
            "endpoint": endpoint,
            "payload": "application/fhir+json",
            "_payload": {"extension": content},
        },
    }


def event(number: int) -> dict[str, Any]:
    """A study whose appearance is an event for one group."""
    series = {"uid": f"2.25.{number}", "modality": {"code": "CT"}, "numberOfInstances": 1}
    return {
        "resourceType": "ImagingStudy",
        "meta": {"tag": [{"system": "urn:hutong:study", "code": "prior"}]},
        "status": "available",
        "subject": {"reference": f"Patient/g{number % _GROUPS}"},
        "series": [series],
    }


def transaction(numbers: Iterable[int]) -> dict[str, Any]:
    """Several events in one transaction."""
    entries = [{"resource": event(one), "request": {"method": "POST", "url": "ImagingStudy"}} for one in numbers]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def run(name: str, port: int, plan: Plan, bad: dict[str, str], file: Path) -> Outcome:
    """One run on a server that is up: subscribes, writes the events at their rate, waits, checks."""
    receiver, fhir = Receiver(file), Fhir(port)
    ids = {}
    for number in range(plan.subscribers):
        made = fhir.call("POST", "/Subscription", subscription(receiver.url(str(number)), number % _GROUPS, plan.most))
        ids[str(number)] = made["id"]
    _until(lambda: all(_active(fhir, id) for id in ids.values()), 60)
    receiver.misbehave(bad)
    began = time.monotonic()
    for start in range(0, plan.events, plan.batch):
        fhir.call("POST", "", transaction(range(start, min(start + plan.batch, plan.events))))
        time.sleep(max(0.0, began + (start + plan.batch) / plan.rate - time.monotonic()))
    wrote = time.monotonic() - began
    each = plan.events // _GROUPS
    good = [one for one in ids if one not in BAD]
    _until(lambda: _complete(receiver.counts(), good, each), _PATIENCE)
    seconds = time.monotonic() - began
    arrivals = receiver.finish()
    incomplete = [one for one, id in ids.items() if _missed(fhir, id) != list(range(1, each + 1))]
    for id in ids.values():
        fhir.call("DELETE", f"/Subscription/{id}")
    fhir.close()
    return _outcome(name, (seconds, wrote), arrivals, good, each, incomplete)


def _outcome(
    name: str, times: tuple[float, float], arrivals: Arrivals, good: list[str], each: int, incomplete: list[str]
) -> Outcome:
    delays = sorted(1000 * delay for one in good for _, delay, _ in arrivals.get(one, ()))
    firsts = {one: _first_seen([number for number, *_ in found]) for one, found in arrivals.items()}
    disordered = [one for one, numbers in firsts.items() if numbers != list(range(1, len(numbers) + 1))]
    disordered += [one for one in good if len(firsts.get(one, ())) != each]
    return Outcome(
        name=name, seconds=round(times[0], 1), wrote=round(times[1], 1),
        p50=_share(delays, 0.5), p95=_share(delays, 0.95), p99=_share(delays, 0.99),
        per_second=round(len(delays) / times[0], 1), disordered=disordered,
        incomplete=incomplete, redelivered=sum(len(found) - len(firsts[one]) for one, found in arrivals.items()),
    )  # fmt: skip


def _share(delays: list[float], share: float) -> float:
    return round(delays[int(share * (len(delays) - 1))], 1) if delays else float("nan")


def _first_seen(numbers: list[int]) -> list[int]:
    return list(dict.fromkeys(numbers))


def _active(fhir: Fhir, id: str) -> bool:
    return bool(fhir.call("GET", f"/Subscription/{id}")["status"] == "active")


def _complete(counts: dict[str, int], good: list[str], each: int) -> bool:
    return all(counts.get(one, 0) == each for one in good)


def _missed(fhir: Fhir, id: str) -> list[int]:
    """The numbers of every event, page by page."""
    found: list[int] = []
    while True:
        page = fhir.call("GET", f"/Subscription/{id}/$events?content=empty&eventsSinceNumber={len(found) + 1}")
        parameters = page["entry"][0]["resource"]["parameter"]
        numbers = [
            int(part["valueString"])
            for item in parameters
            if item["name"] == "notification-event"
            for part in item["part"]
            if part["name"] == "event-number"
        ]
        if not numbers:
            return found
        found += numbers


def _until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.2)


@contextmanager
def serving(folder: Path, port: int) -> Iterator[Server]:
    """A server of its own."""
    os.environ["HUTONG_WORKER"] = "false"
    server = Server(folder, port, port + 1)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def measure(plan: Plan, port: int, arms: list[str]) -> list[Outcome]:
    """The arms that are asked for, each on a fresh server."""
    found = []
    for name in arms:
        with tempfile.TemporaryDirectory() as folder, serving(Path(folder) / "data", port):
            bad = BAD if name == "with" else {}
            found.append(run(name, port, plan, bad, Path(folder) / "arrivals.json"))
            print(_lines({name: found[-1]}), file=sys.stderr, flush=True)
    return found


def _lines(outcomes: Mapping[str, Outcome]) -> str:
    return "\n".join(
        f"{one.name}: p50 {one.p50} ms, p95 {one.p95} ms, p99 {one.p99} ms, {one.per_second} events/s; "
        f"{len(one.disordered)} out of order, {len(one.incomplete)} incomplete, {one.redelivered} told again"
        for one in outcomes.values()
    )


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("subscribers", 100), ("events", 10_000), ("most", 10), ("batch", 10), ("port", 18180)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--rate", type=float, default=50.0, help="events a second")
    parser.add_argument("--arms", nargs="*", default=["without", "with"], choices=["without", "with"])
    parser.add_argument("--json", action="store_true", dest="as_json")
    given = parser.parse_args()
    plan = Plan(subscribers=given.subscribers, events=given.events, rate=given.rate, most=given.most, batch=given.batch)
    outcomes = {one.name: one for one in measure(plan, given.port, given.arms)}
    print(json.dumps([asdict(one) for one in outcomes.values()], indent=1) if given.as_json else _lines(outcomes))
    sound = not any(one.disordered or one.incomplete for one in outcomes.values())
    if len(outcomes) < 2:
        return 0 if sound else 1
    ratio = outcomes["with"].p95 / outcomes["without"].p95
    print(f"p95 with the bad ones: {ratio:.2f} times that without (bar {BAR})", file=sys.stderr)
    return 0 if sound and ratio <= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
