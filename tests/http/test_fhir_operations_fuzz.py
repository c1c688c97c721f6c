"""Whatever an operation or a history is asked, the answer is FHIR's: never a 500."""

from typing import Any

from httpx import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.fhir.definitions import load

PATHS = ["/Patient/p/$everything", "/Patient/p/$meta", "/Patient/p/$meta-add", "/Patient/p/$meta-delete",
         "/Observation/$lastn", "/Composition/$document", "/CodeSystem/$lookup", "/CodeSystem/$subsumes",
         "/CodeSystem/$validate-code", "/ValueSet/$expand", "/ValueSet/$validate-code", "/ConceptMap/$translate",
         "/Patient/_history", "/_history", "/Patient/p/_history"]  # fmt: skip


def names(path: str) -> list[str]:
    """The parameters that a path may know."""
    kind, code = path.split("/")[1], path.rpartition("$")[2]
    rows = [row for row in load().operations.values() if row["code"] == code]
    own = [row for row in rows if row["resource"] in ([kind], ["Resource"])]
    return [p["name"] for row in own for p in row["parameters"]] or ["_count", "_since", "_at", "_page", "_before"]


TEXTS = st.text(max_size=8) | st.sampled_from(
    ["p", "urn:x", "urn:x|1", "true", "1", "-1", "9" * 12, "2024", "2024-13", "9999-12-31T23:59:59Z", "0000", "\x00",
     "http://hl7.org/fhir/ValueSet/administrative-gender", "http://hl7.org/fhir/administrative-gender", "male", ","]
)  # fmt: skip
LEAVES = st.none() | st.booleans() | st.integers(-5, 5) | TEXTS
KEYS = st.sampled_from(
    ["system", "code", "display", "tag", "profile", "coding", "url", "status", "compose", "include", "exclude",
     "concept", "filter", "property", "op", "value", "valueSet", "group", "element", "target", "source",
     "expansion", "contains",
     "content", "equivalence", "unmapped", "mode", "designation"]
)  # fmt: skip
VALUES: st.SearchStrategy[Any] = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=10
)
KINDS = st.sampled_from(
    ["valueString", "valueUri", "valueCode", "valueInteger", "valueBoolean", "valueMeta", "valueCoding", "part",
     "valueCodeableConcept", "resource"]
)  # fmt: skip
RESOURCES = st.builds(
    lambda kind, content: {"status": "draft", "content": "complete", **content, "resourceType": kind},
    st.sampled_from(["ValueSet", "CodeSystem", "ConceptMap", "Patient"]),
    st.dictionaries(KEYS, VALUES, max_size=4),
)


def calls(path: str) -> st.SearchStrategy[tuple[str, list[tuple[str, str]], Any]]:
    """A path with a query and a body that know its parameters."""
    known = st.sampled_from(names(path))
    parts = st.builds(lambda name, kind, value: {"name": name, kind: value}, known, KINDS, VALUES | RESOURCES)
    made = st.builds(lambda listed: {"resourceType": "Parameters", "parameter": listed}, st.lists(parts, max_size=3))
    query = st.lists(st.tuples(known, TEXTS), max_size=3, unique_by=lambda pair: pair[0])
    return st.tuples(st.just(path), query, st.none() | made | RESOURCES)


def test_no_call_makes_a_server_error(fhir: Client) -> None:
    assert fhir.put("/Patient/p", json={"resourceType": "Patient", "id": "p"}).status_code == 201

    @settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(PATHS).flatmap(calls))
    def call(asked: tuple[str, list[tuple[str, str]], Any]) -> None:
        path, query, body = asked
        answer = fhir.get(path, params=query) if body is None else fhir.post(path, params=query, json=body)
        assert answer.status_code in (200, 400, 404, 413, 422), (path, query, body, answer.text)
        assert answer.json()["resourceType"]

    call()
