"""history of a resource, a type and the system over HTTP."""

import time
from datetime import UTC, datetime
from typing import Any

from httpx import Client

from server.fhir.definitions import load
from server.fhir.instants import text
from server.fhir.json_format import parse
from server.fhir.validate import validate

PATIENT: dict[str, Any] = {"resourceType": "Patient", "id": "p"}


def put(fhir: Client, resource: dict[str, Any]) -> None:
    assert fhir.put(f"/{resource['resourceType']}/{resource['id']}", json=resource).status_code in (200, 201)


def versions(bundle: dict[str, Any]) -> list[tuple[str, str]]:
    return [(entry["request"]["url"], entry["response"]["etag"]) for entry in bundle.get("entry", [])]


def moment() -> str:
    """An instant between what was written before and what is written after."""
    time.sleep(0.005)
    now = text(datetime.now(UTC))
    time.sleep(0.005)
    return now


def test_of_type_and_system(fhir: Client) -> None:
    put(fhir, PATIENT)
    put(fhir, {"resourceType": "Organization", "id": "o", "name": "x"})
    time.sleep(0.002)
    put(fhir, {**PATIENT, "active": True})
    time.sleep(0.002)
    assert fhir.delete("/Patient/p").status_code == 204
    of_type = fhir.get("/Patient/_history").json()
    assert of_type["type"] == "history"
    assert versions(of_type) == [("Patient/p", f'W/"{n}"') for n in (3, 2, 1)]
    assert "resource" not in of_type["entry"][0] and of_type["entry"][1]["resource"]["active"] is True
    of_all = fhir.get("/_history").json()
    assert versions(of_all)[:2] == [("Patient/p", 'W/"3"'), ("Patient/p", 'W/"2"')]
    assert set(versions(of_all)[2:]) == {("Patient/p", 'W/"1"'), ("Organization/o", 'W/"1"')}
    assert list(validate(load(), parse(fhir.get("/_history").content))) == []
    assert fhir.get("/Encounter/_history").json().get("entry") is None
    assert fhir.get("/Nothing/_history").status_code == 404
    assert fhir.get("/Patient/none/_history").status_code == 404


def test_pages_show_each_version_once_while_others_write(fhir: Client) -> None:
    for n in range(5):
        for version in range(3):
            put(fhir, {**PATIENT, "id": f"p{n}", "multipleBirthInteger": version + 1})
    for path, expected in (("/Patient/_history", 15), ("/_history", 15 + 4), ("/Patient/p1/_history", 3)):
        page, seen, pages = fhir.get(f"{path}?_count=2").json(), [], 0
        while True:
            seen += versions(page)
            pages += 1
            following = [link["url"] for link in page["link"] if link["relation"] == "next"]
            if not following:
                break
            if pages < 5:
                put(fhir, {"resourceType": "Organization", "id": f"o{pages}", "name": path})
            page = fhir.get(following[0]).json()
        assert len(seen) == len(set(seen)) == expected, path


def test_since_and_at(fhir: Client) -> None:
    before = moment()
    put(fhir, PATIENT)
    first = moment()
    put(fhir, {**PATIENT, "active": True})
    second = moment()
    assert fhir.delete("/Patient/p").status_code == 204
    third = moment()
    put(fhir, {**PATIENT, "active": False})
    for path in ("/Patient/p/_history", "/Patient/_history", "/_history"):

        def numbers(query: str, path: str = path) -> list[str]:
            return [etag for _, etag in versions(fhir.get(f"{path}?{query}").json())]

        assert numbers(f"_since={first}") == ['W/"4"', 'W/"3"', 'W/"2"']
        assert numbers("_since=2999-01-01T00:00:00Z") == []
        assert numbers(f"_at={before}") == []
        assert numbers(f"_at={first}") == ['W/"1"']
        assert numbers(f"_at={second}") == ['W/"2"']
        assert numbers(f"_at={third}") == ['W/"3"']
        assert numbers(f"_at={datetime.now(UTC):%Y}") == ['W/"4"', 'W/"3"', 'W/"2"', 'W/"1"']
        assert numbers("_count=0") == []
        assert numbers("_count=2") == ['W/"4"', 'W/"3"']


def test_what_is_not_understood_is_refused(fhir: Client) -> None:
    put(fhir, PATIENT)
    for query in ("_at=x", "_since=x", "_count=-1", "_count=x", "_page=%FF", "_page=eA", "_nonsense=1", "_before=x"):
        refused = fhir.get(f"/Patient/_history?{query}")
        assert refused.status_code == 400, query
        assert refused.json()["resourceType"] == "OperationOutcome"
    assert fhir.get("/Patient/_history?_nonsense=1", headers={"prefer": "handling=lenient"}).status_code == 200
