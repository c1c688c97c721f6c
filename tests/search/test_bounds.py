"""What would cost too much is refused as too-costly before it costs anything, or ended when it does."""

import pytest

from server.errors import BadRequest, TooLarge
from server.fhir.definitions import load
from server.repository import Repository
from server.search import find, include
from server.search.find import Search
from server.security.access import system
from server.store.database import Database

SEARCH = Search(load())
ACCESS = system()


@pytest.fixture
def repository(database: Database) -> Repository:
    definitions = load()
    return Repository(database, definitions, Search(definitions))


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        ("Observation", ".".join(["subject:Patient", *["link:Patient"] * 50, "name"]), "x"),
        ("Observation", "subject:Patient." + "link." * 3000 + "name", "x"),
        ("Patient", "_has:Observation:patient:" * 50 + "code", "x"),
        ("Patient", "name:contains", "a" * 1_000_000),
        ("Patient", "name:exact", "a" * 1_000_000),
        ("Patient", "identifier", ",".join(map(str, range(1001)))),
        ("Patient", "_filter", "name eq a and " * 2000 + "name eq a"),
        ("Patient", "_filter", "(" * 1000 + "name eq a"),
        ("Observation", "_filter", ".".join(["subject", *["link"] * 15, "name"]) + " eq a"),
        ("Patient", "_content", "word " * 10_000),
        ("AuditEvent", "entity.entity.entity.patient.name", "x"),
    ],
    ids=lambda text: text[:20],
)
def test_is_refused_before_it_costs(kind: str, name: str, value: str) -> None:
    with pytest.raises(TooLarge) as refused:
        SEARCH.read(kind, [(name, value)])
    assert [issue.code for issue in refused.value.issues] == ["too-costly"]
    assert len(refused.value.details) < 500


def test_criteria_are_counted_over_the_whole_search() -> None:
    with pytest.raises(TooLarge):
        SEARCH.read("Patient", [("name", "x")] * 500)


def test_count_is_bounded_and_must_be_one() -> None:
    assert SEARCH.read("Patient", [("_count", "1000000000")]).count == 1000
    for text in ("-1", "1e3", "x", "9" * 30, "٣"):
        with pytest.raises(BadRequest):
            SEARCH.read("Patient", [("_count", text)])


def test_includes_are_bounded(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    with repository.transaction(ACCESS) as transaction:
        transaction.update({"resourceType": "Patient", "id": "p"})
        for number in range(30):
            transaction.update(
                {
                    "resourceType": "Basic",
                    "id": f"b{number}",
                    "code": {"text": "x"},
                    "subject": {"reference": "Patient/p"},
                }
            )
    found = repository.search(ACCESS, "Patient", [("_revinclude", "*"), ("_include", "*")])
    assert len(found.included) == 30
    monkeypatch.setattr(include, "MOST_INCLUDED", 20)
    with pytest.raises(TooLarge):
        repository.search(ACCESS, "Patient", [("_revinclude", "*"), ("_include", "*")])


def test_a_slow_search_is_ended_and_only_the_search(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find, "SLOWEST_MILLISECONDS", 200)
    with repository.transaction(ACCESS) as transaction:
        transaction.search("Patient", [("name", "x")])
        after = transaction.uow.driver.execute("show statement_timeout").fetchone()
        assert after == ("0",)
    with repository.database.unit_of_work() as uow:
        uow.driver.execute("lock table index_string in access exclusive mode")
        with pytest.raises(TooLarge) as ended:
            repository.search(ACCESS, "Patient", [("name", "x")])
    assert "make it narrower" in ended.value.details
    assert repository.search(ACCESS, "Patient", [("name", "x")]).total == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [("code:in", "\x00"), ("_filter", "code in \x00"), ("code:below", "\x00|\x00"), ("code:above", "a\x00|b")],
)
def test_what_no_text_of_the_database_can_hold_is_refused_as_unknown(
    repository: Repository, name: str, value: str
) -> None:
    with pytest.raises(BadRequest):
        repository.search(ACCESS, "Observation", [(name, value)])


@pytest.mark.parametrize("value", ["\x00", "a\x00b", "no id", "x" * 65])
def test_what_is_no_id_finds_nothing(repository: Repository, value: str) -> None:
    repository.create(ACCESS, {"resourceType": "Patient"})
    for name in ("_id", "_id:not"):
        found = repository.search(ACCESS, "Patient", [(name, value)])
        assert found.total == (0 if name == "_id" else 1)
