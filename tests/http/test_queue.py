"""The queue to peers over HTTP and by the command line."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn
from typer.testing import CliRunner

from server.cli.commands import application
from server.errors import NotFound, Unreachable
from server.http import queue, server
from server.http.access import AccessOfRequest
from server.security import token
from server.settings import Peer, Settings
from server.store import fetches
from server.store import forward as store
from server.store.database import Database
from server.workflow.delivery_queue import DeliveryQueue
from tests.orthanc import free_port

PEERS = (Peer(name="pacs", ae_title="PACS", port=1),)


@pytest.fixture
def web(settings: Settings, database: Database) -> Iterator[httpx.Client]:
    with database.unit_of_work() as uow:
        store.queue(uow, 1, peer="pacs", study="1.2.3", rule="all", instances=["1.2.3.1", "1.2.3.2"], rank=0)
        store.queue(uow, 1, peer="gone", study="1.2.4", rule="all", instances=["1.2.4.1"])
    app = server.create(
        [queue.router(DeliveryQueue(database=database, peers=PEERS), AccessOfRequest(settings, database))]
    )
    running = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off"))
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    while not running.started:
        time.sleep(0.01)
    port = running.servers[0].sockets[0].getsockname()[1]
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        yield client
    running.should_exit = True
    thread.join(timeout=10)


def test_the_queue_is_listed_and_changed(web: httpx.Client) -> None:
    listed = web.get("/queue").json()
    assert [(one["peer"], one["configured"], one["waiting"]) for one in listed["peers"]] == [
        ("gone", False, 1),
        ("pacs", True, 1),
    ]
    line = next(one for one in listed["deliveries"] if one["peer"] == "pacs")
    assert (line["state"], line["priority"], line["instances"], line["sent"]) == ("waiting", "high", 2, 0)
    number = line["number"]
    assert web.post(f"/queue/{number}/retry").json() == {"retried": 1}
    assert web.post(f"/queue/{number}/drop").json() == {"dropped": 1}
    assert [one["peer"] for one in web.get("/queue").json()["deliveries"]] == ["gone"]
    everything = web.get("/queue?everything=true&peer=pacs").json()["deliveries"]
    assert [one["state"] for one in everything] == ["dropped"]
    assert web.post(f"/queue/{number}/retry").json() == {"retried": 1}


def test_what_is_not_there_is_named(web: httpx.Client) -> None:
    assert web.get("/queue?peer=nobody").status_code == 404
    assert web.post("/queue/999/drop").status_code == 404
    assert web.post("/queue/999/retry").status_code == 404


def test_only_administrators_and_no_foreign_pages(database: Database, settings: Settings, web: httpx.Client) -> None:
    reader = token.create(database, tenant=1, name="reader", scopes=frozenset({"read", "write"}))
    assert web.get("/queue", headers={"Authorization": f"Bearer {reader}"}).status_code == 403
    assert web.post("/queue/1/drop", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403


def test_the_command_line_does_the_same(web: httpx.Client, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUTONG_DATABASE_URL", database_url)
    monkeypatch.setenv("HUTONG_PEERS", "pacs=PACS@127.0.0.1:1")

    def ran(*words: str) -> dict[str, object]:
        result = CliRunner().invoke(application(), [*words, "--json"])
        assert result.exit_code == 0, result.output
        found: dict[str, object] = json.loads(result.output)
        return found

    listed = web.get("/queue").json()
    assert [one["number"] for one in ran("queue", "list")["deliveries"]] == [  # type: ignore[attr-defined]
        one["number"] for one in listed["deliveries"]
    ]
    assert ran("queue", "retry", "--peer", "pacs") == {"retried": 1}
    assert ran("queue", "drop", "--peer", "gone") == {"dropped": 1}
    assert CliRunner().invoke(application(), ["queue", "list", "--all"]).exit_code == 0


def test_peers_are_listed_and_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUTONG_PEERS", f"a=PACS@127.0.0.1:{free_port()},b=http://127.0.0.1:{free_port()}/dicomweb")
    result = CliRunner().invoke(application(), ["peers", "list", "--json"])
    assert [one["peer"] for one in json.loads(result.output)["peers"]] == ["a", "b"]
    result = CliRunner().invoke(application(), ["peers", "echo", "--json"])
    assert result.exit_code == 1
    rows = json.loads(result.output)["peers"]
    assert [(row["by"], row["answers"]) for row in rows] == [("C-ECHO", False), ("DICOMweb", False)]
    assert "could not be reached" in rows[0]["why"]


def test_the_command_line_fetches(
    database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HUTONG_DATABASE_URL", database_url)
    monkeypatch.setenv("HUTONG_PEERS", f"away=http://127.0.0.1:{free_port()}/dicomweb")
    run = CliRunner().invoke
    with database.unit_of_work() as uow:
        fetches.request(uow, 1, peer="away", study="1.2.3", by="test", senders=["peer:away"], prior=True)
    listed = run(application(), ["fetch", "--data", str(tmp_path), "--json"])
    assert [one["study"] for one in json.loads(listed.output)["fetches"]] == ["1.2.3"]
    assert "1.2.3" in run(application(), ["fetch", "--data", str(tmp_path)]).output
    for words, error in ((["nobody", "--study", "1.2"], NotFound), (["away", "--study", "1.2"], Unreachable)):
        assert isinstance(run(application(), ["fetch", *words, "--data", str(tmp_path)]).exception, error)
