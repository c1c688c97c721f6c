"""Patient/$match over HTTP: who is found, in which order, how graded."""

from typing import Any

import pytest
from httpx import Client

from server.fhir.definitions import load
from server.fhir.json_format import parse
from server.fhir.validate import validate

_GRADE = "http://hl7.org/fhir/StructureDefinition/match-grade"
PEOPLE: dict[str, dict[str, Any]] = {
    "li": {"identifier": [{"system": "urn:mrn", "value": "a|1,2"}], "name": [{"family": "李", "given": ["小明"]}],
           "birthDate": "1970-01-02", "gender": "male", "telecom": [{"system": "phone", "value": "13812345678"}]},
    "li-too": {"name": [{"text": "李小明"}], "birthDate": "1970-01-02"},
    "li-else": {"name": [{"family": "李", "given": ["小明"]}], "birthDate": "1991-05-06"},
    "smith": {"name": [{"family": "Smith", "given": ["Ann"]}], "birthDate": "1980-03-04", "gender": "female"},
    "smyth": {"name": [{"family": "Smyth", "given": ["Ann"]}], "birthDate": "1980-03-04", "gender": "female"},
    "old": {"name": [{"family": "Smith", "given": ["Ann"]}], "birthDate": "1980-03-04",
            "link": [{"other": {"reference": "Patient/smith"}, "type": "replaced-by"}]},
}  # fmt: skip


@pytest.fixture
def people(fhir: Client) -> None:
    for id, person in PEOPLE.items():
        answer = fhir.put(f"/Patient/{id}", json={"resourceType": "Patient", "id": id, **person})
        assert answer.status_code == 201, answer.text


def match(fhir: Client, patient: dict[str, Any], **more: Any) -> dict[str, str]:
    """Id -> grade, in the order of the answer, which is that of the scores."""
    given = [{"name": "resource", "resource": {"resourceType": "Patient", **patient}}]
    given += [{"name": n, "valueBoolean" if isinstance(v, bool) else "valueInteger": v} for n, v in more.items()]
    answer = fhir.post("/Patient/$match", json={"resourceType": "Parameters", "parameter": given})
    assert answer.status_code == 200, answer.text
    assert list(validate(load(), parse(answer.content))) == []
    searches = [entry["search"] for entry in answer.json().get("entry", [])]
    scores = [one["score"] for one in searches]
    assert scores == sorted(scores, reverse=True) and answer.json()["total"] == len(scores)
    assert {extension["url"] for one in searches for extension in one["extension"]} <= {_GRADE}
    grades = [one["extension"][0]["valueCode"] for one in searches]
    return dict(zip([e["resource"]["id"] for e in answer.json().get("entry", [])], grades, strict=True))


@pytest.mark.usefixtures("people")
def test_by_identifier(fhir: Client) -> None:
    asked = {"identifier": PEOPLE["li"]["identifier"]}
    assert match(fhir, asked) == match(fhir, asked, onlyCertainMatches=True) == {"li": "certain"}
    assert match(fhir, {"identifier": [{"system": "urn:mrn", "value": "a"}]}) == {}


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize("name", [{"text": "李小明"}, {"family": "李", "given": ["小明"]}, {"text": "李 小明"}])
def test_by_a_chinese_name(fhir: Client, name: dict[str, Any]) -> None:
    asked = {"name": [name], "birthDate": "1970-01-02", "gender": "male"}
    assert match(fhir, asked) == {"li": "probable", "li-too": "probable"}
    with_phone = {**asked, "telecom": [{"system": "phone", "value": "+86 138 1234 5678"}]}
    assert match(fhir, with_phone) == {"li": "certain", "li-too": "probable"}
    assert match(fhir, with_phone, onlyCertainMatches=True) == {"li": "certain"}
    assert match(fhir, asked, onlyCertainMatches=True) == {}
    assert list(match(fhir, asked, count=1)) == ["li"]
    # Without the birth date they are found by the name, which alone makes nobody likely.
    phone = [{"system": "phone", "value": "138-1234-5678"}]
    assert match(fhir, {"name": [name], "gender": "male", "telecom": phone}) == {"li": "possible"}
    assert match(fhir, {"name": [name]}) == {}


@pytest.mark.usefixtures("people")
def test_misspelt(fhir: Client) -> None:
    asked = {"name": [{"family": "Smith", "given": ["Ann"]}], "birthDate": "1980-03-04", "gender": "female"}
    # Who was replaced by another record is left out.
    assert match(fhir, asked) == {"smith": "probable", "smyth": "possible"}
    assert match(fhir, {**asked, "birthDate": "1980-04-03"}) == {"smith": "possible"}


@pytest.mark.usefixtures("people")
def test_two_certain_ones_are_none(fhir: Client) -> None:
    twice = {"resourceType": "Patient", "id": "twice", "identifier": PEOPLE["li"]["identifier"]}
    fhir.put("/Patient/twice", json=twice)
    asked = {"identifier": PEOPLE["li"]["identifier"]}
    assert match(fhir, asked) == {"li": "certain", "twice": "certain"}
    assert match(fhir, asked, onlyCertainMatches=True) == {}


def test_what_is_refused(fhir: Client) -> None:
    assert fhir.post("/Patient/$match", json={"resourceType": "Patient", "gender": "male"}).status_code == 200
    assert fhir.post("/Patient/$match", json={"resourceType": "Basic", "code": {"text": "x"}}).status_code == 400
    assert fhir.post("/Patient/$match", json={"resourceType": "Patient", "gender": "x"}).status_code == 422
    assert fhir.post("/Patient/$match?count=0", json={"resourceType": "Patient"}).status_code == 400
    assert fhir.post("/Patient/$match").status_code == 400
    assert fhir.post("/Organization/$match", json={"resourceType": "Patient"}).status_code == 404
