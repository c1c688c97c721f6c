"""The terminology operations over HTTP, over stored resources and the bundled code lists."""

from typing import Any

import pytest
from httpx import Client, Response

from server.fhir.definitions import load
from server.fhir.json_format import parse
from server.fhir.validate import validate

GENDER = "http://hl7.org/fhir/administrative-gender"
BUNDLED = "http://hl7.org/fhir/ValueSet/administrative-gender"
ANIMALS = {
    "resourceType": "CodeSystem",
    "id": "animals",
    "url": "urn:animals",
    "version": "1",
    "name": "Animals",
    "status": "active",
    "content": "complete",
    "concept": [
        {
            "code": "animal",
            "display": "Animal",
            "concept": [
                {"code": "dog", "display": "Dog", "designation": [{"language": "de", "value": "Hund"}]},
                {"code": "duck", "display": "Duck", "definition": "A bird that swims."},
                {"code": "dodo", "display": "Dodo", "property": [{"code": "inactive", "valueBoolean": True}]},
            ],
        }
    ],
}
PETS = {
    "resourceType": "ValueSet",
    "id": "pets",
    "url": "urn:pets",
    "status": "active",
    "compose": {
        "include": [
            {"system": "urn:animals", "filter": [{"property": "concept", "op": "descendent-of", "value": "animal"}]},
            {"valueSet": [BUNDLED]},
        ],
        "exclude": [{"system": GENDER, "concept": [{"code": "unknown"}]}],
    },
}
MAP = {
    "resourceType": "ConceptMap",
    "id": "map",
    "url": "urn:map",
    "status": "active",
    "group": [
        {
            "source": "urn:animals",
            "target": "urn:tiere",
            "element": [
                {"code": "dog", "target": [{"code": "hund", "display": "Hund", "equivalence": "equivalent"}]},
                {"code": "dodo", "target": [{"equivalence": "unmatched"}]},
            ],
        }
    ],
}


@pytest.fixture(autouse=True)
def content(fhir: Client) -> None:
    for resource in (ANIMALS, PETS, MAP):
        answer = fhir.put(f"/{resource['resourceType']}/{resource['id']}", json=resource)
        assert answer.status_code == 201, answer.text


def values(answer: Response) -> dict[str, Any]:
    """The simple parameters of an answer, which must be valid."""
    assert answer.status_code == 200, answer.text
    assert list(validate(load(), parse(answer.content))) == []
    return {
        part["name"]: value
        for part in answer.json()["parameter"]
        for key, value in part.items()
        if key.startswith("value")
    }


