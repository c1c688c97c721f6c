"""FHIR over HTTP: status codes, headers, Bundles."""

from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from httpx import Client

from server.fhir.definitions import load
from server.fhir.json_format import parse
from server.fhir.validate import validate

PATIENT: dict[str, Any] = {"resourceType": "Patient", "identifier": [{"system": "urn:mrn", "value": "1"}]}
OBSERVATION: dict[str, Any] = {"resourceType": "Observation", "status": "final", "code": {"text": "weight"}}


def made(fhir: Client, resource: dict[str, Any]) -> dict[str, Any]:
    answer = fhir.post(f"/{resource['resourceType']}", json=resource)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_create_read_update_delete(fhir: Client) -> None:
    created = fhir.post("/Patient", json=PATIENT)
    assert created.status_code == 201
    id = created.json()["id"]
    assert created.headers["location"] == f"{fhir.base_url}Patient/{id}/_history/1"
    assert created.headers["etag"] == 'W/"1"'
    assert created.headers["content-type"].startswith("application/fhir+json")
    read = fhir.get(f"/Patient/{id}")
    assert read.json() == created.json() and read.headers["last-modified"].endswith("GMT")
    assert fhir.get(f"/Patient/{id}", headers={"if-none-match": 'W/"1"'}).status_code == 304
    updated = fhir.put(f"/Patient/{id}", json={**PATIENT, "id": id, "active": True}, headers={"if-match": 'W/"1"'})
    assert updated.status_code == 200 and updated.headers["etag"] == 'W/"2"'
    stale = fhir.put(f"/Patient/{id}", json={**PATIENT, "id": id}, headers={"if-match": 'W/"1"'})
    assert stale.status_code == 412 and stale.json()["resourceType"] == "OperationOutcome"
    assert "active" not in fhir.get(f"/Patient/{id}/_history/1").json()
    assert fhir.delete(f"/Patient/{id}").status_code == 204
    gone = fhir.get(f"/Patient/{id}")
    assert gone.status_code == 410 and gone.json()["issue"][0]["code"] == "deleted"
    history = fhir.get(f"/Patient/{id}/_history").json()
    assert [entry["request"]["method"] for entry in history["entry"]] == ["DELETE", "PUT", "PUT"]
    assert fhir.get("/Patient/none").status_code == 404


def test_update_creates_under_the_clients_id(fhir: Client) -> None:
    assert fhir.put("/Patient/mine", json={**PATIENT, "id": "mine"}).status_code == 201
    assert fhir.put("/Patient/mine", json={**PATIENT, "id": "other"}).status_code == 400


def test_prefer_return(fhir: Client) -> None:
    minimal = fhir.post("/Patient", json=PATIENT, headers={"prefer": "return=minimal"})
    assert minimal.status_code == 201 and minimal.content == b""
    outcome = fhir.post("/Patient", json=PATIENT, headers={"prefer": "return=OperationOutcome"})
    assert outcome.json()["resourceType"] == "OperationOutcome"


def test_conditional_interactions(fhir: Client) -> None:
    first = fhir.post("/Patient", json=PATIENT, headers={"if-none-exist": "identifier=urn:mrn|1"})
    again = fhir.post("/Patient", json=PATIENT, headers={"if-none-exist": "identifier=urn:mrn|1"})
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    updated = fhir.put("/Patient?identifier=1", json={**PATIENT, "active": False})
    assert updated.json()["id"] == first.json()["id"]
    made(fhir, PATIENT)
    assert fhir.put("/Patient?identifier=1", json=PATIENT).status_code == 412
    assert fhir.delete("/Patient?identifier=1").status_code == 412
    assert fhir.delete("/Patient?identifier=2").status_code == 204


