"""What would cost too much is bounded, or refused as too-costly, over the wire."""

import json
from typing import Any

import httpx
import pytest

Json = dict[str, Any]
JSON = {"content-type": "application/fhir+json"}


@pytest.fixture
def server(fhir: httpx.Client) -> httpx.Client:
    """A server with a patient and an observation."""
    patient = {"resourceType": "Patient", "id": "p", "name": [{"family": "a" * 5000}]}
    assert fhir.put("/Patient/p", json=patient).status_code == 201
    observation = {"resourceType": "Observation", "id": "o", "status": "final", "code": {"text": "x"},
                   "subject": {"reference": "Patient/p"}}  # fmt: skip
    assert fhir.put("/Observation/o", json=observation).status_code == 201
    fhir.timeout = httpx.Timeout(60)
    return fhir


def refused(answer: httpx.Response, status: int = 413, code: str = "too-costly") -> None:
    assert answer.status_code == status, answer.text[:500]
    assert answer.json()["issue"][0]["code"] == code
    assert len(answer.text) < 3000


COSTLY = [
    ("Observation", ".".join(["subject:Patient", *["link:Patient"] * 50, "name"]), "x"),
    ("Patient", "_has:Observation:patient:" * 50 + "code", "x"),
    ("Patient", "name:contains", "a" * 1_000_000),
    ("Patient", "_id", ",".join(f"id-{n}" for n in range(100_000))),
    ("Patient", "identifier", ",".join(f"urn:x|{n}" for n in range(5_000))),
    ("Patient", "_filter", "not (" * 2000 + "name eq a" + ")" * 2000),
    ("Patient", "_filter", " or ".join(["name eq a"] * 3000)),
    ("Observation", "_content", "(" * 500 + "a" + ")" * 500),
]


@pytest.mark.parametrize(("kind", "name", "value"), COSTLY, ids=lambda text: text[:20])
def test_a_costly_search_is_refused(server: httpx.Client, kind: str, name: str, value: str) -> None:
    refused(server.post(f"/{kind}/_search", data={name: value}))


def test_a_thousand_parameters_are_too_many(server: httpx.Client) -> None:
    body = "&".join(f"name=a{n}" for n in range(5000))
    answer = server.post(
        "/Patient/_search", content=body, headers={"content-type": "application/x-www-form-urlencoded"}
    )
    assert answer.status_code in (400, 413)
    refused(server.post("/Patient/_search", data={"name": [f"a{n}" for n in range(900)]}))


def test_counts_and_includes_are_bounded(server: httpx.Client) -> None:
    for query in ("_count=1000000000", "_include=*&_revinclude=*&_count=1000000000", "_include:iterate=*"):
        answer = server.get(f"/Patient?{query}")
        assert answer.status_code == 200
    assert "_count=1000000000" in answer.json()["link"][0]["url"] or len(answer.json()["entry"]) == 1
    refused(server.get("/Patient?_count=99999999999999999999"), 400, "invalid")


def test_a_pattern_that_explodes_elsewhere_is_answered_at_once(server: httpx.Client) -> None:
    """matches() of a FHIRPath patch: RE2 has no backtracking."""
    path = "Patient.name.where(family.matches('^(a+)+$')).first().given"
    operation = [{"name": "type", "valueCode": "delete"}, {"name": "path", "valueString": path}]
    patch = {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": operation}]}
    assert server.patch("/Patient/p", json=patch, headers=JSON).status_code in (200, 422)
    parameter = {
        "resourceType": "SearchParameter", "id": "redos", "url": "urn:redos", "name": "redos", "description": "x",
        "status": "active", "code": "redos", "base": ["Patient"], "type": "token",
        "expression": "Patient.name.family.matches('^(a+)+$')",
    }  # fmt: skip
    assert server.put("/SearchParameter/redos", json=parameter, headers=JSON).status_code == 201
    assert server.put("/Patient/q", json={"resourceType": "Patient", "id": "q"}).status_code == 201


@pytest.mark.parametrize("depth", [60, 1_000, 100_000])
def test_deep_nesting_is_no_server_error(server: httpx.Client, depth: int) -> None:
    patient = '{"resourceType":"Patient","id":"d",'
    shapes = [
        patient + '"extension":' + '[{"url":"x","extension":' * depth + "[]" + "}]" * depth + "}",
        patient + '"name":' + "[" * depth + "]" * depth + "}",
        '{"resourceType":"Bundle","id":"d","type":"collection","entry":'
        + '[{"resource":{"resourceType":"Bundle","type":"collection","entry":' * depth + "[]" + "}}]" * depth + "}",
    ]  # fmt: skip
    for text in shapes:
        kind = json.loads(text[:30].split(",")[0] + "}")["resourceType"]
        answer = server.put(f"/{kind}/d", content=text, headers=JSON)
        assert answer.status_code in (200, 201, 400, 413, 422), (depth, answer.text[:300])
        if answer.status_code in (200, 201):
            assert server.get(f"/{kind}/d").status_code == 200
            assert server.get(f"/{kind}/d?_format=xml").status_code == 200
    xml = (
        "<Patient xmlns='http://hl7.org/fhir'>" + "<extension url='x'>" * depth + "</extension>" * depth + "</Patient>"
    )
    answer = server.post("/Patient", content=xml, headers={"content-type": "application/fhir+xml"})
    assert answer.status_code in (201, 400, 413, 422), answer.text[:300]
    deep = "Patient." + "extension." * depth + "url"
    path = [{"name": "type", "valueCode": "delete"}, {"name": "path", "valueString": deep}]
    patch = {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": path}]}
    assert server.patch("/Patient/p", json=patch, headers=JSON).status_code in (200, 400, 413, 422)


@pytest.mark.parametrize(
    "expression",
    [
        "Patient.descendants().descendants().descendants().descendants().count()",
        "Patient.repeat(descendants()).repeat(descendants()).repeat(descendants())",
        "(" * 3000 + "Patient" + ")" * 3000,
        "Patient" + ".where(true)" * 3000,
        "Patient.name | " * 2000 + "Patient.name",
    ],
    ids=lambda text: text[:30],
)
def test_an_expression_to_index_by_can_not_stop_the_server(server: httpx.Client, expression: str) -> None:
    parameter = {
        "resourceType": "SearchParameter", "id": "deep", "url": "urn:deep", "name": "deep", "description": "x",
        "status": "active", "code": "deep", "base": ["Patient"], "type": "number", "expression": expression,
    }  # fmt: skip
    answer = server.put("/SearchParameter/deep", json=parameter, headers=JSON)
    assert answer.status_code in (201, 413, 422), answer.text[:500]
    big = {
        "resourceType": "Patient",
        "id": "big",
        "name": [{"family": f"x{n}", "given": ["a", "b"]} for n in range(300)],
    }
    assert server.put("/Patient/big", json=big, headers=JSON).status_code == 201
