"""$graphql over HTTP."""

import base64
import json
from typing import Any

import pytest
from httpx import Client

PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "p",
    "active": True,
    "birthDate": "1974-12-25",
    "_birthDate": {"extension": [{"url": "urn:time", "valueDateTime": "1974-12-25T14:35:45-05:00"}]},
    "name": [
        {"use": "official", "family": "Chalmers", "given": ["Peter", "James"]},
        {"use": "usual", "given": ["Jim"]},
        {"use": "maiden", "family": "Windsor", "given": ["Peter", "James"]},
    ],
    "contact": [{"name": {"family": "du Marché"}, "telecom": [{"system": "phone", "value": "1"}]}],
    "contained": [{"resourceType": "Organization", "id": "inside", "name": "Held"}],
    "managingOrganization": {"reference": "Organization/org"},
    "generalPractitioner": [{"reference": "#inside"}, {"reference": "Practitioner/none"}, {"display": "nobody"}],
}

MANY_FIELDS = "".join(f"a{n}:id " for n in range(7000))
MANY_SEARCHES = "".join(f"a{n}: ObservationList(_reference: patient) {{ id }} " for n in range(101))


def put(fhir: Client, resource: dict[str, Any]) -> None:
    answer = fhir.put(f"/{resource['resourceType']}/{resource['id']}", json=resource)
    assert answer.status_code in (200, 201), answer.text


@pytest.fixture
def chart(fhir: Client) -> None:
    """A patient, his observations and his organization."""
    put(fhir, {"resourceType": "Organization", "id": "org", "name": "Clinic"})
    put(fhir, PATIENT)
    put(fhir, {"resourceType": "Patient", "id": "q", "birthDate": "1980-01-01"})
    for number, value in enumerate(("1.10", "2.0", "3.50")):
        sent = {
            "resourceType": "Observation",
            "id": f"o{number}",
            "status": "final",
            "code": {"coding": [{"code": "w"}]},
            "subject": {"reference": "Patient/p"},
            "effectiveDateTime": f"2024-0{number + 1}-01",
            "valueQuantity": {"value": 0, "unit": "kg"},
        }
        body = json.dumps(sent).replace('"value": 0', f'"value": {value}')
        assert fhir.put(f"/Observation/o{number}", content=body).status_code == 201


def ask(fhir: Client, query: str, path: str = "/Patient/p", **more: Any) -> Any:
    """The data."""
    answer = fhir.post(f"{path}/$graphql", json={"query": query, **more})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("application/json")
    return answer.json()["data"]


