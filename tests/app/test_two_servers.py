"""Two servers over one external PostgreSQL behave as one: https://hl7.org/fhir/R4/http.html#concurrency."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import psycopg
import pytest

from benchmarks.fhir import conditional
from benchmarks.fhir.wire import Answer, Wire
from benchmarks.hostile.server import Tree
from benchmarks.hostile.wire import STOW, ask, multipart
from server.cli.demo.subscriber import Subscriber, number_and_focus
from tests.events.conftest import study, subscription
from tests.store.external import external_postgres

pytestmark = [pytest.mark.xdist_group("hostile"), pytest.mark.timeout(900)]
Resource = dict[str, Any]


class Pair(NamedTuple):
    """Two running servers, and the database under them."""

    database_url: str
    trees: tuple[Tree, Tree]
    wires: tuple[Wire, Wire]

    @property
    def bases(self) -> tuple[str, str]:
        first, second = (f"http://127.0.0.1:{tree.http_port}/fhir" for tree in self.trees)
        return first, second


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Started at the same moment over an empty database: both find that it is to be migrated."""
    folder = tmp_path_factory.mktemp("two")
    with external_postgres(folder) as url:
        first, second = (
            Tree(folder / name, database_url=url, blob_url=str(folder / "blobs"), study_quiet="0.5")
            for name in ("first", "second")
        )
        with ThreadPoolExecutor(2) as both:
            list(both.map(Tree.start, (first, second)))
        wires = tuple(Wire(f"http://127.0.0.1:{tree.http_port}/fhir") for tree in (first, second))
        yield Pair(url, (first, second), (wires[0], wires[1]))
        for wire in wires:
            wire.close()
        first.stop()
        second.stop()


def put(wire: Wire, resource: Resource) -> Answer:
    body = json.dumps(resource).encode()
    return wire.expect((200, 201), "PUT", f"/{resource['resourceType']}/{resource['id']}", body)


def bundle(wire: Wire, path: str) -> Resource:
    wire.close()
    found: Resource = json.loads(wire.expect((200,), "GET", path).body)
    return found


def ids(page: Resource) -> list[str]:
    return [entry["resource"]["id"] for entry in page.get("entry", [])]


def until(condition: Callable[[], bool], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.1)


def test_it_is_the_external_database(pair: Pair) -> None:
    with psycopg.connect(pair.database_url) as connection:
        row = connection.execute("select count(*) from resource").fetchone()
    assert row is not None
    assert not any((tree.data / "postgres").exists() for tree in pair.trees)


@pytest.mark.parametrize("turn", range(3))
def test_one_condition_creates_once(pair: Pair, turn: int) -> None:
    assert conditional.once(pair.bases) == {201: 1, 200: 63}


def test_what_one_writes_the_other_has_at_once(pair: Pair) -> None:
    first, second = pair.wires
    for number in range(20):
        put(first, {"resourceType": "Patient", "id": "seen", "name": [{"family": f"n{number}"}]})
        assert json.loads(second.expect((200,), "GET", "/Patient/seen").body)["name"][0]["family"] == f"n{number}"
        assert ids(bundle(second, f"/Patient?family:exact=n{number}")) == ["seen"]
        first, second = second, first


def test_a_version_is_written_once(pair: Pair) -> None:
    put(pair.wires[0], {"resourceType": "Patient", "id": "raced"})

    def update(number: int) -> int:
        wire = Wire(pair.bases[number % 2])
        body = json.dumps({"resourceType": "Patient", "id": "raced", "name": [{"text": str(number)}]}).encode()
        status = wire.ask("PUT", "/Patient/raced", body, If_Match='W/"1"').status
        wire.close()
        return status

    with ThreadPoolExecutor(16) as clients:
        assert Counter(clients.map(update, range(16))) == {200: 1, 412: 15}


def test_pages_begun_on_one_are_turned_on_the_other(pair: Pair) -> None:
    """And are of one moment, though both write meanwhile."""
    named = {"identifier": [{"system": "urn:pages", "value": "1"}]}
    for number in range(25):
        put(pair.wires[number % 2], {"resourceType": "Patient", "id": f"page-{number}", **named})
    page = bundle(pair.wires[0], "/Patient?identifier=urn:pages|1&_count=4")
    seen, turn = ids(page), 0
    while following := [link["url"] for link in page["link"] if link["relation"] == "next"]:
        put(pair.wires[turn % 2], {"resourceType": "Patient", "id": f"late-{turn}", **named})
        pair.wires[turn % 2].expect((204, 200), "DELETE", f"/Patient/page-{turn}")
        turn += 1
        parts = urlsplit(following[0])
        page = bundle(pair.wires[turn % 2], f"{parts.path.removeprefix('/fhir')}?{parts.query}")
        seen += ids(page)
    assert turn == 6
    assert sorted(seen) == sorted(f"page-{number}" for number in range(25))


