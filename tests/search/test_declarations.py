"""Search parameters by declaration: not searched by before their index is whole, and never by an old one."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from server.errors import UnknownParameter, Unprocessable
from server.fhir.definitions import load
from server.fhir.validate import validate
from server.interactions.capabilities import capabilities
from server.repository import Repository
from server.search import declarations
from server.search.declared import alternatives
from server.search.find import Search
from server.search.numbers import number
from server.security.access import Access, system
from server.store import search_parameters as store
from server.store.database import Database

Json = dict[str, Any]
NICKNAME = "http://example.org/nickname"


def parameter(**changes: Any) -> Json:
    whole = {
        "resourceType": "SearchParameter",
        "id": "nick",
        "url": "http://example.org/SearchParameter/nick",
        "name": "nick",
        "description": "By nickname",
        "status": "active",
        "code": "nickname",
        "base": ["Patient"],
        "type": "string",
        "expression": f"Patient.extension('{NICKNAME}').value",
    } | changes
    return {name: value for name, value in whole.items() if value is not None}


def patient(id: str, nickname: str) -> Json:
    return {"resourceType": "Patient", "id": id, "gender": "female", "birthDate": "1970-01-02",
            "extension": [{"url": NICKNAME, "valueString": nickname}]}  # fmt: skip


def opened(database: Database) -> Repository:
    definitions = load()
    return Repository(database, definitions, Search(definitions), validate=validate)


@pytest.fixture
def repository(database: Database) -> Repository:
    return opened(database)


def work(repository: Repository) -> None:
    while declarations.index_next(repository.database, repository.search_engine.declarations):
        pass


def found(repository: Repository, query: str, kind: str = "Patient") -> list[str]:
    name, _, value = query.partition("=")
    return sorted(one.id for one in repository.search(system(), kind, [(name, value)]).matches)


def rows(repository: Repository) -> int:
    with repository.database.reading() as uow:
        numbers = [number("Patient", "nickname")]
        counted = 0
        for kind in ("string", "token", "date"):
            statement = f"select count(*) from index_{kind} where parameter = any(%s)"
            counted += uow.driver.execute(statement.encode(), (numbers,)).fetchone()[0]  # type: ignore[index]
        return counted


def test_it_is_searched_by_when_all_is_indexed_and_not_before(repository: Repository) -> None:
    repository.update(system(), patient("old", "Mimi"))
    repository.update(system(), parameter())
    repository.update(system(), patient("new", "Momo"))
    with pytest.raises(UnknownParameter, match="SearchParameter/nick, but can't be searched by yet"):
        found(repository, "nickname=m")
    work(repository)
    assert found(repository, "nickname=m") == ["new", "old"]
    assert found(repository, "nickname:exact=Mimi") == ["old"]
    assert found(repository, "nickname:missing=true") == []
    repository.update(system(), patient("new", "Zaza"))
    assert found(repository, "nickname=mo") == []
    assert found(repository, "_filter=nickname eq zaza") == ["new"]
    assert [one.id for one in repository.search(system(), "Patient", [("_sort", "nickname")]).matches] == ["old", "new"]


def test_it_stands_in_the_capabilities_while_it_is_active(repository: Repository) -> None:
    def named() -> list[Json]:
        with repository.reading(system()) as transaction:
            definitions = transaction.search_engine.definitions
        statement = capabilities(definitions, base_url="http://here", version="0", date="2024")
        patients = next(one for one in statement["rest"][0]["resource"] if one["type"] == "Patient")
        return [one for one in patients["searchParam"] if one["name"] == "nickname"]

    repository.update(system(), parameter())
    assert named() == []
    work(repository)
    assert [one["definition"] for one in named()] == ["http://example.org/SearchParameter/nick"]
    repository.delete(system(), "SearchParameter", "nick")
    assert named() == []


@pytest.mark.parametrize("how", ["delete", "retired", "draft"])
def test_what_is_taken_back_is_gone_with_its_index(repository: Repository, how: str) -> None:
    repository.update(system(), patient("old", "Mimi"))
    repository.update(system(), parameter())
    work(repository)
    assert rows(repository) == 1
    if how == "delete":
        repository.delete(system(), "SearchParameter", "nick")
    else:
        repository.update(system(), parameter(status=how))
    with pytest.raises(UnknownParameter, match="no search parameter of Patient"):
        found(repository, "nickname=m")
    work(repository)
    assert rows(repository) == 0
    with repository.database.reading() as uow:
        assert store.declared(uow, 1) == []


def test_what_is_declared_anew_is_indexed_anew(repository: Repository) -> None:
    repository.update(system(), patient("old", "Mimi"))
    repository.update(system(), parameter())
    work(repository)
    repository.update(system(), parameter(expression="Patient.birthDate", type="date"))
    with pytest.raises(UnknownParameter, match="yet"):
        found(repository, "nickname=1970")
    work(repository)
    assert found(repository, "nickname=1970") == ["old"]
    assert rows(repository) == 1
    before = repository.update(system(), parameter(expression="Patient.birthDate", type="date", description="Other"))
    assert before.changed and found(repository, "nickname=1970") == ["old"], "what is declared is the same"


def test_all_types_of_values(repository: Repository) -> None:
    repository.update(system(), {"resourceType": "Organization", "id": "o", "name": "O"})
    whole = patient("p", "Mimi") | {"managingOrganization": {"reference": "Organization/o"}, "multipleBirthInteger": 3}
    repository.update(system(), whole)
    for code, kind, base, expression in (
        ("by-org", "reference", ["Patient"], "Patient.managingOrganization"),
        ("birth-order", "number", ["Patient"], "Patient.multipleBirth as integer"),
        ("sex", "token", ["Patient", "Practitioner"], "Patient.gender | Practitioner.gender"),
        ("made", "date", ["DomainResource"], "meta.lastUpdated"),
    ):
        one = parameter(id=code, url=f"urn:{code}", code=code, type=kind, base=base, expression=expression)
        repository.update(system(), one)
    standard = "http://hl7.org/fhir/SearchParameter/individual-"
    parts = [{"definition": f"{standard}gender", "expression": "gender"},
             {"definition": f"{standard}birthdate", "expression": "birthDate"}]  # fmt: skip
    both = parameter(
        id="both", url="urn:both", code="sex-born", type="composite", expression="Patient", component=parts
    )
    repository.update(system(), both)
    work(repository)
    assert found(repository, "by-org=Organization/o") == ["p"]
    assert found(repository, "by-org.name=o") == ["p"]
    assert found(repository, "_has:Patient:by-org:sex=female", "Organization") == ["o"]
    assert found(repository, "birth-order=gt2") == ["p"]
    assert found(repository, "sex=female") == ["p"]
    assert found(repository, "made=gt2020", "Organization") == ["o"]
    assert found(repository, "sex-born=female$1970") == ["p"]
    assert found(repository, "sex-born=female$1971") == []
    page = repository.search(system(), "Patient", [("_include", "Patient:by-org")])
    assert [one.id for one in page.included] == ["o"]


@pytest.mark.parametrize(
    ("changes", "place", "says"),
    [
        ({"expression": "Patient.name("}, "expression", "FHIRPath"),
        ({"expression": "Patient.nickname"}, "expression", "no element 'nickname'"),
        ({"expression": "Practitioner.name"}, "expression", "about Patient"),
        ({"expression": None}, "expression", "without an expression"),
        ({"expression": "Patient.birthDate", "type": "quantity"}, "type", "gives date"),
        ({"expression": "Patient.name", "type": "date"}, "type", "gives HumanName"),
        ({"expression": "Patient.name", "type": "special"}, "type", "special"),
        ({"code": "_nick"}, "code", "letters"),
        ({"code": "birthdate"}, "code", "individual-birthdate"),
        ({"type": "composite", "expression": "Patient"}, "component", "components"),
        ({"type": "composite", "component": [{"definition": "urn:x", "expression": "a"}]}, "component", "urn:x"),
    ],
    ids=str,
)
def test_what_can_not_be_indexed_is_refused_with_the_reason(
    repository: Repository, changes: Json, place: str, says: str
) -> None:
    with pytest.raises(Unprocessable) as refused:
        repository.update(system(), parameter(**changes))
    assert says in refused.value.details
    assert refused.value.issues[0].expression == f"SearchParameter.{place}"


def test_one_name_is_declared_once(repository: Repository) -> None:
    repository.update(system(), parameter())
    with pytest.raises(Unprocessable, match="SearchParameter/nick"):
        repository.update(system(), parameter(id="other", url="http://example.org/other"))


def test_the_standard_s_own_and_drafts_declare_nothing(repository: Repository) -> None:
    repository.update(system(), parameter(url="http://hl7.org/fhir/SearchParameter/individual-gender", code="gender"))
    repository.update(system(), parameter(id="draft", status="draft", expression="nonsense("))
    with repository.database.reading() as uow:
        assert store.declared(uow, 1) == []


def test_a_server_beside_it_knows_at_once(repository: Repository, database_url: str) -> None:
    other = Database(database_url)
    beside = opened(other)
    repository.update(system(), patient("a", "Mimi"))
    assert found(beside, "gender=female") == ["a"]
    repository.update(system(), parameter())
    beside.update(system(), patient("b", "Momo"))
    work(beside)
    assert found(repository, "nickname=m") == found(beside, "nickname=m") == ["a", "b"]
    beside.delete(system(), "SearchParameter", "nick")
    with pytest.raises(UnknownParameter):
        found(repository, "nickname=m")
    other.close()


def test_one_tenant_s_are_not_another_s(repository: Repository) -> None:
    with repository.database.unit_of_work() as uow:
        uow.driver.execute("insert into tenant (tenant, name) values (2, 'two') on conflict do nothing")
    repository.update(system(2), parameter())
    work(repository)
    with pytest.raises(UnknownParameter):
        found(repository, "nickname=m")
    assert repository.search(Access(who="x", tenant=2), "Patient", [("nickname", "m")]).matches == ()


def test_who_writes_without_knowing_is_waited_for(repository: Repository) -> None:
    """A transaction that began before the declaration ends after it, and what it wrote is found."""
    begun, end = threading.Event(), threading.Event()

    def slowly() -> None:
        with repository.transaction(system()) as transaction:
            transaction.update(patient("slow", "Mimi"))
            transaction.flush()
            begun.set()
            end.wait(30)

    writer = threading.Thread(target=slowly)
    writer.start()
    assert begun.wait(10)
    repository.update(system(), parameter())
    assert declarations.index_next(repository.database, repository.search_engine.declarations) == 0
    with pytest.raises(UnknownParameter, match="has not begun"):
        found(repository, "nickname=m")
    end.set()
    writer.join()
    work(repository)
    assert found(repository, "nickname=m") == ["slow"]


WORKER = """
import sys
from server.fhir.definitions import load
from server.search import declarations
from server.search.find import Search
from server.search.numbers import number
from server.store.database import Database
declarations.BATCH = 5
database = Database(sys.argv[1])
own = Search(load()).declarations
while declarations.index_next(database, own):
    print("step", flush=True)