@pytest.mark.usefixtures("chart")
@pytest.mark.parametrize(
    ("query", "data"),
    [
        ("{ id active birthDate }", {"id": "p", "active": True, "birthDate": "1974-12-25"}),
        ("{ resourceType __typename gender }", {"resourceType": "Patient", "__typename": "Patient"}),
        ("{ mine: birthDate }", {"mine": "1974-12-25"}),
        ("{ _birthDate { extension { url valueDateTime } } }",
         {"_birthDate": {"extension": [{"url": "urn:time", "valueDateTime": "1974-12-25T14:35:45-05:00"}]}}),
        ("{ contact { name { family } telecom { system } } }",
         {"contact": [{"name": {"family": "du Marché"}, "telecom": [{"system": "phone"}]}]}),
        ("{ name(use: usual) { given } }", {"name": [{"given": ["Jim"]}]}),
        ('{ name(use: "usual") { given } }', {"name": [{"given": ["Jim"]}]}),
        ("{ name(fhirpath: \"family.exists() and use != 'maiden'\") { family } }", {"name": [{"family": "Chalmers"}]}),
        ("{ name(_count: 1) { use } }", {"name": [{"use": "official"}]}),
        ("{ name(_offset: 1, _count: 1) { use } }", {"name": [{"use": "usual"}]}),
        ("{ name(use: usual) { given(fhirpath: \"$this = 'none'\") } }", {"name": [{}]}),
        ("{ name @first { use given @first } }", {"name": {"use": "official", "given": "Peter"}}),
        ("{ name @flatten { given family } }",
         {"given": ["Peter", "James", "Jim", "Peter", "James"], "family": ["Chalmers", "Windsor"]}),
        ("{ name @flatten { given @first family } }",
         {"given": ["Peter", "Jim", "Peter"], "family": ["Chalmers", "Windsor"]}),
        ("{ name @flatten @first { given family } }", {"given": ["Peter", "James"], "family": "Chalmers"}),
        ("{ name(use: official) @flatten { family @singleton } }", {"family": "Chalmers"}),
        ("{ name @flatten @slice(fhirpath: \"use\") { given @first family } }",
         {"given.official": ["Peter"], "family.official": ["Chalmers"], "given.usual": ["Jim"],
          "given.maiden": ["Peter"], "family.maiden": ["Windsor"]}),
        ("{ name @flatten @slice(fhirpath: \"$index\") { use @singleton } }",
         {"use.0": "official", "use.1": "usual", "use.2": "maiden"}),
        ("{ name @slice(fhirpath: \"use\") { family } }",
         {"name.official": [{"family": "Chalmers"}], "name.usual": [{}], "name.maiden": [{"family": "Windsor"}]}),
        ("{ contact @flatten { name @flatten { family } } }", {"family": ["du Marché"]}),
        ("{ managingOrganization { reference resource { ... on Organization { name } ... on Patient { id } } } }",
         {"managingOrganization": {"reference": "Organization/org", "resource": {"name": "Clinic"}}}),
        ("{ managingOrganization { resource(type: Patient) { id } } }", {"managingOrganization": {}}),
        ("{ generalPractitioner { resource(optional: true) { __typename ... on Organization { name } } } }",
         {"generalPractitioner": [{"resource": {"__typename": "Organization", "name": "Held"}}, {}, {}]}),
        ("{ contained { id ... on Organization { name } } }", {"contained": [{"id": "inside", "name": "Held"}]}),
        ("{ id @skip(if: true) active @include(if: false) birthDate @include(if: true) }", {"birthDate": "1974-12-25"}),
        ("{ ...f ...f } fragment f on Patient { name(_count: 1) { use } ...g } fragment g on DomainResource { id }",
         {"name": [{"use": "official"}], "id": "p"}),
        ("{ name { use } name { family } }",
         {"name": [{"use": "official", "family": "Chalmers"}, {"use": "usual"},
                   {"use": "maiden", "family": "Windsor"}]}),
        ("{ ObservationList(_reference: patient, _sort: date, _count: 2) { id } }",
         {"ObservationList": [{"id": "o0"}, {"id": "o1"}]}),
        ("{ ObservationList(_reference: \"subject\", date: \"ge2024-02\", code: [\"w\", \"x\"], _sort: \"-date\") {"
         " value { ... on Quantity { value } } valueQuantity { unit } } }",
         {"ObservationList": [{"value": {"value": 3.5}, "valueQuantity": {"unit": "kg"}},
                              {"value": {"value": 2.0}, "valueQuantity": {"unit": "kg"}}]}),
        ("{ ObservationList(_reference: patient) @flatten { subject @flatten { resource @flatten { id } } } }",
         {"id": ["p", "p", "p"]}),
        ("{ ObservationList(_reference: patient, code: none) { id } }", {}),
    ],
)  # fmt: skip
def test_of_a_resource(fhir: Client, query: str, data: dict[str, Any]) -> None:
    assert ask(fhir, query) == data


@pytest.mark.usefixtures("chart")
def test_of_the_system(fhir: Client) -> None:
    query = '{ Patient(id: "p") { birthDate } PatientList(birthdate: "1980-01-01") { id } __typename }'
    assert ask(fhir, query, "") == {
        "Patient": {"birthDate": "1974-12-25"}, "PatientList": [{"id": "q"}], "__typename": "Query",
    }  # fmt: skip
    asked = "query page($after: ID) { ObservationConnection(_count: 2, _sort: date, _cursor: $after) {"
    asked += " count pagesize next first previous edges { mode score resource { id } } } }"
    first = ask(fhir, asked, "")["ObservationConnection"]
    assert (first["count"], first["pagesize"], first["first"], first["previous"]) == (3, 2, None, None)
    assert [one["resource"]["id"] for one in first["edges"]] == ["o0", "o1"]
    assert {one["mode"] for one in first["edges"]} == {"match"}
    second = ask(fhir, asked, "", variables={"after": first["next"]})["ObservationConnection"]
    assert [one["resource"]["id"] for one in second["edges"]] == ["o2"] and second["next"] is None


@pytest.mark.usefixtures("chart")
def test_ways_to_call(fhir: Client) -> None:
    expected = {"data": {"id": "p"}}
    assert fhir.get("/Patient/p/$graphql", params={"query": "{ id }"}).json() == expected
    raw = {"content-type": "application/graphql"}
    assert fhir.post("/Patient/p/$graphql", content="{ id }", headers=raw).json() == expected
    parameters = {"resourceType": "Parameters", "parameter": [{"name": "query", "valueString": "{ id }"}]}
    fhir_json = {"content-type": "application/fhir+json"}
    assert fhir.post("/Patient/p/$graphql", content=json.dumps(parameters), headers=fhir_json).json() == expected
    two = "query a { id } query b($x: Boolean!) { active @include(if: $x) }"
    by_name = {"query": two, "operationName": "b", "variables": '{"x": true}'}
    assert fhir.get("/Patient/p/$graphql", params=by_name).json() == {"data": {"active": True}}
    # Decimals keep their digits.
    answer = fhir.get("/$graphql", params={"query": '{ Observation(id: "o0") { valueQuantity { value } } }'})
    assert '"value":1.10' in answer.text
    # In a batch it is what its OperationDefinition says: a Binary.
    batch = {
        "resourceType": "Bundle",
        "type": "batch",
        "entry": [{"request": {"method": "GET", "url": "Patient/p/$graphql?query=%7Bid%7D"}}],
    }
    binary = fhir.post("", json=batch).json()["entry"][0]["resource"]
    assert binary["resourceType"] == "Binary" and json.loads(base64.b64decode(binary["data"])) == expected


