"""FHIR XML over HTTP: what is taken, what is given, and who decides."""

from httpx import Client

from server.fhir.definitions import load
from server.fhir.xml_format import parse

XML = {"content-type": "application/fhir+xml", "accept": "application/fhir+xml"}
OBSERVATION = (
    b'<Observation xmlns="http://hl7.org/fhir"><status value="final"/><code><text value="weight"/></code>'
    b'<valueQuantity><value value="1.10"/></valueQuantity></Observation>'
)


def test_xml_in_and_json_or_xml_out(fhir: Client) -> None:
    created = fhir.post("/Observation", content=OBSERVATION, headers=XML)
    assert created.status_code == 201 and created.headers["content-type"] == "application/fhir+xml; charset=utf-8"
    stored = parse(load(), created.content)
    place = f"/Observation/{stored['id']}"
    as_json = fhir.get(place)
    assert as_json.headers["content-type"] == "application/fhir+json; charset=utf-8"
    assert '"value":1.10}' in as_json.text
    assert fhir.get(place, headers=XML).content == created.content
    assert fhir.get(f"{place}?_format=xml").content == created.content
    found = parse(load(), fhir.get("/Observation?_format=application/fhir%2Bxml").content)
    assert found["type"] == "searchset" and found["entry"][0]["resource"] == stored
    statement = parse(load(), fhir.get("/metadata", headers=XML).content)
    assert "application/fhir+xml" in statement["format"]


def test_accept_is_weighed(fhir: Client) -> None:
    for accept, given in [
        ("application/fhir+xml;q=0.5, application/fhir+json", "json"),
        ("text/html, application/xml;q=0.9, */*;q=0.8", "xml"),
        ("text/html, */*;q=0.8", "json"),
        ("application/fhir+xml; fhirVersion=5.0, application/fhir+json; fhirVersion=4.0", "json"),
    ]:
        answer = fhir.get("/Patient", headers={"accept": accept})
        assert answer.headers["content-type"] == f"application/fhir+{given}; charset=utf-8", accept
    assert fhir.get("/Patient?_format=xml;fhirVersion=5.0").status_code == 406
    wrong = {"content-type": "application/fhir+xml; charset=utf-8; fhirVersion=3.0"}
    assert fhir.post("/Observation", content=OBSERVATION, headers=wrong).status_code == 415


def test_errors_come_in_the_clients_format(fhir: Client) -> None:
    missing = fhir.get("/Patient/none", headers=XML)
    assert missing.status_code == 404
    assert parse(load(), missing.content)["issue"][0]["code"] == "not-found"
    bomb = b'<!DOCTYPE x [<!ENTITY a "aa">]><Patient xmlns="http://hl7.org/fhir"><language value="&a;"/></Patient>'
    assert fhir.post("/Patient", content=bomb, headers=XML).status_code == 400
    wrong = b'<Patient xmlns="http://hl7.org/fhir"><active value="maybe"/></Patient>'
    refused = fhir.post("/Patient", content=wrong, headers=XML)
    assert refused.status_code == 422
    assert parse(load(), refused.content)["issue"][0]["expression"] == ["Patient.active"]


def test_bundles_and_operations_by_xml(fhir: Client) -> None:
    entry = (
        b"<entry><resource>" + OBSERVATION + b'</resource><request><method value="POST"/><url value="Observation"/>'
        b"</request></entry>"
    )
    bundle = b'<Bundle xmlns="http://hl7.org/fhir"><type value="transaction"/>' + entry * 2 + b"</Bundle>"
    answer = parse(load(), fhir.post("", content=bundle, headers=XML).content)
    assert [one["response"]["status"] for one in answer["entry"]] == ["201 Created", "201 Created"]
    checked = parse(load(), fhir.post("/Observation/$validate", content=OBSERVATION, headers=XML).content)
    assert checked["resourceType"] == "OperationOutcome" and checked["issue"][0]["severity"] == "information"
