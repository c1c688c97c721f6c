"""$export over HTTP, by the Bulk Data Access guide; the job is run by hand, to look at each of its steps."""

import gzip
import json
from collections.abc import Callable
from typing import Any

import pytest
from httpx import Client, Response

from server.fhir.definitions import load
from server.fhir.validate import validate
from server.operations.bulk import BulkRequests
from server.operations.export_job import Exporter
from server.repository import Repository
from server.store.database import Database

ASYNC = {"prefer": "respond-async", "accept": "application/fhir+json"}
Run = Callable[[str], None]


@pytest.fixture
def run(repository: Repository, bulk_requests: BulkRequests) -> Run:
    """Does the work of the request at a URL; two resources in a file."""

    def work(location: str) -> None:
        Exporter(repository, bulk_requests, most=2).run(1, location.rpartition("/")[2])

    return work


def put(fhir: Client, resource: dict[str, Any]) -> None:
    answer = fhir.put(f"/{resource['resourceType']}/{resource['id']}", json=resource)
    assert answer.status_code in (200, 201), answer.text


def observation(id: str, patient: str, **more: Any) -> dict[str, Any]:
    subject = {"reference": f"Patient/{patient}"}
    return {
        "resourceType": "Observation",
        "id": id,
        "status": "final",
        "code": {"text": id},
        "subject": subject,
        **more,
    }


@pytest.fixture
def chart(fhir: Client) -> None:
    """Three patients, what there is about them, and what is about nobody."""
    put(fhir, {"resourceType": "Organization", "id": "org", "name": "Clinic"})
    put(fhir, {"resourceType": "Organization", "id": "elsewhere", "name": "Other"})
    put(
        fhir,
        {
            "resourceType": "Patient",
            "id": "a",
            "gender": "female",
            "managingOrganization": {"reference": "Organization/org"},
        },
    )
    put(fhir, {"resourceType": "Patient", "id": "b", "gender": "male"})
    put(fhir, {"resourceType": "Patient", "id": "c"})
    for number, patient in enumerate("aaab"):
        put(fhir, observation(f"o{number}", patient))
    put(fhir, observation("amended", "a", status="amended", valueQuantity={"value": 1.10}))
    put(fhir, {"resourceType": "Observation", "id": "nobody", "status": "final", "code": {"text": "x"}})
    target = {"target": [{"reference": "Observation/o3"}], "recorded": "2024-01-01T00:00:00Z"}
    put(fhir, {"resourceType": "Provenance", "id": "p", **target, "agent": [{"who": {"display": "x"}}]})
    member = [{"entity": {"reference": "Patient/a"}}, {"entity": {"reference": "Patient/c"}, "inactive": True}]
    put(fhir, {"resourceType": "Group", "id": "g", "type": "person", "actual": True, "member": member})
    nested = [{"entity": {"reference": "Group/g"}}, {"entity": {"reference": "Patient/b"}}]
    put(fhir, {"resourceType": "Group", "id": "all", "type": "person", "actual": True, "member": nested})


def kicked(fhir: Client, path: str, **more: Any) -> str:
    answer = fhir.get(path, headers=ASYNC, **more)
    assert answer.status_code == 202, answer.text
    assert answer.json()["resourceType"] == "OperationOutcome"
    return answer.headers["content-location"]


def given(fhir: Client, manifest: dict[str, Any], kind: str = "output") -> dict[str, list[str]]:
    """Type -> ids in the files, each file of one type and of the length that it says."""
    found: dict[str, list[str]] = {}
    for file in manifest[kind]:
        answer = fhir.get(file["url"])
        assert answer.status_code == 200 and answer.headers["content-type"] == "application/fhir+ndjson"
        lines = [json.loads(line) for line in answer.text.splitlines()]
        if kind == "output":
            assert {line["resourceType"] for line in lines} == {file["type"]} and len(lines) == file["count"] <= 2
            found.setdefault(file["type"], []).extend(line["id"] for line in lines)
        else:
            for line in lines:
                assert list(validate(load(), line)) == []
            entries = [entry for line in lines for entry in line["entry"]]
            found.setdefault(file["type"], []).extend(entry["request"]["url"] for entry in entries)
    return found