def codes(answer: Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    assert [issue for issue in validate(load(), parse(answer.content)) if issue.severity == "error"] == []
    return [one["code"] for one in answer.json()["expansion"].get("contains", [])]


def sent(**parameters: Any) -> dict[str, Any]:
    parts = [
        {"name": name, "resource" if isinstance(value, dict) and "resourceType" in value else key: value}
        for name, (key, value) in parameters.items()
    ]
    return {"resourceType": "Parameters", "parameter": parts}


def test_lookup(fhir: Client) -> None:
    dog = fhir.get("/CodeSystem/$lookup?system=urn:animals&code=dog&displayLanguage=de")
    assert values(dog) == {"name": "Animals", "version": "1", "display": "Hund"}
    named = {part["name"] for part in dog.json()["parameter"]}
    assert named == {"name", "version", "display", "designation", "property"}
    asked = fhir.get("/CodeSystem/$lookup?system=urn:animals&code=animal&property=child").json()
    children = [part["part"][1]["valueCode"] for part in asked["parameter"] if part["name"] == "property"]
    assert children == ["dog", "duck", "dodo"]
    coding = fhir.post("/CodeSystem/$lookup", json=sent(coding=("valueCoding", {"system": GENDER, "code": "male"})))
    assert values(coding)["display"] == "Male"
    for query, status in (
        ("system=urn:animals&code=cat", 404),
        ("system=urn:none&code=x", 404),
        ("system=urn:animals&code=dog&version=7", 404),
        ("code=dog", 400),
        ("system=urn:animals", 400),
        ("system=urn:animals&code=dog&date=2024", 400),
    ):
        assert fhir.get(f"/CodeSystem/$lookup?{query}").status_code == status, query


def test_subsumes(fhir: Client) -> None:
    for a, b, outcome in (
        ("animal", "dog", "subsumes"),
        ("dog", "animal", "subsumed-by"),
        ("dog", "duck", "not-subsumed"),
    ):
        for path in ("/CodeSystem/$subsumes?system=urn:animals&", "/CodeSystem/animals/$subsumes?"):
            assert values(fhir.get(f"{path}codeA={a}&codeB={b}")) == {"outcome": outcome}
    assert fhir.get("/CodeSystem/$subsumes?codeA=dog&codeB=duck").status_code == 400
    assert fhir.get("/CodeSystem/animals/$subsumes?codeA=dog&codeB=cat").status_code == 404


def test_validate_code_of_a_code_system(fhir: Client) -> None:
    path = "/CodeSystem/$validate-code?url=urn:animals"
    assert values(fhir.get(f"{path}&code=dog")) == {"result": True, "display": "Dog"}
    assert values(fhir.get(f"{path}&code=dog&display=hund"))["result"] is True
    wrong = values(fhir.get(f"{path}&code=dog&display=Cat"))
    assert wrong["result"] is False and wrong["display"] == "Dog" and "display" in wrong["message"]
    assert values(fhir.get(f"{path}&code=cat"))["result"] is False
    assert values(fhir.get("/CodeSystem/animals/$validate-code?code=duck"))["result"] is True
    assert fhir.get("/CodeSystem/$validate-code?url=urn:none&code=x").status_code == 404


def test_validate_code_of_a_value_set(fhir: Client) -> None:
    path = "/ValueSet/$validate-code?url=urn:pets"
    assert values(fhir.get(f"{path}&system=urn:animals&code=dog")) == {"result": True, "display": "Dog"}
    assert values(fhir.get(f"{path}&system=urn:animals&code=animal"))["result"] is False
    assert values(fhir.get(f"{path}&system={GENDER}&code=male"))["result"] is True
    assert values(fhir.get(f"{path}&system={GENDER}&code=unknown"))["result"] is False
    concept = {"coding": [{"system": "urn:other", "code": "x"}, {"system": "urn:animals", "code": "duck"}]}
    body = sent(codeableConcept=("valueCodeableConcept", concept), valueSet=("resource", PETS))
    assert values(fhir.post("/ValueSet/$validate-code", json=body))["result"] is True
    assert values(fhir.get("/ValueSet/pets/$validate-code?system=urn:animals&code=dog"))["result"] is True
    assert fhir.get(f"{path}&code=dog").status_code == 400
    assert fhir.get("/ValueSet/$validate-code?system=urn:animals&code=dog").status_code == 400


def test_expand(fhir: Client) -> None:
    path = "/ValueSet/$expand?url=urn:pets"
    whole = fhir.get(path)
    assert codes(whole) == ["dog", "duck", "dodo", "male", "female", "other"]
    assert whole.json()["expansion"]["total"] == 6 and "compose" not in whole.json()
    assert codes(fhir.get("/ValueSet/pets/$expand")) == codes(whole)
    assert codes(fhir.get(f"{path}&activeOnly=true&count=2&offset=1")) == ["duck", "male"]
    assert codes(fhir.get(f"{path}&count=0")) == []
    assert codes(fhir.get(f"{path}&filter=D")) == ["dog", "duck", "dodo"]
    assert codes(fhir.get(f"{path}&filter=hun")) == ["dog"]
    assert codes(fhir.get(f"{path}&exclude-system=urn:animals")) == ["male", "female", "other"]
    german = fhir.get(f"{path}&filter=dog&displayLanguage=de&includeDesignations=true&includeDefinition=true").json()
    assert german["compose"] == PETS["compose"]
    contained = german["expansion"]["contains"][0]
    assert contained["display"] == "Hund" and contained["designation"] == [{"language": "de", "value": "Hund"}]
    assert codes(fhir.get(f"/ValueSet/$expand?url={BUNDLED}")) == ["male", "female", "other", "unknown"]
    body = {**PETS, "compose": {"include": [{"system": "urn:animals"}]}}
    assert len(codes(fhir.post("/ValueSet/$expand", json=body))) == 4
    for query, status in (
        ("url=urn:none", 404),
        ("count=3", 400),
        ("url=urn:pets&count=-1", 400),
        ("url=urn:pets&context=urn:x", 400),
        ("url=urn:pets&activeOnly=maybe", 400),
    ):
        assert fhir.get(f"/ValueSet/$expand?{query}").status_code == status, query
    missing = {**PETS, "compose": {"include": [{"system": "urn:none"}]}}
    assert fhir.post("/ValueSet/$expand", json=missing).status_code == 404


def test_the_newest_of_several_is_taken_and_a_version_when_named(fhir: Client) -> None:
    newer = {**ANIMALS, "id": "newer", "version": "2", "concept": [{"code": "cat", "display": "Cat"}]}
    assert fhir.put("/CodeSystem/newer", json=newer).status_code == 201
    assert values(fhir.get("/CodeSystem/$lookup?system=urn:animals&code=cat"))["version"] == "2"
    assert values(fhir.get("/CodeSystem/$lookup?system=urn:animals&code=dog&version=1"))["display"] == "Dog"


def test_translate(fhir: Client) -> None:
    for path in ("/ConceptMap/$translate?", "/ConceptMap/$translate?url=urn:map&", "/ConceptMap/map/$translate?"):
        answer = fhir.get(f"{path}system=urn:animals&code=dog")
        assert values(answer) == {"result": True}
        match = answer.json()["parameter"][1]["part"]
        assert match[0] == {"name": "equivalence", "valueCode": "equivalent"}
        assert match[1]["valueCoding"] == {"system": "urn:tiere", "code": "hund", "display": "Hund"}
        assert match[2] == {"name": "source", "valueUri": "urn:map"}
    back = fhir.get("/ConceptMap/$translate?system=urn:tiere&code=hund&reverse=true").json()
    assert back["parameter"][1]["part"][1]["valueCoding"]["code"] == "dog"
    for query in ("system=urn:animals&code=dodo", "system=urn:animals&code=cat", "system=urn:none&code=x"):
        assert values(fhir.get(f"/ConceptMap/$translate?{query}"))["result"] is False
    assert values(fhir.get("/ConceptMap/$translate?system=urn:animals&code=dog&target=urn:x"))["result"] is False
    assert fhir.get("/ConceptMap/$translate?code=dog").status_code == 400
    assert fhir.get("/ConceptMap/$translate?url=urn:none&system=a:b&code=dog").status_code == 404


def test_they_are_told_where_they_are_served_only(fhir: Client) -> None:
    named = {
        one["type"]: {operation["name"] for operation in one["operation"]}
        for one in fhir.get("/metadata").json()["rest"][0]["resource"]
    }
    assert named["CodeSystem"] >= {"lookup", "subsumes", "validate-code"}
    assert named["ValueSet"] >= {"expand", "validate-code"} and "lookup" not in named["ValueSet"]
    assert "translate" in named["ConceptMap"] and "translate" not in named["Patient"]
    assert fhir.get("/Patient/$lookup?code=x").status_code == 404


def test_supplements_add_to_what_is_known(fhir: Client) -> None:
    concept = {
        "code": "dog", "display": "Chien", "designation": [{"language": "it", "value": "Cane"}],
        "property": [{"code": "legs", "valueInteger": 4}, {"code": "inactive", "valueBoolean": True}],
    }  # fmt: skip
    supplement = {
        "resourceType": "CodeSystem", "id": "more", "url": "urn:more", "version": "3", "status": "active",
        "content": "supplement", "supplements": "urn:animals|1", "language": "fr",
        "concept": [concept, {"code": "cat", "display": "Chat"}],
    }  # fmt: skip

    def looked_up(language: str) -> tuple[str, set[str], set[str]]:
        found = fhir.get("/CodeSystem/$lookup", params={"system": "urn:animals", "code": "dog",
                                                        "displayLanguage": language}).json()["parameter"]  # fmt: skip
        part = [(one["name"], {each["name"]: each for each in one.get("part", ())}) for one in found]
        named = {str(each["value"]["valueString"]) for name, each in part if name == "designation"}
        held = {str(each["code"]["valueCode"]) for name, each in part if name == "property"}
        return next(one["valueString"] for one in found if one["name"] == "display"), named, held

    def expansion(**more: str) -> dict[str, Any]:
        asked = {"url": "urn:pets", "displayLanguage": "it", **more}
        found: dict[str, Any] = fhir.get("/ValueSet/$expand", params=asked).json()["expansion"]
        return found

    assert looked_up("fr") == ("Dog", {"Hund"}, {"parent"})
    assert fhir.put("/CodeSystem/more", json=supplement).status_code == 201
    assert looked_up("fr") == ("Chien", {"Hund", "Chien", "Cane"}, {"parent", "legs"})
    assert fhir.get("/CodeSystem/$lookup?system=urn:animals&code=cat").status_code == 404
    told = expansion()
    assert {one["code"]: one["display"] for one in told["contains"]}["dog"] == "Cane"
    assert "inactive" not in next(one for one in told["contains"] if one["code"] == "dog")
    assert {"name": "used-supplement", "valueUri": "urn:more|3"} in told["parameter"]
    told = fhir.get("/CodeSystem/$validate-code?url=urn:animals&code=dog&display=cane").json()["parameter"]
    assert told[0] == {"name": "result", "valueBoolean": True}
    for other in ({"status": "retired"}, {"supplements": "urn:animals|2"}):
        assert fhir.put("/CodeSystem/more", json={**supplement, **other}).status_code == 200
        assert looked_up("fr")[0] == "Dog", other


def test_closure_keeps_a_client_in_step(fhir: Client) -> None:
    def called(*added: str, system: str = "urn:animals", **more: str) -> Response:
        parameters = [{"name": "name", "valueString": more.pop("name", "mine")}]
        parameters += [{"name": "version", "valueString": version} for version in more.values()]
        codings = [{"name": "concept", "valueCoding": {"system": system, "code": code}} for code in added]
        return fhir.post("/$closure", json={"resourceType": "Parameters", "parameter": [*parameters, *codings]})

    def pairs(answer: Response) -> tuple[str, set[tuple[str, str]]]:
        assert answer.status_code == 200, answer.text
        assert list(validate(load(), parse(answer.content))) == []
        elements = [one for group in answer.json().get("group", ()) for one in group["element"]]
        found = [(one["code"], target["code"]) for one in elements for target in one["target"]]
        assert len(found) == len(set(found))
        return answer.json()["version"], set(found)

    assert called("dog").status_code == 404
    assert pairs(called()) == ("0", set())
    assert pairs(called("dog", "duck")) == ("1", set())
    assert pairs(called("animal", "dog")) == ("2", {("dog", "animal"), ("duck", "animal")})
    assert pairs(called("animal")) == ("2", set())
    assert pairs(called("dodo", version="1"))[1] == {(one, "animal") for one in ("dog", "duck", "dodo")}
    assert pairs(called(version="0")) == ("3", {(one, "animal") for one in ("dog", "duck", "dodo")})
    assert pairs(called(version="2")) == ("3", {("dodo", "animal")})
    # Another table is another's.
    assert pairs(called(name="other")) == ("0", set())
    alone = {"name": ("valueString", "mine")}
    for answer, status in (
        (called("cat"), 404), (called("x", system="urn:none"), 404), (called("x", system=""), 422),
        (called(version="9"), 400), (called(version="x"), 400), (called(name="x" * 300), 400),
        (fhir.post("/$closure", json=sent(**alone, concept=("valueCoding", {"code": "dog"}))), 400),
        (fhir.get("/$closure?name=mine"), 400), (fhir.post("/ConceptMap/$closure"), 404),
        (fhir.post("/$closure", headers={"who": "me", "scopes": "read"}, json=sent(**alone)), 403),
    ):  # fmt: skip
        assert answer.status_code == status, answer.text
    assert pairs(called(version="0"))[0] == "3"
    assert pairs(called()) == ("0", set())
