"""The Worklist Service over real sockets, for tests: a server that can be restarted, and data sets to send it."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import orjson
import uvicorn
from websockets.sync.client import ClientConnection, connect

from server.fhir.definitions import load
from server.fhir.validate import validate
from server.http import workitems
from server.http.server import create
from server.http.uploads import UploadProtocol
from server.http.workitems import WorkitemServices
from server.imaging.workitem_subscriptions import WorkitemSubscriptions
from server.imaging.workitems import Workitems
from server.repository import Repository
from server.search.find import Search
from server.security.access import Access
from server.settings import Settings
from server.store.database import Database
from server.workflow.workitem_content import Place
from server.workflow.workitem_task import WorkitemTasks

STATE, TRANSACTION = "00741000", "00081195"
GLOBAL, FILTERED = "1.2.840.10008.5.1.4.34.5", "1.2.840.10008.5.1.4.34.5.1"


@dataclass
class Worklist:
    """One server and a client of it."""

    http: httpx.Client
    workitems: Workitems
    subscriptions: WorkitemSubscriptions
    tasks: WorkitemTasks

    def create(self, uid: str, **changes: Any) -> httpx.Response:
        return self.http.post(f"/workitems?{uid}", json=new(**changes))

    def state(self, uid: str, state: str, transaction: str = "1.2.3") -> httpx.Response:
        return self.http.put(f"/workitems/{uid}/state", json=asked(state, transaction))

    def read(self, uid: str) -> dict[str, Any]:
        found: dict[str, Any] = self.http.get(f"/workitems/{uid}").raise_for_status().json()[0]
        return found

    def found(self, **parameters: str) -> list[str]:
        response = self.http.get("/workitems", params=parameters).raise_for_status()
        return [item["00080018"]["Value"][0] for item in response.json()]

    @contextmanager
    def channel(self, title: str) -> Iterator[ClientConnection]:
        url = str(self.http.base_url).replace("http", "ws", 1).rstrip("/")
        with connect(f"{url}/subscribers/{title}") as socket:
            yield socket


def element(vr: str, *values: Any) -> dict[str, Any]:
    return {"vr": vr, "Value": list(values)}


def new(**changes: Any) -> dict[str, Any]:
    """A workitem to be created; a keyword ``t00741200`` replaces an attribute, None leaves it out."""
    dataset = {
        STATE: element("CS", "SCHEDULED"),
        "00741200": element("CS", "LOW"),
        "00741204": element("LO", "Look at it"),
        "00741202": element("LO", "Ours"),
        "00404005": element("DT", "20260101120000"),
        "00404041": element("CS", "READY"),
        "00100010": element("PN", {"Alphabetic": "Hu^Tong"}),
        "00100020": element("LO", "P1"),
        "00404018": {"vr": "SQ", "Value": [code("AI1", "Analysis")]},
        "00404025": {"vr": "SQ", "Value": [code("GPU1", "The first")]},
    }
    for name, value in changes.items():
        if value is None:
            del dataset[name.removeprefix("t")]
        else:
            dataset[name.removeprefix("t")] = value
    return dataset


def code(value: str, meaning: str) -> dict[str, Any]:
    return {"00080100": element("SH", value), "00080102": element("SH", "99TEST"), "00080104": element("LO", meaning)}


def asked(state: str, transaction: str = "1.2.3") -> dict[str, Any]:
    dataset = {STATE: element("CS", state)}
    return dataset | ({TRANSACTION: element("UI", transaction)} if transaction else {})


def performed(transaction: str = "1.2.3", *, outputs: tuple[tuple[str, str], ...] = ()) -> dict[str, Any]:
    """The update that meets the requirements of COMPLETED; ``outputs`` are SOP classes and instances."""
    output = {
        "00081199": {
            "vr": "SQ",
            "Value": [{"00081150": element("UI", kind), "00081155": element("UI", uid)} for kind, uid in outputs],
        }
    }
    item = {
        "00404028": {"vr": "SQ", "Value": [code("GPU1", "The first")]},
        "00404050": element("DT", "20260101120000"),
        "00404019": {"vr": "SQ", "Value": [code("AI1", "Analysis")]},
        "00404051": element("DT", "20260101120100"),
        "00404033": {"vr": "SQ", "Value": [output]} if outputs else {"vr": "SQ"},
    }
    return {TRANSACTION: element("UI", transaction), "00741216": {"vr": "SQ", "Value": [item]}}


def discontinued(transaction: str = "1.2.3") -> dict[str, Any]:
    """The update that meets the requirements of CANCELED."""
    reason = {"vr": "SQ", "Value": [code("110513", "Discontinued for unspecified reason")]}
    item = {"0074100E": reason, "00741238": element("LT", "Out of memory")}
    return {TRANSACTION: element("UI", transaction), "00741002": {"vr": "SQ", "Value": [item]}}


def report(socket: ClientConnection, seconds: float = 10) -> dict[str, Any]:
    """The next event report."""
    message = socket.recv(timeout=seconds)
    assert isinstance(message, str)
    found: dict[str, Any] = orjson.loads(message)
    return found


def said(event: dict[str, Any]) -> tuple[int, str, str]:
    """Event type, workitem and state."""
    state = event.get(STATE, {}).get("Value", [""])[0]
    return event["00001002"]["Value"][0], event["00001000"]["Value"][0], state


@contextmanager
def worklist(database: Database, settings: Settings, *, external: frozenset[str] = frozenset()) -> Iterator[Worklist]:
    """A server on a port of its own, until the block ends."""
    definitions = load()
    tasks = WorkitemTasks(external=external, place=Place(url="http://hutong.test/dicomweb", title="HUTONG"))
    repository = Repository(database, definitions, Search(definitions), validate=validate, followers=(tasks.shown,))
    items = Workitems(repository=repository, orders=tasks, label="HUTONG")
    subscriptions = WorkitemSubscriptions(database=database)
    services = WorkitemServices(
        settings=settings, workitems=items, subscriptions=subscriptions,
        access=lambda request: Access(
            who="test", scopes=frozenset(request.headers.get("scopes", "read write").split())
        ),
    )  # fmt: skip
    app = create([workitems.router(services)])
    config = uvicorn.Config(app, port=0, http=UploadProtocol, proxy_headers=False, log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    with httpx.Client(base_url=f"http://127.0.0.1:{port}/dicomweb", timeout=30) as client:
        yield Worklist(http=client, workitems=items, subscriptions=subscriptions, tasks=tasks)
    server.should_exit = True
    thread.join(timeout=10)