@pytest.mark.usefixtures("chart")
@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ("{ id", 400, "line 1"),
        ("{ nonsense }", 400, "no element 'nonsense'"),
        ("{ name }", 400, "Patient.name|HumanName"),
        ("{ birthDate { x } }", 400, "simple value"),
        ("{ birthDate(_count: 1) }", 400, "no list"),
        ("{ name(nothing: 1) { use } }", 400, "no element 'nothing'"),
        ("{ name(_count: -1) { use } }", 400, "_offset and _count"),
        ('{ name(fhirpath: "where(") { use } }', 400, "FHIRPath"),
        ("{ id @nothing }", 400, "no directive @nothing"),
        ("{ id @skip }", 400, "@skip takes if"),
        ("{ id @skip(if: 1) }", 400, "true or false"),
        ("{ id @skip(if: $x) }", 400, "no variable $x"),
        ("query ($x: Int!) { id }", 400, "needs the variable $x"),
        ("{ ...none }", 400, "no fragment none"),
        ("{ ... on Nothing { id } }", 400, "no type Nothing"),
        ("{ ...a } fragment a on Patient { ...b } fragment b on Patient { ...a }", 400, "holds itself"),
        ("{ x: id x: active }", 400, "alias"),
        ("{ name @flatten { use @singleton } }", 422, "several values"),
        ("{ ObservationList { id } }", 400, "_reference"),
        ("{ ObservationList(_reference: nothing) { id } }", 400, "nothing"),
        ("{ ObservationList(_reference: patient, nonsense: 1) { id } }", 400, "nonsense"),
        ("{ ObservationConnection(_reference: patient) { nonsense } }", 400, "no field 'nonsense'"),
        ("{ generalPractitioner { resource { id } } }", 404, "Practitioner"),
        ("{ managingOrganization { resource(nothing: 1) { id } } }", 400, "optional and type"),
        ("mutation { id }", 400, "only queries"),
        (f"{{ {MANY_FIELDS} }}", 413, "words"),
        (f"{{ {MANY_SEARCHES} }}", 413, "searches"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_as_graphql_and_as_fhir(fhir: Client, query: str, status: int, said: str) -> None:
    answer = fhir.post("/Patient/p/$graphql", json={"query": query})
    assert answer.status_code == status, answer.text
    (error,) = answer.json()["errors"]
    assert any(word in error["message"] for word in said.split("|")), error
    outcome = error["extensions"]["resource"]
    assert outcome["resourceType"] == "OperationOutcome" and outcome["issue"][0]["details"]["text"] == error["message"]


@pytest.mark.usefixtures("chart")
def test_selections_that_multiply_are_too_costly(fhir: Client) -> None:
    """Each level asks for all three observations of the patient of each: 3 to the power of the depth."""
    query = "id"
    for _ in range(8):
        query = f"ObservationList(_reference: patient) {{ subject {{ resource {{ {query} }} }} }}"
    answer = fhir.post("/Patient/p/$graphql", json={"query": f"{{ {query} }}"})
    assert answer.status_code == 413, answer.text
    assert answer.json()["errors"][0]["extensions"]["resource"]["issue"][0]["code"] == "too-costly"
    deep = "{ " + "contact { " * 30 + "id" + " }" * 31
    assert fhir.post("/Patient/p/$graphql", json={"query": deep}).status_code == 413


@pytest.mark.usefixtures("chart")
def test_calls_that_are_no_query(fhir: Client) -> None:
    assert fhir.get("/Patient/none/$graphql", params={"query": "{ id }"}).status_code == 404
    assert fhir.get("/Nothing/p/$graphql", params={"query": "{ id }"}).status_code == 404
    assert fhir.get("/Patient/$graphql", params={"query": "{ id }"}).status_code == 404
    assert fhir.get("/Patient/p/$graphql").status_code == 400
    assert fhir.get("/Patient/p/$graphql?query=%7Bid%7D&variables=x").status_code == 400
    assert fhir.get("/Patient/p/$graphql?query=%7Bid%7D&variables=1").status_code == 400
    assert fhir.get("/Patient/p/$graphql?query=%7Bid%7D&operationName=x").status_code == 400
    assert fhir.post("/Patient/p/$graphql", json=["x"]).status_code == 400
    assert fhir.post("/Patient/p/$graphql", json={"query": 3}).status_code == 400
    broken = {"content-type": "application/graphql"}
    assert fhir.post("/Patient/p/$graphql", content=b"\xff", headers=broken).status_code == 400
