"""$meta, $everything, $lastn and $document over HTTP."""

from typing import Any

import pytest
from httpx import Client

from server.fhir.definitions import load
from server.fhir.json_format import parse
from server.fhir.validate import validate

PATIENT: dict[str, Any] = {"resourceType": "Patient", "id": "p"}
TAG = {"system": "urn:tags", "code": "a"}


def put(fhir: Client, resource: dict[str, Any]) -> dict[str, Any]:
    answer = fhir.put(f"/{resource['resourceType']}/{resource['id']}", json=resource)
    assert answer.status_code in (200, 201), answer.text
    found: dict[str, Any] = answer.json()
    return found


def observation(id: str, code: str, when: str, patient: str = "p", **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": id,
        "status": "final",
        "code": {"coding": [{"system": "urn:codes", "code": one} for one in code.split(",")]},
        "category": [{"coding": [{"system": "urn:categories", "code": "vital"}]}],
        "subject": {"reference": f"Patient/{patient}"},
        "effectiveDateTime": when,
        **more,
    }


def ids(bundle: dict[str, Any]) -> list[str]:
    return [entry["resource"]["id"] for entry in bundle.get("entry", [])]


def test_meta_is_added_to_and_taken_from(fhir: Client) -> None:
    put(fhir, {**PATIENT, "meta": {"tag": [TAG], "profile": ["urn:profile"]}})
    given = {"tag": [{**TAG, "display": "A"}, {"code": "b"}], "security": [{"code": "R"}]}
    body = {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": given}]}
    added = fhir.post("/Patient/p/$meta-add", json=body).json()["parameter"][0]["valueMeta"]
    assert added["tag"] == [TAG, {"code": "b"}] and added["security"] == [{"code": "R"}]
    assert added["profile"] == ["urn:profile"] and added["versionId"] == "2"
    assert fhir.get("/Patient/p/$meta").json()["parameter"][0] == {"name": "return", "valueMeta": added}
    assert fhir.get("/Patient?_tag=b").json()["total"] == 1
    taken = fhir.post("/Patient/p/$meta-delete", json=body).json()["parameter"][0]["valueMeta"]
    assert "tag" not in taken and "security" not in taken and taken["profile"] == ["urn:profile"]
    assert fhir.get("/Patient?_tag=b").json()["total"] == 0
    # It changes something, so it is no GET; and without meta it is nothing.
    assert fhir.get("/Patient/p/$meta-add").status_code == 400
    assert fhir.post("/Patient/p/$meta-add").status_code == 400
    assert fhir.get("/Patient/none/$meta").status_code == 404
    assert fhir.get("/Nothing/x/$meta").status_code == 404


def test_meta_of_a_type_and_of_the_system(fhir: Client) -> None:
    def meta(path: str) -> Any:
        return fhir.get(f"{path}/$meta").json().get("parameter", [{}])[0].get("valueMeta")

    assert meta("") is None and meta("/Patient") is None
    put(fhir, {**PATIENT, "meta": {"tag": [TAG], "profile": ["urn:b", "urn:a"]}})
    put(fhir, {**PATIENT, "id": "q", "meta": {"tag": [TAG, {"code": "gone"}], "security": [{"code": "R"}]}})
    put(fhir, {**PATIENT, "id": "q", "meta": {"tag": [TAG], "security": [{"code": "R"}]}})
    put(fhir, {"resourceType": "Basic", "id": "b", "code": {"text": "x"}, "meta": {"tag": [{"code": "basic"}]}})
    whole = {"profile": ["urn:a", "urn:b"], "security": [{"code": "R"}], "tag": [TAG]}
    assert meta("/Patient") == whole
    assert meta("/Basic") == {"tag": [{"code": "basic"}]}
    assert meta("") == {**whole, "tag": [TAG, {"code": "basic"}]}
    assert fhir.get("/Nothing/$meta").status_code == 404


def test_diff(fhir: Client) -> None:
    before = put(fhir, {**PATIENT, "gender": "male", "name": [{"family": "A"}]})
    assert fhir.get("/Patient/p/$diff").status_code == 404
    after = put(fhir, {**PATIENT, "gender": "female", "name": [{"family": "A"}, {"text": "王"}]})
    patch = fhir.get("/Patient/p/$diff")
    assert list(validate(load(), parse(patch.content))) == []
    assert [one["part"][0]["valueCode"] for one in patch.json()["parameter"]] == ["replace", "insert"]
    assert fhir.get("/Patient/p/$diff?fromVersion=1").json() == patch.json()
    assert fhir.get("/$diff?from=Patient/p/_history/1&to=Patient/p").json() == patch.json()
    assert fhir.get("/Patient/p/$diff?fromVersion=2").json() == {"resourceType": "Parameters"}
    assert len(fhir.get("/Patient/p/$diff?includeMeta=true").json()["parameter"]) == 3
    # The way back, and the patch does what it says.
    back = fhir.get("/$diff?from=Patient/p/_history/2&to=Patient/p/_history/1").json()
    undone = fhir.patch("/Patient/p", json=back, headers={"content-type": "application/fhir+json"}).json()
    assert {**undone, "meta": 0} == {**before, "meta": 0} != {**after, "meta": 0}
    put(fhir, {"resourceType": "Basic", "id": "b", "code": {"text": "x"}})
    for wrong in (
        "from=Patient/p&to=Basic/b",
        "from=Patient/p",
        "from=x&to=y",
        "fromVersion=1",
        "from=Nope/1&to=Nope/2",
    ):
        assert fhir.get(f"/$diff?{wrong}").status_code == 400, wrong
    assert fhir.get("/$diff?from=Patient/p&to=Patient/none").status_code == 404
    assert fhir.get("/Patient/p/$diff?fromVersion=9").status_code == 404
    assert fhir.get("/Patient/p/$diff?from=Patient/p").status_code == 400


@pytest.fixture
def chart(fhir: Client) -> None:
    """A patient with an encounter and observations, and another one beside."""
    put(fhir, {"resourceType": "Organization", "id": "org", "name": "Clinic"})
    put(fhir, {**PATIENT, "managingOrganization": {"reference": "Organization/org"}})
    put(fhir, {"resourceType": "Patient", "id": "other"})
    place = {"class": {"code": "AMB"}, "status": "finished", "subject": {"reference": "Patient/p"}}
    put(fhir, {"resourceType": "Encounter", "id": "e", **place, "period": {"start": "2024-01-15", "end": "2024-01-16"}})
    put(fhir, observation("o1", "w", "2024-01-15", encounter={"reference": "Encounter/e"}))
    put(fhir, observation("o2", "w", "2024-03-01", performer=[{"reference": "Organization/org"}]))
    put(fhir, observation("o3", "w", "2024-03-01", patient="other"))


@pytest.mark.usefixtures("chart")
def test_everything(fhir: Client) -> None:
    bundle = fhir.get("/Patient/p/$everything")
    assert ids(bundle.json()) == ["p", "e", "o2", "o1", "org"]
    assert list(validate(load(), parse(bundle.content))) == []
    assert [entry["search"]["mode"] for entry in bundle.json()["entry"]] == ["match"] * 4 + ["include"]
    assert ids(fhir.get("/Patient/p/$everything?_type=Observation").json()) == ["o2", "o1"]
    assert ids(fhir.get("/Patient/p/$everything?_type=Observation&start=2024-02-01").json()) == ["o2"]
    assert ids(fhir.get("/Patient/p/$everything?_type=Observation,Encounter&end=2024-02").json()) == ["e", "o1"]
    assert ids(fhir.get("/Patient/p/$everything?_type=Observation&_since=2999-01-01T00:00:00Z").json()) == []
    assert ids(fhir.get("/Encounter/e/$everything").json()) == ["e", "o1", "p"]
    for wrong in ("_type=Nothing", "_count=0", "_count=x", "start=x", "_page=x", "_since=2024", "nonsense=1"):
        assert fhir.get(f"/Patient/p/$everything?{wrong}").status_code == 400, wrong
    assert fhir.get("/Patient/none/$everything").status_code == 404
    assert fhir.get("/Organization/org/$everything").status_code == 404
    assert fhir.get("/Encounter/$everything").status_code == 404


@pytest.mark.usefixtures("chart")
def test_everything_of_every_patient(fhir: Client) -> None:
    put(fhir, {"resourceType": "Observation", "id": "o4", "status": "final", "code": {"text": "of nobody"}})
    whole = fhir.get("/Patient/$everything").json()
    assert sorted(ids(whole)) == ["e", "o1", "o2", "o3", "org", "other", "p"]
    assert [one["search"]["mode"] for one in whole["entry"]] == ["match"] * 6 + ["include"]
    assert sorted(ids(fhir.get("/Patient/$everything?_type=Patient").json())) == ["other", "p"]
    assert sorted(ids(fhir.get("/Patient/$everything?_type=Observation&start=2024-02-01").json())) == ["o2", "o3"]
    seen, url = [], "/Patient/$everything?_count=2&_type=Patient,Observation"
    while url:
        page = fhir.get(url).json()
        seen += ids(page)
        assert len(page["entry"]) <= 2
        url = next((link["url"] for link in page["link"] if link["relation"] == "next"), "")
    assert sorted(seen) == ["o1", "o2", "o3", "other", "p"]


@pytest.mark.usefixtures("chart")
@pytest.mark.parametrize("count", [1, 2, 3])
def test_everything_in_pages(fhir: Client, count: int) -> None:
    page, seen = fhir.get(f"/Patient/p/$everything?_count={count}").json(), []
    for _ in range(8):
        matches = [one["resource"]["id"] for one in page.get("entry", []) if one["search"]["mode"] == "match"]
        assert len(matches) <= count
        seen += matches
        following = [link["url"] for link in page["link"] if link["relation"] == "next"]
        if not following:
            break
        page = fhir.get(following[0]).json()
    assert seen == ["p", "e", "o2", "o1"]


def test_lastn(fhir: Client) -> None:
    put(fhir, PATIENT)
    for n, (code, when) in enumerate(
        [("w", "2024-01-01"), ("w", "2024-03-01"), ("w,w2", "2024-02-01"), ("h", "2023-01-01"), ("h", "2023-01-01")]
    ):
        put(fhir, observation(f"o{n}", code, when))
    put(fhir, observation("foreign", "w", "2025-01-01", patient="other"))
    asked = "/Observation/$lastn?patient=Patient/p&category=urn:categories|vital"
    found = fhir.get(asked)
    assert sorted(ids(found.json())) == ["o1", "o3", "o4"]
    assert list(validate(load(), parse(found.content))) == []
    assert ids(fhir.get(f"{asked}&max=2").json())[:2] == ["o1", "o2"]
    assert sorted(ids(fhir.get(f"{asked}&max=2").json())) == ["o1", "o2", "o3", "o4"]
    assert ids(fhir.get("/Observation/$lastn?subject=Patient/p&code=urn:codes|w2").json()) == ["o2"]
    for wrong in ("patient=p", "category=x", "patient=p&category=x&max=0", "patient=p&category=x&_count=1"):
        assert fhir.get(f"/Observation/$lastn?{wrong}").status_code == 400, wrong
    assert fhir.get("/Patient/$lastn?patient=p&category=x").status_code == 404


def test_document(fhir: Client) -> None:
    put(fhir, PATIENT)
    put(fhir, {"resourceType": "Organization", "id": "org", "name": "Clinic"})
    put(fhir, observation("o", "w", "2024-01-01"))
    composition = {
        "resourceType": "Composition",
        "id": "c",
        "status": "final",
        "type": {"text": "summary"},
        "subject": {"reference": "Patient/p"},
        "date": "2024-01-02",
        "author": [{"reference": "Organization/org"}],
        "title": "Summary",
        "section": [{"title": "Results", "entry": [{"reference": "Observation/o"}, {"reference": "Patient/p"}]}],
    }
    put(fhir, composition)
    made = fhir.get("/Composition/c/$document")
    bundle = made.json()
    assert bundle["type"] == "document" and bundle["identifier"]["value"].startswith("urn:uuid:")
    assert ids(bundle)[0] == "c" and sorted(ids(bundle)) == ["c", "o", "org", "p"]
    assert list(validate(load(), parse(made.content))) == []
    assert ids(fhir.get("/Composition/$document?id=Composition/c").json()) == ids(bundle)
    assert fhir.get("/Bundle").json()["total"] == 0
    kept = fhir.post("/Composition/c/$document?persist=true").json()
    assert fhir.get(f"/Bundle/{kept['id']}").json() == kept
    assert fhir.delete("/Observation/o").status_code == 204
    refused = fhir.get("/Composition/c/$document")
    assert refused.status_code == 422 and "Observation/o" in refused.text
    for path in (
        "/Composition/c/$document?graph=urn:x",
        "/Composition/$document",
        "/Composition/c/$document?persist=1",
    ):
        assert fhir.get(path).status_code == 400, path
