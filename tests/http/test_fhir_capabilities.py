"""Walks the CapabilityStatement and tries everything that it claims: of every type each interaction, search parameter,
include and operation, of the system too, and each format.
"""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from httpx import Client

from server.fhir.definitions import SearchParameter, load
from server.fhir.json_format import parse
from server.fhir.validate import validate
from tests.http.minimal import minimal

R4 = load()
ASYNC = {"prefer": "respond-async"}
#: A value that can be searched by, of each type of parameter.
_VALUES = {
    "number": "1", "date": "2024-01-02", "string": "x", "token": "x", "reference": "Patient/x", "quantity": "1",
    "uri": "urn:x", "special": "1|1|1|km",
}  # fmt: skip
#: Parameters of a type's own that need words of their own.
_WORDS = {"_id": "x", "_lastUpdated": "2024", "_text": "x", "_content": "x", "_list": "x", "_filter": "_id eq x"}
_META = {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": {"tag": [{"code": "x"}]}}]}
_CODES = "http://hl7.org/fhir/administrative-gender"
_GENDERS = "http://hl7.org/fhir/ValueSet/administrative-gender"


@pytest.fixture
def statement(fhir: Client) -> dict[str, Any]:
    found: dict[str, Any] = fhir.get("/metadata").json()
    assert list(validate(R4, found)) == []
    return found


@pytest.fixture
def resources(statement: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["type"]: one for one in statement["rest"][0]["resource"]}


def test_every_type_is_there(resources: dict[str, dict[str, Any]]) -> None:
    assert set(resources) == set(R4.resource_types)


def test_interactions(fhir: Client, resources: dict[str, dict[str, Any]]) -> None:
    for kind, claimed in resources.items():
        codes = {one["code"] for one in claimed["interaction"]}
        assert codes == {
            "create", "read", "vread", "update", "patch", "delete", "history-instance", "history-type", "search-type",
        }, kind  # fmt: skip
        _live(fhir, kind, claimed)


def _live(fhir: Client, kind: str, claimed: dict[str, Any]) -> None:
    """One resource's life, by every interaction."""
    made = fhir.post(f"/{kind}", json=minimal(R4, kind, language="en"))
    assert made.status_code == 201, (kind, made.text)
    id = made.json()["id"]
    place = f"/{kind}/{id}"
    read = fhir.get(place)
    assert read.status_code == 200 and read.json() == made.json(), kind
    unchanged = fhir.get(place, headers={"if-none-match": read.headers["etag"]})
    assert claimed["conditionalRead"] == "full-support" and unchanged.status_code == 304, kind
    assert fhir.put(place, json={**read.json(), "language": "zh"}).json()["language"] == "zh", kind
    assert claimed["versioning"] == "versioned-update" and claimed["readHistory"] is True, kind
    assert fhir.get(f"{place}/_history/1").json()["language"] == "en", kind
    changed = fhir.patch(place, json=[{"op": "replace", "path": "/language", "value": "de"}])
    assert changed.status_code == 200 and changed.json()["meta"]["versionId"] == "3", (kind, changed.text)
    criteria = f"/{kind}?_id={id}"
    if claimed["conditionalUpdate"]:
        assert fhir.put(criteria, json={**read.json(), "language": "fr"}).status_code == 200, kind
    exists = {"if-none-exist": f"_id={id}"}
    if claimed["conditionalCreate"]:
        assert fhir.post(f"/{kind}", json=minimal(R4, kind), headers=exists).status_code == 200, kind
    assert len(fhir.get(f"{place}/_history").json()["entry"]) == len(fhir.get(f"/{kind}/_history").json()["entry"]) == 4
    assert [one["resource"]["id"] for one in fhir.get(criteria).json()["entry"]] == [id], kind
    assert claimed["conditionalDelete"] == "single" and fhir.delete(criteria).status_code == 204, kind
    assert fhir.get(place).status_code == 410 and fhir.delete(place).status_code == 204, kind
    if claimed["updateCreate"]:
        assert fhir.put(f"/{kind}/new", json=minimal(R4, kind, id="new")).status_code == 201, kind
        assert fhir.delete(f"/{kind}/new").status_code == 204, kind


def _batch(fhir: Client, urls: list[str]) -> None:
    """All searches succeed."""
    for start in range(0, len(urls), 200):
        part = urls[start : start + 200]
        entries = [{"request": {"method": "GET", "url": url}} for url in part]
        answer = fhir.post("", json={"resourceType": "Bundle", "type": "batch", "entry": entries}, timeout=120)
        for url, entry in zip(part, answer.json()["entry"], strict=True):
            assert entry["response"]["status"] == "200 OK", (url, entry)
            assert entry["resource"]["type"] == "searchset"


def _value(kind: str, claimed: dict[str, str], known: dict[str, SearchParameter]) -> str:
    if claimed["name"] in _WORDS:
        return _WORDS[claimed["name"]]
    found = known[claimed["name"]]
    assert claimed["definition"] == found.url, (kind, claimed)
    if claimed["type"] == "composite":
        return "$".join(_VALUES[R4.search_parameter_types[url]] for url, _ in found.components)
    return _VALUES[claimed["type"]]


@pytest.mark.timeout(600)
def test_search_parameters(fhir: Client, resources: dict[str, dict[str, Any]]) -> None:
    urls = []
    for kind, claimed in resources.items():
        known = R4.search_parameters(kind)
        # What R4 defines is claimed: all of it, but for what is answered by no type of its own.
        missing = {code for code, one in known.items() if one.expression} - {p["name"] for p in claimed["searchParam"]}
        assert not missing, (kind, missing)
        for one in claimed["searchParam"]:
            urls.append(f"{kind}?{urlencode({one['name']: _value(kind, one, known)})}")
    assert len(urls) > 1500
    _batch(fhir, urls)


def test_includes(fhir: Client, resources: dict[str, dict[str, Any]]) -> None:
    urls = []
    for kind, claimed in resources.items():
        for name, key in (("_include", "searchInclude"), ("_revinclude", "searchRevInclude")):
            listed = claimed.get(key, [])
            parts = [listed[start : start + 100] for start in range(0, len(listed), 100)]
            urls += [f"{kind}?{urlencode([(name, one) for one in part])}" for part in parts]
    _batch(fhir, urls)


#: Operation -> calls that succeed: method, path behind the resource or type, body.
def _calls(kind: str, name: str, id: str) -> Iterator[tuple[str, str, Any]]:
    place = f"{kind}/{id}"
    given = {"resourceType": "Parameters", "parameter": [{"name": "resource", "resource": minimal(R4, kind)}]}
    known: dict[str, list[tuple[str, str, Any]]] = {
        "validate": [("POST", f"{kind}/$validate", given), ("GET", f"{place}/$validate", None)],
        "meta": [("GET", f"{kind}/$meta", None), ("GET", f"{place}/$meta", None)],
        "meta-add": [("POST", f"{place}/$meta-add", _META)],
        "meta-delete": [("POST", f"{place}/$meta-delete", _META)],
        "diff": [("GET", f"{place}/$diff?fromVersion=1", None)],
        "everything": [("GET", f"{place}/$everything", None)],
        "export": [("GET", f"{place if kind == 'Group' else kind}/$export", None)],
        "match": [("POST", f"{kind}/$match", {"resourceType": "Patient", "gender": "male"})],
        "lastn": [("GET", f"{kind}/$lastn?patient=Patient/x&category=x", None)],
        "lookup": [("GET", f"{kind}/$lookup?system={_CODES}&code=male", None)],
        "subsumes": [("GET", f"{kind}/$subsumes?system={_CODES}&codeA=male&codeB=male", None)],
        "expand": [("GET", f"{kind}/$expand?url={_GENDERS}", None)],
        "status": [("GET", f"{kind}/$status", None)],
    }
    if name == "validate-code":
        asked = {"url": _CODES if kind == "CodeSystem" else _GENDERS, "code": "male", "system": _CODES}
        query = urlencode({key: value for key, value in asked.items() if key != "system" or kind == "ValueSet"})
        yield "GET", f"{kind}/$validate-code?{query}", None
    yield from known.get(name, [])


def test_operations(fhir: Client, resources: dict[str, dict[str, Any]], statement: dict[str, Any]) -> None:
    for kind, claimed in resources.items():
        written = fhir.put(f"/{kind}/x", json=minimal(R4, kind, id="x"))
        assert written.status_code == 201, (kind, written.text)
        for operation in claimed["operation"]:
            assert operation["definition"] in R4.operations, operation
            calls = list(_calls(kind, operation["name"], "x"))
            for method, path, body in calls:
                answer = fhir.request(method, f"/{path}", json=body, headers=ASYNC)
                assert answer.status_code in (200, 202), (path, answer.text)
            if not calls:
                # It needs more than a table can have; that it is there is seen by what it says is missing.
                _is_there(fhir, kind, operation["name"])
    for operation in statement["rest"][0]["operation"]:
        assert operation["definition"] in R4.operations, operation
        _is_there(fhir, "", operation["name"])


def _is_there(fhir: Client, kind: str, name: str) -> None:
    paths = [f"/{kind}/${name}", f"/{kind}/x/${name}"] if kind else [f"/${name}"]
    answers = [fhir.post(path, headers=ASYNC) for path in paths]
    served = [answer for answer in answers if "There is no operation" not in answer.text]
    assert served and all(answer.status_code < 500 for answer in served), (kind, name, [one.text for one in answers])


def test_the_system(fhir: Client, statement: dict[str, Any]) -> None:
    rest = statement["rest"][0]
    assert {one["code"] for one in rest["interaction"]} == {"batch", "transaction", "history-system", "search-system"}
    assert fhir.put("/Basic/x", json=minimal(R4, "Basic", id="x")).status_code == 201
    for kind in ("batch", "transaction"):
        entry = {"request": {"method": "GET", "url": "Basic/x"}}
        answer = fhir.post("", json={"resourceType": "Bundle", "type": kind, "entry": [entry]}).json()
        assert answer["type"] == f"{kind}-response" and answer["entry"][0]["resource"]["id"] == "x"
    assert len(fhir.get("/_history").json()["entry"]) == 1
    assert len(fhir.get("?_type=Basic,Patient").json()["entry"]) == 1


def test_formats(fhir: Client, statement: dict[str, Any]) -> None:
    assert fhir.put("/Basic/x", json=minimal(R4, "Basic", id="x")).status_code == 201
    for name in statement["format"]:
        answer = fhir.get("/Basic/x", params={"_format": name})
        assert answer.status_code == 200 and answer.text[0] == ("<" if "xml" in name else "{"), name
    operation = {"name": "operation", "part": [
        {"name": "type", "valueCode": "replace"}, {"name": "path", "valueString": "Basic.code.text"},
        {"name": "value", "valueString": "fhir+json"},
    ]}  # fmt: skip
    patches = {
        "application/json-patch+json": json.dumps([{"op": "replace", "path": "/code/text", "value": "json-patch"}]),
        "application/merge-patch+json": json.dumps({"code": {"text": "merge-patch"}}),
        "application/fhir+json": json.dumps({"resourceType": "Parameters", "parameter": [operation]}),
        "application/fhir+xml": '<Parameters xmlns="http://hl7.org/fhir"><parameter><name value="operation"/>'
        '<part><name value="type"/><valueCode value="replace"/></part>'
        '<part><name value="path"/><valueString value="Basic.code.text"/></part>'
        '<part><name value="value"/><valueString value="fhir+xml"/></part></parameter></Parameters>',
    }
    for name in statement["patchFormat"]:
        answer = fhir.patch("/Basic/x", content=patches[name], headers={"content-type": name})
        assert parse(answer.content)["code"]["text"] in name, (name, answer.text)


def test_the_terminology_at_hand_is_told(fhir: Client) -> None:
    system = {"resourceType": "CodeSystem", "url": "http://example.org/cs", "status": "active", "content": "complete",
              "property": [{"code": "size", "type": "decimal"}]}  # fmt: skip
    for version in ("1.9", "1.10"):
        assert fhir.post("/CodeSystem", json={**system, "version": version}).status_code == 201
    told = fhir.get("/metadata?mode=terminology")
    assert list(validate(load(), parse(told.content))) == []
    known = {one["uri"]: one for one in told.json()["codeSystem"]}
    versions = known["http://example.org/cs"]["version"]
    assert {one["code"]: one["isDefault"] for one in versions} == {"1.9": False, "1.10": True}
    assert versions[0]["property"] == ["size"]
    for url in known:
        if "|" not in url:
            assert fhir.get("/CodeSystem/$validate-code", params={"url": url, "code": "x"}).status_code == 200, url
    named = {one["name"] for one in told.json()["expansion"]["parameter"]}
    assert "displayLanguage" in named and "context" not in named
    assert fhir.get("/metadata?mode=full").json() == fhir.get("/metadata").json()
    assert fhir.get("/metadata?mode=half").status_code == 400
    entries = [{"request": {"method": "GET", "url": url}} for url in ("metadata", "metadata?mode=terminology")]
    answer = fhir.post("", json={"resourceType": "Bundle", "type": "batch", "entry": entries}).json()
    kinds = [one["resource"]["resourceType"] for one in answer["entry"]]
    assert kinds == ["CapabilityStatement", "TerminologyCapabilities"]