"""


@pytest.fixture
def many(repository: Repository) -> Iterator[list[str]]:
    ids = [f"p{number:03}" for number in range(300)]
    with repository.transaction(system()) as transaction:
        for id in ids:
            transaction.update(patient(id, f"Mimi {id}"))
    yield ids


def test_a_killed_job_goes_on_where_it_was(repository: Repository, database_url: str, many: list[str]) -> None:
    repository.update(system(), parameter())
    seen = []
    for steps in (4, 9, 17):
        job = subprocess.Popen([sys.executable, "-c", WORKER, database_url], stdout=subprocess.PIPE, text=True)
        assert job.stdout is not None
        for _ in range(steps):
            assert job.stdout.readline() == "step\n"
        os.kill(job.pid, signal.SIGKILL)
        job.wait()
        job.stdout.close()
        with repository.database.reading() as uow:
            seen.append(store.declared(uow, 1)[0].indexed)
        with pytest.raises(UnknownParameter):
            found(repository, "nickname=m")
    assert seen == sorted(seen) and 0 < seen[0] < seen[2] < len(many)
    time.sleep(0.1)
    work(repository)
    page = repository.search(system(), "Patient", [("nickname", "mimi"), ("_count", "1000")])
    assert sorted(one.id for one in page.matches) == many
    assert rows(repository) == len(many)


def test_unions_are_taken_apart_at_their_outermost_bars() -> None:
    text = "A.b | (C.d | e) | f.where(x = 'a|b)') | g['|'] | `h|i`"
    assert list(alternatives(text)) == ["A.b", "(C.d | e)", "f.where(x = 'a|b)')", "g['|']", "`h|i`"]