def exported(fhir: Client, run: Run, path: str) -> dict[str, list[str]]:
    location = kicked(fhir, path)
    run(location)
    answer = fhir.get(location)
    assert answer.status_code == 200, answer.text
    return given(fhir, answer.json())


@pytest.mark.usefixtures("chart")
def test_system(fhir: Client, run: Run) -> None:
    location = kicked(fhir, "/$export?_type=Patient,Observation&_outputFormat=ndjson")
    waiting = fhir.get(location)
    assert waiting.status_code == 202 and waiting.headers["x-progress"] == "accepted"
    assert int(waiting.headers["retry-after"]) >= 1 and not waiting.content
    run(location)
    done = fhir.get(location, headers={"accept": "application/json"})
    assert done.status_code == 200 and done.headers["content-type"] == "application/json"
    assert done.headers["expires"].endswith("GMT")
    manifest = done.json()
    assert manifest["request"].endswith("/fhir/$export?_type=Patient%2CObservation&_outputFormat=ndjson")
    assert manifest["requiresAccessToken"] is True and manifest["error"] == []
    assert given(fhir, manifest) == {
        "Observation": ["amended", "nobody", "o0", "o1", "o2", "o3"], "Patient": ["a", "b", "c"],
    }  # fmt: skip
    # Byte for byte what is stored, decimals too, in parts and packed as well.
    url = manifest["output"][0]["url"]
    whole = fhir.get(url, headers={"accept-encoding": "identity"})
    assert "1.1}" in whole.text and whole.text.splitlines()[0].encode() == fhir.get("/Observation/amended").content
    assert fhir.get(url, headers={"range": "bytes=0-9"}).text == whole.text[:10]
    with fhir.stream("GET", url, headers={"accept-encoding": "gzip"}) as answer:
        assert gzip.decompress(b"".join(answer.iter_raw())) == whole.content
    assert fhir.get(f"{location}/Patient-9999.ndjson").status_code == 404
    assert fhir.get(f"{location}/..%2Fx").status_code == 404


@pytest.mark.usefixtures("chart")
def test_everything_there_is(fhir: Client, run: Run) -> None:
    found = exported(fhir, run, "/$export")
    assert {kind: len(ids) for kind, ids in found.items()} == {
        "Group": 2, "Observation": 6, "Organization": 2, "Patient": 3, "Provenance": 1,
    }  # fmt: skip


@pytest.mark.usefixtures("chart")
def test_patients_and_groups(fhir: Client, run: Run) -> None:
    whole = exported(fhir, run, "/Patient/$export")
    assert whole == {
        "Group": ["all", "g"], "Observation": ["amended", "o0", "o1", "o2", "o3"], "Patient": ["a", "b", "c"],
        "Provenance": ["p"],
    }  # fmt: skip
    # An inactive member is none.
    assert exported(fhir, run, "/Group/g/$export?_type=Patient&_type=Observation,Provenance") == {
        "Observation": ["amended", "o0", "o1", "o2"], "Patient": ["a"],
    }  # fmt: skip
    # Groups in Groups; what lies outside of the compartment as far as it is referred to.
    assert exported(fhir, run, "/Group/all/$export?_type=Patient,Organization") == {
        "Organization": ["org"], "Patient": ["a", "b"],
    }  # fmt: skip
    # Provenance of what is in the compartments, whether that is given or not.
    assert exported(fhir, run, "/Group/all/$export?_type=Provenance") == {"Provenance": ["p"]}
    assert exported(fhir, run, "/Group/g/$export?_type=Provenance") == {}
    assert fhir.get("/Group/none/$export", headers=ASYNC).status_code == 404


