"""$import of ndjson over HTTP, from a server of files on loopback; the job is run by hand."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from httpx import Client, Response

from server.errors import Forbidden, Unavailable
from server.operations.bulk import BulkRequests
from server.operations.export_job import Exporter
from server.operations.import_job import Importer
from server.outbound.guard import Guard
from server.repository import Repository

ASYNC = {"prefer": "respond-async"}
LOOPBACK = Guard(loopback=True)


class Files:
    """Files by name, and where they are."""

    def __init__(self, url: str, content: dict[str, bytes]) -> None:
        self.url = url
        self.content = content

    def add(self, name: str, *lines: Any) -> str:
        """A file of lines; text stands as it is."""
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        self.content[f"/{name}"] = "".join(f"{text}\n" for text in texts).encode()
        return f"{self.url}/{name}"


@pytest.fixture
def files() -> Iterator[Files]:
    content: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = content.get(self.path)
            self.send_response(404 if found is None else 200)
            self.send_header("Content-Length", str(len(found or b"")))
            self.end_headers()
            self.wfile.write(found or b"")

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Files(f"http://127.0.0.1:{server.server_port}", content)
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def run(repository: Repository, bulk_requests: BulkRequests) -> Callable[[str], None]:
    """Does the work of the request at a URL, three lines in a transaction."""

    def work(location: str) -> None:
        Importer(repository, bulk_requests, LOOPBACK, lines=3).run(1, location.rpartition("/")[2])

    return work


def asked(*inputs: tuple[str, str], **more: Any) -> dict[str, Any]:
    given: list[dict[str, Any]] = [
        {"name": "input", "part": [{"name": "type", "valueCode": kind}, {"name": "url", "valueUrl": url}]}
        for kind, url in inputs
    ]
    return {
        "resourceType": "Parameters",
        "parameter": [*given, *({"name": n, "valueCode": v} for n, v in more.items())],
    }


def kicked(fhir: Client, *inputs: tuple[str, str]) -> str:
    answer = fhir.post("/$import", json=asked(*inputs, inputFormat="application/fhir+ndjson"), headers=ASYNC)
    assert answer.status_code == 202, answer.text
    return answer.headers["content-location"]


def outcomes(fhir: Client, file: dict[str, Any]) -> list[str]:
    lines = [json.loads(line) for line in fhir.get(file["url"]).text.splitlines()]
    assert {line["resourceType"] for line in lines} == {file["type"]} == {"OperationOutcome"}
    assert len(lines) == file["count"]
    return [line["issue"][0]["details"]["text"] for line in lines]


def patient(id: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": id, **more}


def test_references_in_any_order_and_what_is_refused(fhir: Client, files: Files, run: Callable[[str], None]) -> None:
    subject = {"reference": "Patient/p1"}
    observation = {"resourceType": "Observation", "status": "final", "code": {"text": "体温"}, "subject": subject}
    first = files.add("o.ndjson", {**observation, "id": "o1"}, "", observation, {**observation, "status": "x"})
    second = files.add(
        "p.ndjson", patient("p1"), patient("p2"), "{", patient("p1", gender="male"), {"resourceType": "Basic"}
    )
    location = kicked(fhir, ("Observation", first), ("Patient", second))
    assert fhir.get(location).status_code == 202
    run(location)
    done = fhir.get(location).json()
    assert done["request"].endswith("/fhir/$import") and "deleted" not in done
    assert [file["inputUrl"] for file in done["output"]] == [first, second]
    assert [outcomes(fhir, file) for file in done["output"]] == [
        ["4 lines were read, 1 of them refused."], ["5 lines were read, 2 of them refused."],
    ]  # fmt: skip
    errors = [outcomes(fhir, file) for file in done["error"]]
    assert [[text.split(":")[0] for text in one] for one in errors] == [["Line 4"], ["Line 3", "Line 5"]]
    assert [file["inputUrl"] for file in done["error"]] == [first, second]
    assert fhir.get("/Observation?patient=p1").json()["total"] == 2
    assert fhir.get("/Patient/p1").json()["gender"] == "male" and fhir.get("/Patient").json()["total"] == 2
    # What was fetched is not given on.
    assert fhir.get(f"{location}/input-0001.ndjson").status_code == 404
    # Again: nothing changes where ids are given.
    run(kicked(fhir, ("Patient", files.add("again.ndjson", patient("p2")))))
    assert fhir.get("/Patient/p2").json()["meta"]["versionId"] == "1"


def test_taken_up_again(
    fhir: Client, files: Files, run: Callable[[str], None], repository: Repository, bulk_requests: BulkRequests,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Lines without an id are created once each, whenever the worker dies."""
    lines = [{"resourceType": "Basic", "code": {"text": str(n)}} if n % 4 else "bad" for n in range(12)]
    location = kicked(fhir, ("Basic", files.add("b.ndjson", *lines)))
    batches = 0
    whole = Importer(repository, bulk_requests, LOOPBACK, lines=3)

    def dying(*arguments: Any, **named: Any) -> Any:
        nonlocal batches
        batches += 1
        if batches in (2, 4):
            raise RuntimeError("killed")
        return append(*arguments, **named)

    append = bulk_requests.files.append
    monkeypatch.setattr(bulk_requests.files, "append", dying)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="killed"):
            whole.run(1, location.rpartition("/")[2])
    run(location)
    done = fhir.get(location).json()
    assert outcomes(fhir, done["error"][0]) == [text for text in outcomes(fhir, done["error"][0]) if "Line" in text]
    assert [text.split(":")[0] for text in outcomes(fhir, done["error"][0])] == ["Line 1", "Line 5", "Line 9"]
    found = fhir.get("/Basic?_count=100").json()["entry"]
    assert sorted(int(one["resource"]["code"]["text"]) for one in found) == [n for n in range(12) if n % 4]


