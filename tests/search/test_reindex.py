"""The index is what the stored resources say: built anew, compared, mended."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import CliRunner

from server.cli.commands import application
from server.errors import BadRequest
from server.fhir.definitions import load
from server.repository import Repository
from server.search.check import Checked, check
from server.search.find import Search
from server.search.reindex import Scope, reindex
from server.security.access import system
from server.store import terminology_write
from server.store.database import Database
from terminology.code_system import Header

Json = dict[str, Any]
XHTML = "http://www.w3.org/1999/xhtml"


def quiet(_done: int, _total: int) -> None:
    """Progress that nobody looks at."""


@pytest.fixture
def repository(database: Database) -> Repository:
    definitions = load()
    made = Repository(database, definitions, Search(definitions))
    with made.transaction(system()) as transaction:
        for id in range(450):
            transaction.update({"resourceType": "Patient", "id": f"p{id}", "birthDate": "1970",
                                "name": [{"family": f"F{id}", "given": ["Ann", "Lee"]}]})  # fmt: skip
        transaction.update(observation())
    made.update(system(), observation(text="changed"))
    return made


def observation(text: str = "first") -> Json:
    inner = {"resourceType": "Patient", "id": "c", "name": [{"family": "Inner"}]}
    blood = {
        "code": {"coding": [{"system": "http://loinc.org", "code": "8480-6"}]},
        "valueQuantity": {"value": 120, "unit": "mm[Hg]", "code": "mm[Hg]", "system": "http://unitsofmeasure.org"},
    }
    return {"resourceType": "Observation", "id": "o", "status": "final", "contained": [inner], "component": [blood],
            "code": {"text": text}, "subject": {"reference": "#c"}, "performer": [{"reference": "Patient/p1"}],
            "text": {"status": "generated", "div": f"<div xmlns='{XHTML}'>said words</div>"}}  # fmt: skip


def checked(repository: Repository, **how: Any) -> Checked:
    return check(repository.database, repository.search_engine, how.pop("types", None), tell=quiet, **how)


def spoil(repository: Repository, *statements: str) -> None:
    with repository.database.unit_of_work() as uow:
        for statement in statements:
            uow.driver.execute(statement.encode())


def everything(repository: Repository) -> Any:
    tables = ["token", "string", "reference", "date", "number", "quantity", "uri", "position", "words"]
    with repository.database.reading() as uow:
        return {name: sorted(map(repr, uow.driver.execute(f"select * from index_{name}".encode()))) for name in tables}


def test_what_is_written_is_as_it_is_derived(repository: Repository) -> None:
    seen = checked(repository)
    assert seen.resources == 451 and seen.rows > 2000
    assert seen.differences == []
    assert checked(repository, types=("Observation",)).resources == 1


def test_each_difference_is_named_and_mended(repository: Repository) -> None:
    before = everything(repository)
    spoil(
        repository,
        "delete from index_string where folded = 'f7'",
        "update index_date set low = low + 1 where key in (select key from resource where id = 'p8')",
        "delete from index_words where key in (select key from resource where id = 'o')",
        "insert into index_token (tenant, parameter, key, item, code) select 1, 77, key, 0, 'x' from resource "
        "where id = 'p9'",
        "insert into index_uri (tenant, parameter, key, item, uri) values (1, 1, 999999999, 0, 'x')",
        "delete from index_quantity where key in (select key from resource where id = 'o')",
    )
    seen = checked(repository)
    told = {(one.resource, one.table, one.parameter, one.missing > 0, one.extra > 0) for one in seen.differences}
    assert ("Patient/p7", "index_string", "Patient.family", True, False) in told
    assert ("Patient/p7", "index_string", "Patient.name", True, False) in told
    assert ("Patient/p8", "index_date", "Patient.birthdate", True, True) in told
    assert ("Observation/o", "index_words", "Observation._text", True, False) in told
    assert ("Observation/o", "index_quantity", "Observation.component-code-value-quantity:1.ucum", True, False) in told
    assert ("Patient/p9", "index_token", "unknown (77)", False, True) in told
    assert ("", "index_uri", "", False, True) in told
    assert {one.resource for one in seen.differences} == {"Patient/p7", "Patient/p8", "Patient/p9", "Observation/o", ""}
    assert "f7" not in repr(seen).lower().replace("p7", "")
    checked(repository, repair=True)
    assert checked(repository).differences == []
    assert everything(repository) == before


def test_the_index_is_built_anew(repository: Repository) -> None:
    before = everything(repository)
    spoil(
        repository,
        *(f"truncate index_{name}" for name in ["token", "string", "reference", "date", "quantity", "words"]),
    )
    assert len(checked(repository).differences) > 451
    done = reindex(repository.database, repository.search_engine, Scope(), tell=quiet)
    assert (done.resources, done.earlier) == (451, 0)
    assert checked(repository).differences == []
    after = everything(repository)
    superseded = {name: len(before[name]) - len(after[name]) for name in before}
    assert all(0 <= count < 40 for count in superseded.values()), "only the version before is not there"


def test_one_type_or_parameter_alone(repository: Repository) -> None:
    spoil(repository, "truncate index_string", "truncate index_date")
    run = reindex(repository.database, repository.search_engine, Scope(parameters=("Patient.family",)), tell=quiet)
    assert run.resources == 450
    assert {one.parameter for one in checked(repository, types=("Patient",)).differences} == {
        "Patient.name", "Patient.given", "Patient.phonetic", "Patient.birthdate"
    }  # fmt: skip
    reindex(repository.database, repository.search_engine, Scope(types=("Patient",)), tell=quiet)
    assert checked(repository, types=("Patient",)).differences == []
    assert checked(repository, types=("Observation",)).differences != []


@pytest.mark.parametrize("scope", [Scope(types=("Patent",)), Scope(parameters=("Patient.nope",))], ids=str)
def test_a_name_that_is_not_known_is_refused(repository: Repository, scope: Scope) -> None:
    with pytest.raises(BadRequest):
        reindex(repository.database, repository.search_engine, scope, tell=quiet)


RUN = """
import sys
from server.fhir.definitions import load
from server.search import reindex
from server.search.find import Search
from server.store.database import Database
reindex.BATCH = 20
reindex.reindex(Database(sys.argv[1]), Search(load()), reindex.Scope(), tell=lambda done, _: print(done, flush=True))
"""


def test_a_killed_run_goes_on_where_it_was(repository: Repository, database_url: str) -> None:
    spoil(repository, "truncate index_string")
    job = subprocess.Popen([sys.executable, "-c", RUN, database_url], stdout=subprocess.PIPE, text=True)
    assert job.stdout is not None
    while int(job.stdout.readline()) < 100:
        pass
    os.kill(job.pid, signal.SIGKILL)
    job.wait()
    job.stdout.close()
    done = reindex(repository.database, repository.search_engine, Scope(), tell=quiet)
    assert done.resources == 451 and 100 <= done.earlier < 451
    assert checked(repository).differences == []
    assert reindex(repository.database, repository.search_engine, Scope(), tell=quiet).earlier == 0


@pytest.fixture
def hutong(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, Json]]:
    monkeypatch.setenv("HUTONG_DATABASE_URL", database_url)

    def run(*arguments: str) -> tuple[int, Json]:
        result = CliRunner().invoke(application(arguments[0]), [*arguments, "--json"])
        return result.exit_code, json.loads(result.stdout)

    return run


def test_by_the_command_line(repository: Repository, hutong: Callable[..., tuple[int, Json]]) -> None:
    status, told = hutong("check")
    assert (status, told["resources"], told["differences"]) == (0, 451, [])
    spoil(repository, "delete from index_string where folded = 'f7'")
    status, told = hutong("check", "--type", "Patient")
    assert status == 1
    assert told["differences"][0]["resource"] == "Patient/p7"
    status, told = hutong("reindex", "--parameter", "Patient.family", "--parameter", "Patient.name")
    assert (status, told["resources"], told["scope"]) == (0, 450, "Patient.family Patient.name")
    assert hutong("check")[0] == 1, "phonetic is not indexed anew"
    assert hutong("check", "--repair")[0] == 0
    assert hutong("check")[0] == 0


def system_of(count: int, id: str = "big") -> Json:
    concept = [
        {"code": f"c{n}", "display": f"Concept {n}", "designation": [{"language": "de", "value": f"Begriff {n}"}],
         "property": [{"code": "parent", "valueCode": f"c{n // 2}"}] if n else []}
        for n in range(count)
    ]  # fmt: skip
    return {"resourceType": "CodeSystem", "id": id, "url": f"http://example.org/{id}", "status": "active",
            "content": "complete", "concept": concept}  # fmt: skip


def of_terminology(repository: Repository) -> Any:
    """The tables of code systems, as they are whichever number each has."""
    with repository.database.reading() as uow:
        ids = dict(uow.driver.execute("select system, id from code_system").fetchall())
        tables = {}
        for name in ("code_concept", "code_designation", "code_property"):
            columns = "ancestors[1] - (system << 32), below, words" if name == "code_concept" else "place"
            found = uow.driver.execute(f"select system, number, {columns} from {name}".encode())
            tables[name] = sorted((str(ids.get(system)), *map(str, rest)) for system, *rest in found)
        return tables


def test_the_terminology_is_compared_and_mended(database: Database) -> None:
    definitions = load()
    repository = Repository(database, definitions, Search(definitions))
    repository.update(system(), system_of(600))
    repository.update(system(), system_of(20, "small"))
    before = of_terminology(repository)
    assert len(before["code_concept"]) == 600
    assert checked(repository).differences == []
    with repository.database.unit_of_work() as uow:
        terminology_write.complete(uow, 1, terminology_write.enter(uow, 1, Header(url="http://example.org/loaded")))
    spoil(
        repository,
        "delete from code_designation where number = 3",
        "update code_concept set below = below + 1, words = '' where number in (4, 5)",
        "insert into code_property values (1, 4711, 0, 0, 'parent', 'x', 'valueCode', null)",
        "update code_system set header = '{}' where id = 'small'",
        "update code_system set concepts = 7 where id = ''",
    )
    for repair, mended in ((False, False), (True, True)):
        seen = checked(repository, repair=repair)
        told = {(one.resource, one.table, one.missing, one.extra) for one in seen.differences}
        assert told == {
            ("CodeSystem/big", "code_designation", 1, 0), ("CodeSystem/big", "code_concept", 2, 2),
            ("CodeSystem/small", "code_system", 1, 1), ("", "code_property", 0, 1),
            ("http://example.org/loaded", "code_concept", 7, 0),
        }  # fmt: skip
        assert (of_terminology(repository) == before) == mended
    # A release is loaded anew; nobody knows here what was in it.
    assert [one.resource for one in checked(repository).differences] == ["http://example.org/loaded"]


def test_reindex_takes_code_systems_apart_anew(database: Database) -> None:
    definitions = load()
    repository = Repository(database, definitions, Search(definitions))
    repository.update(system(), system_of(501))
    before = of_terminology(repository)
    spoil(repository, "delete from code_concept", "insert into code_designation values (1, 4711, 0, 0, '{}')")
    for scope, whole in ((Scope(types=("Patient",)), False), (Scope(types=("CodeSystem",)), True)):
        reindex(database, repository.search_engine, scope, tell=quiet)
        assert (of_terminology(repository) == before) == whole
    repository.delete(system(), "CodeSystem", "big")
    assert checked(repository).differences == []