@pytest.mark.usefixtures("chart")
def test_named_patients(fhir: Client, run: Run) -> None:
    def body(*patients: str) -> dict[str, Any]:
        named = [{"name": "patient", "valueReference": {"reference": f"Patient/{one}"}} for one in patients]
        return {"resourceType": "Parameters", "parameter": [*named, {"name": "_type", "valueString": "Observation"}]}

    answer = fhir.post("/Patient/$export", json=body("b"), headers=ASYNC)
    run(answer.headers["content-location"])
    assert given(fhir, fhir.get(answer.headers["content-location"]).json()) == {"Observation": ["o3"]}
    answer = fhir.post("/Group/g/$export", json=body("a"), headers=ASYNC)
    run(answer.headers["content-location"])
    assert len(given(fhir, fhir.get(answer.headers["content-location"]).json())["Observation"]) == 4
    refused = fhir.post("/Group/g/$export", json=body("b"), headers=ASYNC)
    assert refused.status_code == 400 and "Patient/b in Group/g" in refused.text
    assert fhir.post("/Patient/$export", json=body("none"), headers=ASYNC).status_code == 400
    assert fhir.get("/Patient/$export?patient=Patient/a", headers=ASYNC).status_code == 400
    assert fhir.post("/$export", json=body("a"), headers=ASYNC).status_code == 400


@pytest.mark.usefixtures("chart")
def test_filters(fhir: Client, run: Run) -> None:
    asked = "/$export?_type=Observation,Patient&_typeFilter="
    assert exported(fhir, run, f"{asked}Observation%3Fstatus%3Damended") == {
        "Observation": ["amended"], "Patient": ["a", "b", "c"],
    }  # fmt: skip
    # Several are alternatives, divided by commas or repeated; a comma within one is its own.
    both = exported(
        fhir, run, f"{asked}Observation%3Fstatus%3Damended,Observation%3Fsubject%3DPatient/b,Patient%3Fgender%3Dmale"
    )
    assert both == {"Observation": ["amended", "o3"], "Patient": ["b"]}
    assert exported(fhir, run, f"{asked}Patient%3Fgender%3Dmale,female&_typeFilter=Observation%3F_id%3Do0") == {
        "Observation": ["o0"], "Patient": ["a", "b"],
    }  # fmt: skip
    packed = exported(fhir, run, f"{asked}Patient%3Fgender%3Dmale%252Cfemale")
    assert packed["Patient"] == ["a", "b"]
    assert exported(fhir, run, "/Patient/$export?_type=Observation&_typeFilter=Observation%3Fstatus%3Dfinal") == {
        "Observation": ["o0", "o1", "o2", "o3"],
    }  # fmt: skip


@pytest.mark.parametrize(
    "asked",
    [
        "_outputFormat=csv", "_type=Nothing", "_since=2024", "_since=x", "nonsense=1", "includeAssociatedData=x",
        "_typeFilter=Observation", "_typeFilter=Observation%3Fnonsense%3D1", "_typeFilter=Observation%3F_sort%3Ddate",
        "_type=Patient&_typeFilter=Observation%3Fstatus%3Dfinal",
        "_since=2024-01-01T00:00:00Z&_since=2024-01-01T00:00:00Z",
    ],
)  # fmt: skip
def test_what_is_refused(fhir: Client, asked: str) -> None:
    answer = fhir.get(f"/$export?{asked}", headers=ASYNC)
    assert answer.status_code == 400, answer.text
    assert answer.json()["resourceType"] == "OperationOutcome"


def test_without_the_header_it_is_refused(fhir: Client) -> None:
    answer = fhir.get("/$export")
    assert answer.status_code == 400 and "respond-async" in answer.text
    assert fhir.get("/Patient/$export?_type=Organization", headers=ASYNC).status_code == 400
    lenient = {"prefer": "respond-async, handling=lenient"}
    assert (
        fhir.get("/$export?nonsense=1&includeAssociatedData=x&_type=Patient,Nothing", headers=lenient).status_code
        == 202
    )