def test_what_one_exports_another_imports(
    fhir: Client, files: Files, run: Callable[[str], None], repository: Repository, bulk_requests: BulkRequests
) -> None:
    for number in range(5):
        fhir.put(f"/Patient/p{number}", json=patient(f"p{number}", birthDate=f"197{number}"))
    export = fhir.get("/$export?_type=Patient", headers=ASYNC).headers["content-location"]
    Exporter(repository, bulk_requests).run(1, export.rpartition("/")[2])
    url = fhir.get(export).json()["output"][0]["url"]
    for number in range(5):
        fhir.delete(f"/Patient/p{number}")
    assert fhir.get("/Patient").json()["total"] == 0
    run(kicked(fhir, ("Patient", url)))
    found = fhir.get("/Patient").json()["entry"]
    assert sorted(one["resource"]["birthDate"] for one in found) == ["1970", "1971", "1972", "1973", "1974"]


def test_cancelled_and_failed(
    fhir: Client, files: Files, run: Callable[[str], None], repository: Repository, bulk_requests: BulkRequests
) -> None:
    location = kicked(fhir, ("Patient", files.add("p.ndjson", patient("p"))))
    assert fhir.delete(location).status_code == 202
    run(location)
    assert fhir.get(location).status_code == 404 and fhir.get("/Patient/p").status_code == 404
    missing = kicked(fhir, ("Patient", f"{files.url}/none"))
    with pytest.raises(Unavailable, match="404"):
        run(missing)
    closed = Importer(repository, bulk_requests, Guard())
    with pytest.raises(Forbidden):
        closed.run(1, missing.rpartition("/")[2])


def refused(fhir: Client, body: dict[str, Any], **headers: str) -> Response:
    return fhir.post("/$import", json=body, headers={**ASYNC, **headers})


def test_what_is_refused(fhir: Client, files: Files) -> None:
    url = files.add("p.ndjson", patient("p"))
    good = asked(("Patient", url))
    assert fhir.post("/$import", json=good).status_code == 400
    assert fhir.get("/$import", headers=ASYNC).status_code == 400
    assert refused(fhir, good, who="ann", scopes="read").status_code == 403
    assert refused(fhir, asked(("Nothing", url))).status_code == 400
    assert refused(fhir, asked(("Patient", url), inputFormat="text/csv")).status_code == 400
    assert refused(fhir, asked()).status_code == 400
    only_type = {"name": "input", "part": [{"name": "type", "valueCode": "Patient"}]}
    assert refused(fhir, {"resourceType": "Parameters", "parameter": [only_type]}).status_code == 400
    assert refused(fhir, asked(("Patient", "file:///etc/passwd"))).status_code == 422
    assert refused(fhir, asked(("Patient", "http://user:secret@127.0.0.1/"))).status_code == 422
    # Addresses inside are nobody's to fetch from.
    assert refused(fhir, asked(("Patient", "http://169.254.169.254/latest"))).status_code == 403
