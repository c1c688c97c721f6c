"""$status and $events over HTTP."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from sqlalchemy import text

from server.events.dispatch import Dispatcher
from server.events.notify import Notifier
from server.http.fhir import FhirServices, router
from server.operations.served import served
from server.repository import Repository
from server.security.access import Access
from server.store.database import Database
from tests.events.conftest import AVAILABLE, Listener, study, subscription
from tests.events.test_dispatch import ACCESS, listen


@pytest.fixture
def client(repository: Repository) -> Iterator[httpx.Client]:
    app = FastAPI()
    reader = Access(who="reader")
    services = FhirServices(
        repository=repository, access=lambda _: reader, operations=served(repository), topics=(AVAILABLE,)
    )
    app.include_router(router(services))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as opened:
        yield opened
    server.should_exit = True
    thread.join()


def parameters(resource: dict[str, Any]) -> dict[str, Any]:
    return {item["name"]: item for item in resource["parameter"]}


def numbers(bundle: dict[str, Any]) -> list[str]:
    events = [
        item["part"] for item in bundle["entry"][0]["resource"]["parameter"] if item["name"] == "notification-event"
    ]
    return [part["valueString"] for event in events for part in event if part["name"] == "event-number"]


def test_status_and_events(
    client: httpx.Client, repository: Repository, dispatcher: Dispatcher, notifier: Notifier, listener: Listener,
    database: Database,
) -> None:  # fmt: skip
    id = listen(repository, dispatcher, notifier, listener.url)
    waiting = str(repository.create(ACCESS, subscription(listener.url)).resource["id"])
    for name in "abc":
        repository.update(ACCESS, study(name))
    dispatcher.run()
    all_of_them = client.get("/fhir/Subscription/$status").json()
    assert (all_of_them["type"], len(all_of_them["entry"])) == ("searchset", 2)
    active = client.get("/fhir/Subscription/$status", params={"status": "active"}).json()
    (found,) = [parameters(entry["resource"]) for entry in active["entry"]]
    assert found["subscription"]["valueReference"]["reference"].endswith(f"/fhir/Subscription/{id}")
    assert found["type"]["valueCode"] == "query-status"
    assert found["events-since-subscription-start"]["valueString"] == "3"
    one = client.get(f"/fhir/Subscription/{waiting}/$status").json()
    assert parameters(one["entry"][0]["resource"])["status"]["valueCode"] == "requested"

    assert numbers(client.get(f"/fhir/Subscription/{id}/$events").json()) == ["1", "2", "3"]
    body = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "eventsSinceNumber", "valueString": "2"},
            {"name": "eventsUntilNumber", "valueString": "2"},
            {"name": "content", "valueCode": "full-resource"},
        ],
    }
    bundle = client.post(f"/fhir/Subscription/{id}/$events", json=body).json()
    assert numbers(bundle) == ["2"]
    assert bundle["type"] == "history"
    assert bundle["entry"][1]["resource"]["id"] == "b"
    assert parameters(bundle["entry"][0]["resource"])["type"]["valueCode"] == "query-event"
    assert "error" not in parameters(bundle["entry"][0]["resource"])
    with database.unit_of_work() as uow:
        uow.execute(text("delete from event where number = 1"))
    kept = client.get(f"/fhir/Subscription/{id}/$events").json()
    assert "before number 2" in parameters(kept["entry"][0]["resource"])["error"]["valueCodeableConcept"]["text"]


def test_the_topics_are_told(client: httpx.Client) -> None:
    rest = client.get("/fhir/metadata").json()["rest"][0]
    (resource,) = [one for one in rest["resource"] if one["type"] == "Subscription"]
    assert AVAILABLE in [one["valueCanonical"] for one in resource["extension"]]
    assert resource["supportedProfile"][0].endswith("backport-subscription")
    assert {one["name"] for one in resource["operation"]} >= {"status", "events", "validate"}


def test_what_can_t_be_answered(client: httpx.Client) -> None:
    missing = client.get("/fhir/Subscription/none/$status")
    assert (missing.status_code, missing.json()["resourceType"]) == (404, "OperationOutcome")
    assert client.get("/fhir/Subscription/none/$events", params={"eventsSinceNumber": "x"}).status_code == 400
