"""A repository with the event system around it, and a subscriber that listens."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from server.events import topics
from server.events.dispatch import Answer, Dispatcher
from server.events.notify import Notifier
from server.events.subscriber import Subscribers
from server.events.subscriptions import checking
from server.fhir import definitions
from server.outbound.guard import Guard
from server.repository import Repository
from server.search.find import Search
from server.security.access import Access
from server.store.database import Database

ACCESS = Access(who="test", scopes=frozenset({"read", "write"}))
AVAILABLE = "https://hutong.example/fhir/SubscriptionTopic/imagingstudy-available"
BASE = "http://hutong.test/fhir"
_BACKPORT = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/"


class Listener:
    """A rest-hook endpoint whose answer can be changed."""

    def __init__(self) -> None:
        self.answer = 200
        self.bodies: list[bytes] = []
        self.paths: list[str] = []
        #: Those in JSON.
        self.bundles: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if listener.answer == 200:
                    listener.bodies.append(body)
                    listener.paths.append(self.path)
                    if "json" in self.headers["Content-Type"]:
                        listener.bundles.append(json.loads(body))
                    listener.headers.append(dict(self.headers))
                self.send_response(listener.answer)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"

    def kinds(self) -> list[str]:
        """The type of each notification."""
        return [_parameter(bundle, "type")["valueCode"] for bundle in self.bundles]

    def numbers(self) -> list[int]:
        """The event numbers, as they came."""
        found = []
        for bundle in self.bundles:
            for parameter in bundle["entry"][0]["resource"]["parameter"]:
                if parameter["name"] == "notification-event":
                    found += [int(part["valueString"]) for part in parameter["part"] if part["name"] == "event-number"]
        return found


def _parameter(bundle: dict[str, Any], name: str) -> dict[str, Any]:
    return next(item for item in bundle["entry"][0]["resource"]["parameter"] if item["name"] == name)


@pytest.fixture
def listener() -> Iterator[Listener]:
    opened = Listener()
    thread = threading.Thread(target=opened.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield opened
    opened.server.shutdown()
    thread.join()
    opened.server.server_close()


@pytest.fixture
def repository(database: Database) -> Repository:
    known = definitions.load()
    checks = (checking(topics.load(), Guard(loopback=True)),)
    return Repository(database, known, Search(known, BASE), checks=checks, prepare=Subscribers().kept)


@pytest.fixture
def dispatcher(database: Database, repository: Repository) -> Dispatcher:
    return Dispatcher(
        database=database,
        repository=repository,
        topics=topics.load(),
        answers={AVAILABLE: [Answer(task="plan", queue="events")]},
    )


@pytest.fixture
def notifier(database: Database, repository: Repository) -> Notifier:
    return Notifier(
        database=database,
        repository=repository,
        topics=topics.load(),
        guard=Guard(loopback=True),
        base=BASE,
        timeout=2,
        rights=lambda uow, tenant, id: ACCESS,
    )


def subscription(endpoint: str, *filters: str, content: str = "id-only", **more: Any) -> dict[str, Any]:
    """A Subscription to imagingstudy-available as a client would send it."""
    resource: dict[str, Any] = {
        "resourceType": "Subscription",
        "status": "requested",
        "reason": "test",
        "criteria": AVAILABLE,
        "channel": {
            "type": "rest-hook",
            "endpoint": endpoint,
            "header": ["X-Token: secret"],
            "payload": "application/fhir+json",
            "_payload": {"extension": [{"url": f"{_BACKPORT}backport-payload-content", "valueCode": content}]},
        },
    }
    if filters:
        extension = [{"url": f"{_BACKPORT}backport-filter-criteria", "valueString": text} for text in filters]
        resource["_criteria"] = {"extension": extension}
    return {**resource, **more}


def study(id: str = "s", modality: str = "CT", count: int = 5, patient: str = "p") -> dict[str, Any]:
    """An available study with one series."""
    return {
        "resourceType": "ImagingStudy",
        "id": id,
        "status": "available",
        "subject": {"reference": f"Patient/{patient}"},
        "series": [
            {
                "uid": f"1.2.{len(id)}",
                "modality": {"system": "http://dicom.nema.org/resources/ontology/DCM", "code": modality},
                "numberOfInstances": count,
            }
        ],
    }


def report(id: str, *results: str) -> dict[str, Any]:
    """A report made with artificial intelligence."""
    security = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "AIAST"}
    return {
        "resourceType": "DiagnosticReport",
        "id": id,
        "meta": {"security": [security]},
        "status": "final",
        "code": {"text": "CT"},
        "result": [{"reference": f"Observation/{result}"} for result in results],
    }