def test_events_are_numbered_and_delivered_once(pair: Pair) -> None:
    with Subscriber() as subscriber:
        made = json.dumps(subscription(subscriber.endpoint)).encode()
        created = pair.wires[0].expect((201,), "POST", "/Subscription", made)
        id = json.loads(created.body)["id"]
        assert subscriber.wait("handshake", 60) is not None

        def write(number: int) -> None:
            wire = Wire(pair.bases[number % 2])
            for each in range(10):
                put(wire, study(f"event-{number}-{each}"))
            wire.close()

        with ThreadPoolExecutor(4) as clients:
            list(clients.map(write, range(4)))

        def told() -> list[tuple[int, str]]:
            return [event for one in subscriber.all_received() for event in number_and_focus(one)]

        until(lambda: len(set(told())) >= 40)
        time.sleep(2)
        numbers = [number for number, _ in told()]
        assert numbers == list(range(1, 41))
        assert len({focus for _, focus in told()}) == 40
        pair.wires[1].expect((200, 204), "DELETE", f"/Subscription/{id}")


def test_the_other_goes_on_when_one_dies(pair: Pair) -> None:
    """And what the dead one was at is taken up."""
    with Subscriber() as subscriber:
        pair.wires[0].expect((201,), "POST", "/Subscription", json.dumps(subscription(subscriber.endpoint)).encode())
        assert subscriber.wait("handshake", 60) is not None
        for number in range(6):
            put(pair.wires[number % 2], study(f"death-{number}"))
        pair.trees[0].kill()
        for number in range(6, 9):
            put(pair.wires[1], study(f"death-{number}"))

        def told() -> set[tuple[int, str]]:
            return {event for one in subscriber.all_received() for event in number_and_focus(one)}

        until(lambda: len(told()) >= 9)
        assert sorted(number for number, _ in told()) == list(range(1, 10))
    pair.trees[0].start()
    pair.wires[0].close()


def test_a_code_system_that_one_changes_is_changed_for_the_other(pair: Pair) -> None:
    def system(*codes: str) -> Resource:
        return {
            "resourceType": "CodeSystem", "id": "shared", "url": "urn:shared", "status": "active",
            "content": "complete", "concept": [{"code": code} for code in codes],
        }  # fmt: skip

    def knows(wire: Wire, code: str) -> bool:
        return wire.ask("GET", f"/CodeSystem/$lookup?system=urn:shared&code={code}").status == 200

    writer, reader = pair.wires
    writer.close()
    reader.close()
    codes: tuple[str, ...] = ()
    for number in range(5):
        codes = (*codes, f"c{number}")
        put(writer, system(*codes))
        assert knows(reader, f"c{number}") and knows(writer, f"c{number}")
        writer, reader = reader, writer
    put(writer, system("c0"))
    assert not knows(reader, "c4")


def test_a_study_sent_in_parts_to_both_is_one(pair: Pair) -> None:
    """Instances by either door; one ImagingStudy, made by one job of one of them."""
    from benchmarks.hostile.mutants import sound

    files = [sound(70_000_000 + number, study=70_000, size=64) for number in range(12)]
    for number, file in enumerate(files):
        port = pair.trees[number % 2].http_port
        answer = ask(port, "POST", "/dicomweb/studies", headers={"Content-Type": STOW}, body=multipart([file]))
        assert answer.status == 200, answer.body

    def studies(wire: Wire) -> list[Resource]:
        found = bundle(wire, "/ImagingStudy?status=available&_count=100").get("entry", [])
        return [one["resource"] for one in found if one["resource"].get("numberOfInstances") == 12]

    until(lambda: len(studies(pair.wires[0])) > 0)
    assert len(studies(pair.wires[1])) == 1
    for tree in pair.trees:
        answer = ask(tree.http_port, "GET", "/dicomweb/instances?limit=100", headers={"Accept": "application/json"})
        assert len(json.loads(answer.body)) == 12


def test_no_job_failed_and_none_ran_twice(pair: Pair) -> None:
    """Of what was deferred in the tests above; a job that its process's death interrupted may be tried again."""
    with psycopg.connect(pair.database_url) as connection:
        failed = connection.execute("select task_name from procrastinate_jobs where status = 'failed'").fetchall()
        twice = connection.execute(
            "select j.task_name, count(*) from procrastinate_jobs j join procrastinate_events e on e.job_id = j.id "
            "where e.type = 'succeeded' group by j.id having count(*) > 1"
        ).fetchall()
    assert failed == [] and twice == []


def test_a_token_made_beside_is_good_and_one_withdrawn_ends(pair: Pair, tmp_path: Path) -> None:
    """Within the second that a server may remember it."""
    from server.security.token import create
    from server.store.database import Database

    database = Database(pair.database_url)
    token = create(database, tenant=1, name="shared", scopes=frozenset({"read"}))
    bearer = {"Authorization": f"Bearer {token}"}
    ports = [tree.http_port for tree in pair.trees]
    assert [ask(port, "GET", "/fhir/Patient?_count=1", headers=bearer).status for port in ports] == [200, 200]
    with database.unit_of_work() as uow:
        uow.driver.execute("delete from token where name = 'shared'")
    database.close()
    time.sleep(1.2)
    assert [ask(port, "GET", "/fhir/Patient?_count=1", headers=bearer).status for port in ports] == [401, 401]
