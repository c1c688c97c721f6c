"""Releases that were loaded and code systems that were written, asked over HTTP by operations and searches."""

import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from httpx import Client, Response

from server.errors import Conflict
from server.fhir.definitions import load
from server.repository import Repository
from server.search.find import Search
from server.security.access import system
from server.store.database import Database
from server.workflow import terminology_load
from server.workflow.terminology_load import Loader
from terminology.concept import Concept
from terminology.load import loinc, snomed
from terminology.load.release import Listed, Release, ReleasedSystem
from terminology.load.tables import Folder
from tests.terminology import releases

SCT = "http://snomed.info/sct"
EDITION = f"{SCT}/900000000000207008/version/20300101"
NODULE, LUNG_DISORDER, DISORDER, LUNG = "100003003", "100002008", "100001001", "100004009"


@pytest.fixture
def repository(database: Database) -> Repository:
    definitions = load()
    return Repository(database, definitions, Search(definitions))


@pytest.fixture
def loaded(repository: Repository, tmp_path: Path) -> Loader:
    loader = Loader(repository, system())
    with Folder(releases.snomed(tmp_path / "rf2.zip")) as folder:
        done = loader.load(snomed.read(folder), "one")
    assert done.systems == [{"url": SCT, "version": EDITION, "concepts": 6, "resumed_at": 0}]
    with Folder(releases.loinc(tmp_path / "loinc.zip")) as folder:
        loader.load(loinc.read(folder), "two")
    return loader


