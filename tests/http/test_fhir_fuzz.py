"""Whatever is asked, the answer is FHIR's: never a 500."""

from typing import Any

from httpx import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.fhir.definitions import load

NAMES = st.sampled_from(
    [*load().search_parameters("Observation"), *load().search_parameters("Patient"), "_sort", "_count", "_include",
     "_revinclude", "_elements", "_summary", "_total", "_page", "_has:Observation:patient:code", "subject:Patient.name",
     "subject.organization.partof.name", "_has:Observation:subject:_has:Provenance:target:agent"]
)  # fmt: skip
MODIFIERS = st.sampled_from(
    ["", "", "", ":exact", ":contains", ":missing", ":not", ":text", ":identifier", ":Patient", ":x"]
)
VALUES = st.text(max_size=12) | st.sampled_from(
    ["a|b", "|", "||", "1|2|3", "a$b", "\\", "\\,", ",", "true", "gt2024-13-45", "ge9999-12-31T23:59:59Z",
     "1e999", "-0",     "eq1E-300", "9" * 400, "0000", "\x00", "%", "_", "Patient/1", "http://a/b|1", "W10",
     "Observation:subject:iterate",
     "*", "birthdate", "-date,status", "٣", "1|1|1|km", "90|180|1e9|m"]
)  # fmt: skip


def test_no_search_makes_a_server_error(fhir: Client) -> None:
    seed(fhir)

    @settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        st.sampled_from(["Observation", "Patient", "Encounter"]),
        st.lists(st.tuples(st.builds(str.__add__, NAMES, MODIFIERS), VALUES), min_size=1, max_size=3),
        st.booleans(),
    )
    def search(kind: str, parameters: list[tuple[str, str]], lenient: bool) -> None:
        headers = {"prefer": "handling=lenient"} if lenient else {}
        answer = fhir.get(f"/{kind}", params=parameters, headers=headers)
        assert answer.status_code in (200, 400, 413), (parameters, answer.text)
        assert answer.json()["resourceType"] == ("Bundle" if answer.status_code == 200 else "OperationOutcome")

    search()


PROPERTIES = st.sampled_from(
    ["resourceType", "id", "meta", "identifier", "name", "subject", "reference", "code", "coding", "valueQuantity",
     "value",     "effectiveDateTime", "status", "text", "div", "contained", "extension", "url", "_status", "entry",
     "request", "type"]
)  # fmt: skip
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(PROPERTIES, inner, max_size=4),
    max_leaves=12,
)


def test_no_body_makes_a_server_error(fhir: Client) -> None:
    @settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        st.sampled_from(["/Observation", "/Patient", "", "/Bundle", "/Patient/x"]),
        st.sampled_from(["Observation", "Patient", "Bundle", "x", None]),
        st.dictionaries(PROPERTIES, JSON, max_size=6),
        st.sampled_from(["batch", "transaction"]),
    )
    def write(path: str, kind: Any, body: dict[str, Any], bundle: str) -> None:
        whole = {**body, "resourceType": kind} | ({"type": bundle} if not path else {})
        answer = fhir.put(path, json=whole) if path.endswith("/x") else fhir.post(path, json=whole)
        assert answer.status_code in (200, 201, 400, 412, 422), (whole, answer.text)

    write()


def seed(fhir: Client) -> None:
    patient = {"resourceType": "Patient", "id": "1", "name": [{"family": "A"}], "birthDate": "1970"}
    assert fhir.put("/Patient/1", json=patient).status_code == 201
    observation = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": "Patient/1"},
        "effectiveDateTime": "2024",
        "valueQuantity": {"value": 1.5, "unit": "mg"},
    }
    assert fhir.post("/Observation", json=observation).status_code == 201