def test_formats(fhir: Client) -> None:
    assert fhir.get("/metadata", headers={"accept": "text/turtle"}).status_code == 406
    assert fhir.get("/metadata?_format=json", headers={"accept": "text/turtle"}).status_code == 200
    assert fhir.get("/Patient?_format=application/fhir+json").status_code == 200
    turtle = fhir.post("/Patient", content=b"x", headers={"content-type": "text/turtle"})
    assert turtle.status_code == 415
    broken = fhir.post("/Patient", content=b"{", headers={"content-type": "application/fhir+json"})
    assert broken.status_code == 400
    assert fhir.get("/Nothing").status_code == 404
    for method, path, status in [
        ("GET", "/Patient/x/y", 400),
        ("GET", "/Patient/x/y/$z", 404),
        ("PATCH", "/Patient/x", 415),
        ("DELETE", "/Nothing/x", 404),
    ]:
        answer = fhir.request(method, path)
        assert answer.status_code == status, (method, path)
        assert answer.json()["resourceType"] == "OperationOutcome"


def test_unknown_parameter(fhir: Client) -> None:
    refused = fhir.get("/Patient?famly=x")
    issue = refused.json()["issue"][0]
    assert refused.status_code == 400
    assert issue["expression"] == ["famly"] and "family" in issue["details"]["text"]
    lenient = fhir.get("/Patient?famly=x", headers={"prefer": "handling=lenient"}).json()
    assert lenient["entry"][-1]["search"]["mode"] == "outcome"
    assert "famly" not in lenient["link"][0]["url"]


def test_search_pages_by_link(fhir: Client) -> None:
    ids = {made(fhir, PATIENT)["id"] for _ in range(5)}
    page = fhir.post("/Patient/_search", data={"identifier": "urn:mrn|1", "_count": "2", "_total": "accurate"}).json()
    assert page["total"] == 5
    seen = []
    while True:
        seen += [entry["resource"]["id"] for entry in page["entry"]]
        following = [link["url"] for link in page["link"] if link["relation"] == "next"]
        if not following:
            break
        page = fhir.get(following[0]).json()
    assert len(seen) == 5 and set(seen) == ids


def test_summary_and_elements(fhir: Client) -> None:
    id = made(fhir, {**PATIENT, "birthDate": "1970-01-01", "photo": [{"title": "x"}]})["id"]
    part = fhir.get(f"/Patient/{id}?_elements=birthDate").json()
    assert part["birthDate"] == "1970-01-01" and "identifier" not in part
    assert part["meta"]["tag"][0]["code"] == "SUBSETTED"
    found = fhir.get("/Patient?_summary=true").json()["entry"][0]["resource"]
    assert "photo" not in found and found["identifier"] == PATIENT["identifier"]
    assert fhir.get("/Patient?_summary=count").json()["total"] == 1


def test_batch_answers_each_entry(fhir: Client) -> None:
    bundle = {
        "resourceType": "Bundle",
        "type": "batch",
        "entry": [
            {"resource": PATIENT, "request": {"method": "POST", "url": "Patient"}},
            {"request": {"method": "GET", "url": "Patient/none"}},
            {"request": {"method": "GET", "url": "Patient?identifier=1"}},
        ],
    }
    answer = fhir.post("", json=bundle).json()
    assert [entry["response"]["status"][:3] for entry in answer["entry"]] == ["201", "404", "200"]
    assert answer["entry"][1]["response"]["outcome"]["issue"][0]["code"] == "not-found"
    assert answer["entry"][2]["resource"]["entry"][0]["resource"]["identifier"] == PATIENT["identifier"]