@pytest.mark.usefixtures("chart")
def test_since_tells_what_was_deleted(fhir: Client, run: Run) -> None:
    location = kicked(fhir, "/$export?_type=Patient")
    run(location)
    since = fhir.get("/Patient/c").json()["meta"]["lastUpdated"]
    assert fhir.get(location).json()["transactionTime"] < since
    for number in range(3):
        put(fhir, {"resourceType": "Basic", "id": f"gone{number}", "code": {"text": "x"}})
        assert fhir.delete(f"/Basic/gone{number}").status_code == 204
    location = kicked(fhir, f"/$export?_since={since}")
    run(location)
    manifest = fhir.get(location).json()
    assert sorted(given(fhir, manifest)) == ["Group", "Observation", "Patient", "Provenance"]
    assert given(fhir, manifest, "deleted") == {"Bundle": ["Basic/gone0", "Basic/gone1", "Basic/gone2"]}
    assert len(manifest["deleted"]) == 2


@pytest.mark.usefixtures("chart")
def test_elements(fhir: Client, run: Run) -> None:
    location = kicked(fhir, "/$export?_type=Patient,Observation&_elements=Patient.gender,id")
    run(location)
    for file in fhir.get(location).json()["output"]:
        for line in fhir.get(file["url"]).text.splitlines():
            resource = json.loads(line)
            assert resource["meta"]["tag"][0]["code"] == "SUBSETTED"
            assert not {"managingOrganization", "subject"} & set(resource)
            # What a resource can't do without stays.
            assert "code" in resource or resource["resourceType"] == "Patient"


@pytest.mark.usefixtures("chart")
def test_one_moment(fhir: Client, repository: Repository, bulk_requests: BulkRequests) -> None:
    """What is written while the files are, is not in them; what is changed or deleted is there as it was."""
    location = kicked(fhir, "/$export?_type=Observation")
    name = location.rpartition("/")[2]
    changes = 0

    def change() -> None:
        nonlocal changes
        changes += 1
        if changes == 1:
            put(fhir, observation("o0", "c"))
            put(fhir, observation("o00", "c"))
            assert fhir.delete("/Observation/o1").status_code == 204

    Exporter(repository, _Telling(bulk_requests, change), most=2).run(1, name)
    assert changes == 3
    manifest = fhir.get(location).json()
    assert given(fhir, manifest) == {"Observation": ["amended", "nobody", "o0", "o1", "o2", "o3"]}
    texts = "".join(fhir.get(file["url"]).text for file in manifest["output"])
    assert "Patient/c" not in texts and fhir.get("/Observation/o1").status_code == 410


@pytest.mark.usefixtures("chart")
def test_taken_up_again(fhir: Client, repository: Repository, bulk_requests: BulkRequests, run: Run) -> None:
    """A job that dies between two files leaves those that are finished, and goes on behind them."""
    location = kicked(fhir, "/$export?_type=Observation,Patient")
    writes = 0

    def die() -> None:
        nonlocal writes
        writes += 1
        if writes == 3:
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        Exporter(repository, _Telling(bulk_requests, die), most=2).run(1, location.rpartition("/")[2])
    between = fhir.get(location)
    assert between.status_code == 202 and between.headers["x-progress"] == "4 of 9 resources"
    put(fhir, observation("later", "a"))
    run(location)
    assert given(fhir, fhir.get(location).json()) == {
        "Observation": ["amended", "nobody", "o0", "o1", "o2", "o3"], "Patient": ["a", "b", "c"],
    }  # fmt: skip