def codes(answer: Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [one["code"] for one in answer.json()["expansion"].get("contains", [])]


def told(answer: Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    return {
        part["name"]: value for part in answer.json()["parameter"] for key, value in part.items() if key[:5] == "value"
    }


def expand(fhir: Client, url: str, **more: Any) -> Response:
    return fhir.get("/ValueSet/$expand", params={"url": url, **more})


def test_operations_over_a_release(fhir: Client, loaded: Loader) -> None:
    asked = fhir.get(f"/CodeSystem/$lookup?system={SCT}&code={NODULE}&property=parent&property=363698007")
    assert told(asked) == {"name": "SNOMED_CT", "version": EDITION, "display": "Nodule of lung"}
    properties = [part["part"] for part in asked.json()["parameter"] if part["name"] == "property"]
    assert [[one["valueCode"] for one in part] for part in properties] == [
        ["parent", LUNG_DISORDER], ["363698007", LUNG],
    ]  # fmt: skip
    subsumed = fhir.get(f"/CodeSystem/$subsumes?system={SCT}&codeA={DISORDER}&codeB={NODULE}")
    assert told(subsumed) == {"outcome": "subsumes"}
    assert fhir.get(f"/CodeSystem/$lookup?system={SCT}&code=1&version={EDITION}").status_code == 404
    shells = fhir.get("/CodeSystem", params={"url": SCT}).json()["entry"]
    assert [one["resource"]["content"] for one in shells] == ["not-present"]
    inactive = told(fhir.get(f"/CodeSystem/$validate-code?url={SCT}&code=100005005"))
    assert inactive["result"] is True and "inactive" in inactive["message"]
    back = fhir.get("/ConceptMap/$translate", params={"system": SCT, "code": NODULE}).json()["parameter"][1]["part"]
    assert back[1]["valueCoding"]["code"] == "C34" and back[2]["valueUri"] == f"{SCT}?fhir_cm=446608001"


def test_value_sets_that_their_address_defines(fhir: Client, loaded: Loader) -> None:
    below = f"{SCT}?fhir_vs=isa/{DISORDER}"
    assert codes(expand(fhir, below)) == [DISORDER, LUNG_DISORDER, NODULE]
    page = expand(fhir, below, offset=1, count=1)
    assert codes(page) == [LUNG_DISORDER] and page.json()["expansion"]["total"] == 3
    assert codes(expand(fhir, below, filter="nod lun")) == [NODULE]
    assert codes(expand(fhir, below, filter="肺结")) == [NODULE] and codes(expand(fhir, below, filter="结肺")) == []
    assert codes(expand(fhir, f"{EDITION}?fhir_vs")) == sorted(map(str, releases.SNOMED))
    assert len(codes(expand(fhir, f"{SCT}?fhir_vs", activeOnly="true"))) == 5
    assert codes(expand(fhir, f"{SCT}?fhir_vs=refset/700001")) == [NODULE]
    for constraint, expected in (
        (f"<< {LUNG_DISORDER} |Lung disorder|", [LUNG_DISORDER, NODULE]),
        (f"< {DISORDER} : 363698007 = << {LUNG}", [NODULE]),
        (f"<! 138875005 MINUS {LUNG}", [DISORDER]),
        (f"^700001 OR >! {LUNG_DISORDER}", [DISORDER, NODULE]),
    ):
        assert codes(expand(fhir, f"{SCT}?fhir_vs=ecl/{quote(constraint)}")) == expected, constraint
    assert expand(fhir, f"{SCT}?fhir_vs=ecl/{quote('< 1234567 {')}").status_code == 422
    assert codes(expand(fhir, "http://loinc.org/vs/LL1-0")) == ["LA1-4", "LA2-2"]
    assert codes(expand(fhir, "http://loinc.org/vs/LP0-3")) == ["1-8", "2-6", "LP1-1"]
    nested = expand(fhir, below, excludeNested="false").json()["expansion"]["contains"]
    assert nested[0]["contains"][0]["contains"][0]["code"] == NODULE


def test_searches_by_a_release(fhir: Client, loaded: Loader, monkeypatch: pytest.MonkeyPatch) -> None:
    for id, code in (("a", NODULE), ("b", LUNG), ("c", LUNG_DISORDER)):
        coding = {"system": SCT, "code": code, "display": "x"}
        body = {
            "resourceType": "Condition",
            "id": id,
            "code": {"coding": [coding]},
            "subject": {"reference": "Patient/1"},
        }
        assert fhir.put(f"/Condition/{id}", json=body).status_code == 201
    for most in (2_000, 0):
        # All codes listed, and then asked of the tables.
        monkeypatch.setattr("server.search.codes.MOST_LISTED", most)
        for query, expected in (
            ({"code:below": f"{SCT}|{DISORDER}"}, "ac"),
            ({"code:above": f"{SCT}|{NODULE}"}, "ac"),
            ({"code:in": f"{SCT}?fhir_vs=isa/{LUNG_DISORDER}"}, "ac"),
            ({"code:not-in": f"{SCT}?fhir_vs=isa/{LUNG_DISORDER}"}, "b"),
            ({"code:in": f"{SCT}?fhir_vs=refset/700001"}, "a"),
        ):
            found = fhir.get("/Condition", params={**query, "_sort": "_id"})
            assert found.status_code == 200, found.text
            assert "".join(one["resource"]["id"] for one in found.json().get("entry", [])) == expected, query


def test_a_large_code_system_counts_at_once_and_goes_at_once(fhir: Client, database: Database) -> None:
    concepts = [{"code": f"c{n}", "display": f"Concept {n}"} for n in range(1200)]
    resource = {"resourceType": "CodeSystem", "id": "big", "url": "urn:big", "status": "active", "content": "complete"}
    assert fhir.put("/CodeSystem/big", json={**resource, "concept": concepts}).status_code == 201
    assert told(fhir.get("/CodeSystem/$lookup?system=urn:big&code=c1199"))["display"] == "Concept 1199"
    another = Search(load())
    with database.reading() as uow:
        known = another.at_hand(uow, 1).code_system("urn:big")
        assert known is not None and known.find("c7") is not None
    assert fhir.put("/CodeSystem/big", json={**resource, "concept": concepts[:600]}).status_code == 200
    assert fhir.get("/CodeSystem/$lookup?system=urn:big&code=c1199").status_code == 404
    with database.reading() as uow:
        known = another.at_hand(uow, 1).code_system("urn:big")
        assert known is not None and known.find("c599") is not None and known.find("c600") is None
    assert fhir.delete("/CodeSystem/big").status_code == 204
    assert fhir.get("/CodeSystem/$lookup?system=urn:big&code=c1").status_code == 404
    with database.reading() as uow:
        assert uow.driver.execute("select count(*) from code_concept").fetchone() == (0,)


class _Broken(Listed):
    """Concepts of a file that ends early, the first time."""

    broken = True

    def read(self, start: int = 0) -> Iterator[Concept]:
        yield from islice(super().read(start), 5 if self.broken else None)
        if self.broken:
            raise OSError("The disk is gone.")


def test_a_load_that_ended_early_is_gone_on_with(
    fhir: Client, loaded: Loader, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminology_load, "_BATCH", 2)
    concepts = _Broken([Concept(code=str(n), parents=("0",) if n else ()) for n in range(9)])
    header = snomed.Header(url=SCT, version=EDITION, name="SNOMED_CT")
    release = Release(systems=[ReleasedSystem(header, concepts)])
    with pytest.raises(OSError, match="gone"):
        loaded.load(release, "three")
    # Until the end what was there before is answered from.
    assert told(fhir.get(f"/CodeSystem/$lookup?system={SCT}&code={LUNG}"))["display"] == "Lung"
    concepts.broken = False
    (done,) = Loader(repository, system()).load(release, "three").systems
    assert done["resumed_at"] == 4 and done["concepts"] == 9
    assert told(fhir.get(f"/CodeSystem/$subsumes?system={SCT}&codeA=0&codeB=8")) == {"outcome": "subsumes"}
    assert fhir.get(f"/CodeSystem/$lookup?system={SCT}&code={LUNG}").status_code == 404
    assert loaded.remove(SCT, EDITION) and not loaded.remove(SCT, EDITION)
    assert fhir.get(f"/CodeSystem/$lookup?system={SCT}&code=0").status_code == 404


def test_two_loads_do_not_run_at_once(loaded: Loader, repository: Repository) -> None:
    begun, go_on = threading.Event(), threading.Event()

    class Slow(Listed):
        def read(self, start: int = 0) -> Iterator[Concept]:
            begun.set()
            assert go_on.wait(30)
            return super().read(start)

    header = snomed.Header(url="urn:slow")
    thread = threading.Thread(
        target=loaded.load, args=(Release(systems=[ReleasedSystem(header, Slow([Concept(code="a")]))]), "x")
    )
    thread.start()
    assert begun.wait(30)
    with pytest.raises(Conflict):
        Loader(repository, system()).load(Release(), "y")
    go_on.set()
    thread.join(30)


def test_units_are_told_by_their_grammar(fhir: Client) -> None:
    ucum = "http://unitsofmeasure.org"
    assert told(fhir.get(f"/CodeSystem/$validate-code?url={ucum}&code=mg/dL"))["result"] is True
    assert told(fhir.get(f"/CodeSystem/$validate-code?url={ucum}&code=mgs/dL"))["result"] is False
    asked = {"url": f"{ucum}/vs", "system": ucum, "code": "10*9/L"}
    assert told(fhir.get("/ValueSet/$validate-code", params=asked))["result"] is True