def transaction(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": "transaction", "entry": list(entries)}


@pytest.mark.parametrize("kind", ["batch", "transaction"])
def test_a_head_entry_has_no_resource(fhir: Client, kind: str) -> None:
    id = made(fhir, PATIENT)["id"]
    entries = [{"request": {"method": method, "url": f"Patient/{id}"}} for method in ("HEAD", "GET")]
    answer = fhir.post("", json={"resourceType": "Bundle", "type": kind, "entry": entries})
    head, get = answer.json()["entry"]
    assert head == {"response": get["response"]} and get["resource"]["id"] == id
    assert head["response"]["etag"] == 'W/"1"' and head["response"]["status"] == "200 OK"
    assert not fhir.head(f"/Patient/{id}").content


def test_transaction_rewrites_links(fhir: Client) -> None:
    known = made(fhir, {"resourceType": "Organization", "identifier": [{"value": "org"}]})["id"]
    patient, observation = (
        "urn:uuid:6f1b2a7e-0001-4000-8000-000000000001",
        "urn:uuid:6f1b2a7e-0001-4000-8000-000000000002",
    )
    text = {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><a href="{patient}">x</a></div>'}
    seen = {**OBSERVATION, "text": text, "identifier": [{"value": patient}], "subject": {"reference": patient}}
    seen["performer"] = [{"reference": "Organization?identifier=org"}]
    answer = fhir.post(
        "",
        json=transaction(
            {"fullUrl": observation, "resource": seen, "request": {"method": "POST", "url": "Observation"}},
            {"fullUrl": patient, "resource": PATIENT, "request": {"method": "POST", "url": "Patient"}},
        ),
    )
    assert answer.status_code == 200, answer.text
    stored, person = (entry["resource"] for entry in answer.json()["entry"])
    assert stored["subject"] == {"reference": f"Patient/{person['id']}"}
    assert f'href="Patient/{person["id"]}"' in stored["text"]["div"]
    assert stored["performer"] == [{"reference": f"Organization/{known}"}]
    # An identifier is no link.
    assert stored["identifier"] == [{"value": patient}]
    assert fhir.get(f"/Observation?subject={person['id']}").json()["total"] == 1


def test_transaction_is_all_or_nothing(fhir: Client) -> None:
    answer = fhir.post(
        "",
        json=transaction(
            {"resource": PATIENT, "request": {"method": "POST", "url": "Patient"}},
            {"resource": {**PATIENT, "id": "x"}, "request": {"method": "PUT", "url": "Patient/x", "ifMatch": 'W/"7"'}},
        ),
    )
    assert answer.status_code == 412
    assert answer.json()["issue"][0]["expression"] == ["Bundle.entry[1]"]
    assert fhir.get("/Patient").json()["total"] == 0
    twice = {"resource": {**PATIENT, "id": "x"}, "request": {"method": "PUT", "url": "Patient/x"}}
    assert fhir.post("", json=transaction(twice, twice)).status_code == 400


def test_transaction_with_one_condition_stated_twice(fhir: Client) -> None:
    condition = {"method": "POST", "url": "Patient", "ifNoneExist": "identifier=urn:mrn|1"}
    entries = [{"fullUrl": f"urn:uuid:{n}", "resource": PATIENT, "request": condition} for n in range(2)]
    refer = {**OBSERVATION, "subject": {"reference": "urn:uuid:1"}}
    answer = fhir.post(
        "", json=transaction(*entries, {"resource": refer, "request": {"method": "POST", "url": "Observation"}})
    )
    patients = fhir.get("/Patient").json()
    assert patients["total"] == 1
    subject = answer.json()["entry"][2]["resource"]["subject"]["reference"]
    assert subject == f"Patient/{patients['entry'][0]['resource']['id']}"


def test_invalid_resources_are_refused_with_the_place(fhir: Client) -> None:
    refused = fhir.post("/Observation", json={"resourceType": "Observation", "status": "finished", "nonsense": 1})
    assert refused.status_code == 422
    places = {place for issue in refused.json()["issue"] for place in issue["expression"]}
    assert {"Observation.status", "Observation.code"} <= places
    bad = {"resource": {"resourceType": "Patient", "gender": "x"}, "request": {"method": "POST", "url": "Patient"}}
    answer = fhir.post("", json=transaction({"resource": PATIENT, "request": bad["request"]}, bad))
    assert answer.status_code == 422
    assert answer.json()["issue"][0]["expression"][0].startswith("Bundle.entry[1].resource.")


def test_capabilities_name_what_is_served(fhir: Client) -> None:
    statement = fhir.get("/metadata").json()
    assert statement["fhirVersion"] == "4.0.1" and statement["kind"] == "instance"
    rest = statement["rest"][0]
    assert len(rest["resource"]) == 146
    patient = next(one for one in rest["resource"] if one["type"] == "Patient")
    assert {one["code"] for one in patient["interaction"]} >= {
        "read",
        "vread",
        "create",
        "update",
        "delete",
        "search-type",
    }
    for parameter in patient["searchParam"]:
        value = {"date": "2024", "number": "1", "quantity": "1", "reference": "x"}.get(parameter["type"], "x")
        answer = fhir.get("/Patient", params={parameter["name"]: value})
        assert answer.status_code == 200, (parameter, answer.text)


def test_operations(fhir: Client) -> None:
    good = fhir.post("/Observation/$validate", json=OBSERVATION)
    assert good.status_code == 200 and good.json()["issue"][0]["severity"] == "information"
    parameters = {
        "resourceType": "Parameters",
        "parameter": [{"name": "resource", "resource": {**OBSERVATION, "status": "x"}}],
    }
    bad = fhir.post("/Observation/$validate", json=parameters)
    assert bad.status_code == 200 and bad.json()["issue"][0]["expression"] == ["Observation.status"]
    id = made(fhir, PATIENT)["id"]
    assert fhir.get(f"/Patient/{id}/$validate").status_code == 200
    for missing in ("/Patient/$nothing", f"/Patient/{id}/$nothing", "/$nothing"):
        assert fhir.get(missing).status_code == 404
    statuses = fhir.get("/Subscription/$status").json()
    assert statuses["type"] == "searchset" and statuses["total"] == 0
    assert fhir.get("/Subscription/none/$events").status_code == 404
    named = {one["type"]: one["operation"] for one in fhir.get("/metadata").json()["rest"][0]["resource"]}
    for_all = {"validate", "meta", "meta-add", "meta-delete", "diff", "graphql"}
    assert {one["name"] for one in named["Organization"]} == for_all
    assert {one["name"] for one in named["Patient"]} == for_all | {"everything", "export", "match"}
    assert {one["name"] for one in named["Subscription"]} == for_all | {"status", "events", "get-ws-binding-token"}


def test_the_openapi_document_can_be_made(fhir: Client) -> None:
    document = fhir.get(str(fhir.base_url).removesuffix("/fhir/") + "/openapi.json").json()
    assert "/fhir/{type}/{id}" in document["paths"]


def test_what_we_answer_is_valid_by_our_own_rules(fhir: Client) -> None:
    id = made(fhir, {**OBSERVATION, "subject": {"reference": "Patient/p"}})["id"]
    assert fhir.put("/Patient/p", json={**PATIENT, "id": "p"}).status_code == 201
    assert fhir.put("/Patient/p", json={**PATIENT, "id": "p", "active": True}).status_code == 200
    assert fhir.delete("/Patient/p").status_code == 204
    lenient = {"prefer": "handling=lenient"}
    entries = [
        {"request": {"method": "GET", "url": f"Observation/{id}"}},
        {"resource": PATIENT, "request": {"method": "POST", "url": "Patient"}},
        {"request": {"method": "GET", "url": "Patient?identifier=1"}},
        {"request": {"method": "DELETE", "url": "Patient/p"}},
    ]
    answers = [
        fhir.get("/metadata"),
        fhir.get("/Observation?_include=Observation:subject&_count=1&famly=x&_total=accurate", headers=lenient),
        fhir.get("/Observation?_summary=count"),
        fhir.get("/Patient/p/_history"),
        fhir.get("/Patient/p"),
        fhir.post("", json=transaction(*entries)),
        fhir.post("", json={**transaction(*entries), "type": "batch"}),
    ]
    for answer in answers:
        resource = parse(answer.content)
        issues = [issue for issue in validate(load(), resource) if issue.severity in ("error", "fatal")]
        assert issues == [], (resource["resourceType"], resource.get("type"))


def test_patch(fhir: Client) -> None:
    id = made(fhir, PATIENT)["id"]
    operations = [{"op": "add", "path": "/birthDate", "value": "1970"}]
    json_patch = {"content-type": "application/json-patch+json"}
    patched = fhir.patch(f"/Patient/{id}", json=operations, headers={**json_patch, "if-match": 'W/"1"'})
    assert patched.status_code == 200 and patched.json()["birthDate"] == "1970"
    assert patched.headers["etag"] == 'W/"2"'
    assert fhir.patch("/Patient?identifier=1", json=operations, headers=json_patch).headers["etag"] == 'W/"2"'
    assert fhir.patch(f"/Patient/{id}", json=operations, headers={**json_patch, "if-match": 'W/"1"'}).status_code == 412
    for wrong in ([{"op": "add", "path": "/id", "value": "x"}], [{"op": "add", "path": "/gender", "value": "x"}]):
        assert fhir.patch(f"/Patient/{id}", json=wrong, headers=json_patch).status_code == 422
    assert fhir.patch("/Patient/none", json=operations, headers=json_patch).status_code == 404
    assert fhir.patch(f"/Patient/{id}", json=operations, headers={"content-type": "text/plain"}).status_code == 415
    data = b64encode(b'[{"op": "replace", "path": "/birthDate", "value": "1971"}]').decode()
    binary = {"resourceType": "Binary", "contentType": json_patch["content-type"], "data": data}
    entry = {"resource": binary, "request": {"method": "PATCH", "url": f"Patient/{id}"}}
    answer = fhir.post("", json=transaction(entry))
    assert answer.json()["entry"][0]["resource"]["birthDate"] == "1971"


@pytest.mark.parametrize("kind", ["application/merge-patch+json", "application/json"])
def test_merge_patch(fhir: Client, kind: str) -> None:
    id = made(fhir, {**PATIENT, "gender": "male", "birthDate": "1970-01-02"})["id"]

    def patch(body: str) -> Any:
        return fhir.patch(f"/Patient/{id}", content=body, headers={"content-type": kind})

    after = patch('{"gender": null, "birthDate": "1971", "multipleBirthInteger": 2}').json()
    assert "gender" not in after and after["birthDate"] == "1971" and after["multipleBirthInteger"] == 2
    assert patch('{"birthDate": "nonsense"}').status_code == 422
    assert patch('{"id": "other"}').status_code == 422
    assert patch("7").status_code == 400
    data = b64encode(b'{"active": true}').decode()
    binary = {"resourceType": "Binary", "contentType": "application/merge-patch+json", "data": data}
    entry = {"resource": binary, "request": {"method": "PATCH", "url": f"Patient/{id}"}}
    answer = fhir.post("", json={"resourceType": "Bundle", "type": "transaction", "entry": [entry]})
    assert answer.status_code == 200 and fhir.get(f"/Patient/{id}").json()["active"] is True


def test_a_query_makes_a_create_conditional(fhir: Client) -> None:
    body = {**PATIENT, "identifier": [{"system": "urn:mrn", "value": "q"}]}
    first = fhir.post("/Patient?identifier=urn:mrn|q&_format=json", json=body)
    again = fhir.post("/Patient?identifier=urn:mrn|q", json=body)
    assert (first.status_code, again.status_code) == (201, 200) and first.json()["id"] == again.json()["id"]
    entry = {"resource": body, "request": {"method": "POST", "url": "Patient?identifier=urn:mrn|q"}}
    answer = fhir.post("", json={"resourceType": "Bundle", "type": "transaction", "entry": [entry]}).json()
    assert answer["entry"][0]["response"]["status"] == "200 OK"
    assert fhir.post("/Patient?_pretty=true", json=body).status_code == 201
    assert fhir.post("/Patient?nonsense=1", json=body).status_code == 400
    assert fhir.get("/Patient?identifier=q&_count=1&_totalMethod=count").json()["total"] == 2


def test_fhirpath_patch(fhir: Client) -> None:
    id = made(fhir, PATIENT)["id"]
    parts = [{"name": "type", "valueCode": "add"}, {"name": "path", "valueString": "Patient"}]
    parts += [{"name": "name", "valueString": "birthDate"}, {"name": "value", "valueDate": "1970"}]
    patch = {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": parts}]}
    headers = {"content-type": "application/fhir+json"}
    patched = fhir.patch(f"/Patient/{id}", json=patch, headers={**headers, "if-match": 'W/"1"'})
    assert patched.status_code == 200 and patched.json()["birthDate"] == "1970"
    assert patched.headers["etag"] == 'W/"2"'
    again = fhir.patch(f"/Patient/{id}", json=patch, headers=headers)
    assert again.status_code == 422 and again.json()["issue"][0]["expression"] == ["Parameters.parameter[0]"]
    parts[0] = {"name": "type", "valueCode": "replace"}
    parts[1:] = [{"name": "path", "valueString": "Patient.birthDate"}, {"name": "value", "valueDate": "soon"}]
    assert fhir.patch("/Patient?identifier=1", json=patch, headers=headers).status_code == 422
    parts[-1] = {"name": "value", "valueDate": "1971"}
    assert fhir.patch("/Patient?identifier=1", json=patch, headers=headers).json()["birthDate"] == "1971"
    parts[-1] = {"name": "value", "valueDate": "1972"}
    entry = {"resource": patch, "request": {"method": "PATCH", "url": f"Patient/{id}"}}
    answer = fhir.post("", json=transaction(entry))
    assert answer.json()["entry"][0]["resource"]["birthDate"] == "1972"
    # A link in the patch to another entry is rewritten like any other.
    urn = "urn:uuid:9f0f9eb0-5d5a-4d6f-b9b6-8d1c8c1c7b11"
    parts[0] = {"name": "type", "valueCode": "add"}
    parts[1:] = [{"name": "path", "valueString": "Patient"}, {"name": "name", "valueString": "managingOrganization"}]
    parts += [{"name": "value", "valueReference": {"reference": urn}}]
    ward = {"resource": {"resourceType": "Organization", "name": "Ward"}, "fullUrl": urn}
    answer = fhir.post("", json=transaction(entry, {**ward, "request": {"method": "POST", "url": "Organization"}}))
    linked, organization = (one["resource"] for one in answer.json()["entry"])
    assert linked["managingOrganization"]["reference"] == f"Organization/{organization['id']}"


def test_a_transaction_that_nests_too_deeply_is_refused(fhir: Client) -> None:
    for depth in (100, 330, 400, 3000):
        deep = '{"extension":[' * depth + "{}" + "]}" * depth
        resource = f'{{"resourceType":"Patient","extension":[{deep}]}}'
        entry = f'{{"resource":{resource},"request":{{"method":"POST","url":"Patient"}}}}'
        body = f'{{"resourceType":"Bundle","type":"transaction","entry":[{entry}]}}'
        answer = fhir.post("", content=body, headers={"content-type": "application/fhir+json"})
        assert answer.status_code in (400, 422), depth


def test_a_patch_that_nests_too_deeply_is_refused(fhir: Client) -> None:
    id = made(fhir, PATIENT)["id"]
    for depth in (100, 400, 3000, 100_000):
        deep = '{"extension":[' * depth + "{}" + "]}" * depth
        body = f'[{{"op": "add", "path": "/extension", "value": [{deep}]}}]'
        answer = fhir.patch(f"/Patient/{id}", content=body, headers={"content-type": "application/json-patch+json"})
        assert answer.status_code in (400, 422), depth
        parts = '[{"name":"type","valueCode":"add"},{"name":"path","valueString":"Patient"},{"name":"name",'
        parts += f'"valueString":"extension"}},{{"name":"value","valueExtension":{deep}}}]'
        body = f'{{"resourceType":"Parameters","parameter":[{{"name":"operation","part":{parts}}}]}}'
        answer = fhir.patch(f"/Patient/{id}", content=body, headers={"content-type": "application/fhir+json"})
        assert answer.status_code in (400, 422), depth


def test_compartments(fhir: Client) -> None:
    for n in "12":
        assert fhir.put(f"/Patient/{n}", json={**PATIENT, "id": n}).status_code == 201
        made(fhir, {**OBSERVATION, "subject": {"reference": f"Patient/{n}"}})
    performed = made(fhir, {**OBSERVATION, "performer": [{"reference": "Patient/1"}], "status": "amended"})["id"]
    assert len(fhir.get("/Patient/1/Observation").json()["entry"]) == 2
    found = fhir.get("/Patient/1/Observation?status=amended").json()
    assert [entry["resource"]["id"] for entry in found["entry"]] == [performed]
    assert found["link"][0]["url"].endswith("/Patient/1/Observation?status=amended")
    assert fhir.get("/Patient/1/Patient").json()["total"] == 1
    assert fhir.get("/Patient/1/CodeSystem").status_code == 404
    assert fhir.get("/Organization/1/Observation").status_code == 404
    assert fhir.get("/Patient/1?nonsense=1").status_code == 400
    form = {"content-type": "application/x-www-form-urlencoded"}
    posted = fhir.post("/Patient/1/Observation/_search", content="status=amended", headers=form).json()
    assert [entry["resource"]["id"] for entry in posted["entry"]] == [performed]
    made(fhir, {"resourceType": "Organization", "name": "no part of it"})
    for answer in (fhir.get("/Patient/1/*"), fhir.post("/Patient/1/_search", headers=form)):
        kinds = sorted(entry["resource"]["resourceType"] for entry in answer.json()["entry"])
        assert kinds == ["Observation", "Observation", "Patient"]
    assert fhir.get("/Patient/1/*?_type=Patient,Organization").json()["total"] == 1
    pages = fhir.get("/Patient/1/*?_count=2").json()
    further = fhir.get(next(one["url"] for one in pages["link"] if one["relation"] == "next")).json()
    assert (len(pages["entry"]), len(further["entry"])) == (2, 1)
    assert fhir.get("/Patient/1/*?_type=Organization").status_code == 404
    assert fhir.get("/Organization/1/*").status_code == 404


def test_64_conditional_creates_at_once_make_one(fhir: Client) -> None:
    def create(_: int) -> int:
        return fhir.post(
            "/Patient", json=PATIENT, headers={"if-none-exist": "identifier=urn:mrn|1"}, timeout=60
        ).status_code

    with ThreadPoolExecutor(64) as threads:
        statuses = sorted(threads.map(create, range(64)))
    assert statuses == [200] * 63 + [201]
    assert fhir.get("/Patient").json()["total"] == 1


def test_of_updates_at_once_with_one_if_match_one_wins(fhir: Client) -> None:
    id = made(fhir, PATIENT)["id"]

    def update(n: int) -> int:
        body = {**PATIENT, "id": id, "birthDate": f"19{n:02}"}
        return fhir.put(f"/Patient/{id}", json=body, headers={"if-match": 'W/"1"'}, timeout=60).status_code

    with ThreadPoolExecutor(16) as threads:
        assert sorted(threads.map(update, range(16))) == [200] + [412] * 15


def test_search_over_several_types(fhir: Client) -> None:
    made(fhir, {**PATIENT, "meta": {"tag": [{"system": "urn:t", "code": "a"}]}})
    made(fhir, OBSERVATION)
    for answer in (fhir.get("?_type=Patient,Observation"), fhir.get("/?_sort=_lastUpdated"),
                   fhir.post("/_search", data={"_type": "Patient,Observation"})):  # fmt: skip
        kinds = sorted(entry["resource"]["resourceType"] for entry in answer.json()["entry"])
        assert answer.status_code == 200 and kinds == ["Observation", "Patient"]
    tagged = fhir.get("", params={"_tag": "urn:t|a"}).json()
    assert [entry["resource"]["resourceType"] for entry in tagged["entry"]] == ["Patient"]
    assert tagged["link"][0]["url"] == f"{str(fhir.base_url).rstrip('/')}?_tag=urn:t|a"
    assert fhir.get("?code=1").status_code == 400 and fhir.get("?_type=Nothing").status_code == 400
    lenient = fhir.get("?code=1&_type=Patient", headers={"prefer": "handling=lenient"}).json()
    assert [entry["search"]["mode"] for entry in lenient["entry"]] == ["match", "outcome"]