@pytest.mark.usefixtures("chart")
def test_cancelled(fhir: Client, repository: Repository, bulk_requests: BulkRequests, run: Run) -> None:
    location = kicked(fhir, "/$export")
    ended: list[Response] = []

    def end() -> None:
        if not ended:
            ended.append(fhir.delete(location))

    Exporter(repository, _Telling(bulk_requests, end), most=2).run(1, location.rpartition("/")[2])
    assert ended[0].status_code == 202
    assert fhir.get(location).status_code == 404 and fhir.delete(location).status_code == 404
    folder = bulk_requests.files.path(1, location.rpartition("/")[2], "x").parent
    assert not folder.exists()
    # One that is not begun, and one that is done.
    for done in (False, True):
        location = kicked(fhir, "/$export?_type=Patient")
        if done:
            run(location)
        assert fhir.delete(location).status_code == 202
        run(location)
        assert fhir.get(location).status_code == 404
        assert not bulk_requests.files.path(1, location.rpartition("/")[2], "x").parent.exists()


@pytest.mark.usefixtures("chart")
def test_expiry(fhir: Client, run: Run, bulk_requests: BulkRequests, database: Database) -> None:
    location = kicked(fhir, "/$export?_type=Patient")
    run(location)
    file = fhir.get(location).json()["output"][0]["url"]
    assert bulk_requests.forget() == 0 and fhir.get(file).status_code == 200
    with database.unit_of_work() as uow:
        uow.driver.execute("update bulk_request set expires = clock_timestamp() - interval '1 second'")
    assert fhir.get(location).status_code == 404 and fhir.get(file).status_code == 404
    assert bulk_requests.forget() == 1 and bulk_requests.forget() == 0
    assert not bulk_requests.files.path(1, location.rpartition("/")[2], "x").parent.exists()


@pytest.mark.usefixtures("chart")
def test_a_failure_is_told(fhir: Client, repository: Repository, bulk_requests: BulkRequests) -> None:
    location = kicked(fhir, "/$export")
    arguments = {"tenant": 1, "request": location.rpartition("/")[2]}
    Exporter(repository, bulk_requests).failed("The disk is full.", arguments)
    answer = fhir.get(location)
    assert answer.status_code == 500 and answer.json()["issue"][0]["details"]["text"] == "The disk is full."
    Exporter(repository, bulk_requests).run(**arguments)
    assert fhir.get(location).status_code == 500


@pytest.mark.usefixtures("chart")
def test_whose_it_is(fhir: Client, run: Run, database: Database) -> None:
    """Only who asked, and an admin, sees the state and each of the files; both are in the audit."""
    ann, bob, boss = (
        {"who": who, "scopes": scopes} for who, scopes in (("ann", "read"), ("bob", "read"), ("x", "admin"))
    )
    assert fhir.get("/$export", headers={**ASYNC, "who": "ann", "scopes": "write"}).status_code == 403
    answer = fhir.get("/$export?_type=Patient", headers={**ASYNC, **ann})
    location = answer.headers["content-location"]
    run(location)
    file = fhir.get(location, headers=ann).json()["output"][0]["url"]
    assert [fhir.get(url, headers=bob).status_code for url in (location, file)] == [404, 404]
    assert fhir.delete(location, headers=bob).status_code == 404
    assert [fhir.get(url, headers=boss).status_code for url in (location, file)] == [200, 200]
    assert fhir.get(file, headers=ann).status_code == 200
    assert fhir.delete(location, headers=ann).status_code == 202
    with database.reading() as uow:
        rows = uow.driver.execute("select who, action, type from audit where who <> 'system' order by audit").fetchall()
    assert rows == [
        ("ann", "export", "Bundle"), ("x", "read", "Patient"), ("ann", "read", "Patient"), ("ann", "cancel", "Bundle"),
    ]  # fmt: skip


class _Telling(BulkRequests):
    """The same requests; before a file is written something happens."""

    def __init__(self, requests: BulkRequests, before: Callable[[], None]) -> None:
        super().__init__(requests.database, requests.files, requests.hours)
        write = self.files.write

        class Files(type(self.files)):  # type: ignore[misc]
            def write(self, *arguments: Any) -> None:
                before()
                write(*arguments)

        root = requests.files.path(1, "x", "x").parent.parent.parent.parent
        self.files = Files(str(root))
