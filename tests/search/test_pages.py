"""Pages are cut from the set of the first page's moment, whatever others write while a client turns them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest

from server.errors import BadRequest, Gone
from server.fhir.definitions import load
from server.repository import Repository
from server.search import cursor
from server.search.find import Search, SearchResult
from server.search.sight import Moment
from server.security.access import system
from server.store import resources
from server.store.database import Database

ACCESS = system()


@pytest.fixture
def repository(database: Database) -> Repository:
    definitions = load()
    return Repository(database, definitions, Search(definitions))


def patient(number: int, family: str = "a") -> dict[str, Any]:
    return {
        "resourceType": "Patient",
        "id": f"p{number}",
        "gender": "female" if number % 2 else "male",
        "name": [{"family": family, "given": [str(number % 5)]}],
        "birthDate": f"19{10 + number % 80}-01-01",
        **({"managingOrganization": {"reference": f"Organization/o{number % 3}"}}),
    }


def filled(repository: Repository, count: int) -> None:
    with repository.transaction(ACCESS) as transaction:
        for number in range(3):
            transaction.update({"resourceType": "Organization", "id": f"o{number}", "name": f"org {number}"})
        for number in range(count):
            transaction.update(patient(number))


def walked(
    repository: Repository, parameters: list[tuple[str, str]], between: Any = None, kind: str = "Patient"
) -> list[tuple[str, int, bytes]]:
    found: list[tuple[str, int, bytes]] = []
    page: SearchResult = repository.search(ACCESS, kind, parameters)
    while True:
        found += [(one.id, one.version, one.body) for one in page.matches]
        if not page.next:
            return found
        if between:
            between()
        page = repository.search(ACCESS, kind, [*parameters, (cursor.CURSOR, page.next)])


def change(repository: Repository, random: Random, most: int = 90) -> None:
    """One write that others might make: a patient comes, goes, or no longer (or newly) meets every criterion."""
    number = random.randrange(most)
    what = random.randrange(4)
    if what == 0:
        repository.delete(ACCESS, "Patient", f"p{number}")
    elif what == 1:
        repository.update(ACCESS, {**patient(number + 1, random.choice("abz")), "id": f"p{number}"})
    elif what == 2:
        repository.create(ACCESS, {**patient(number), "id": "none"})
    else:
        organization = {
            "resourceType": "Organization",
            "id": f"o{number % 3}",
            "name": random.choice(["org", "org again", "other"]),
        }
        repository.update(ACCESS, organization)


QUERIES = [
    [], [("gender", "female")], [("_sort", "birthdate")], [("_sort", "-given,-_lastUpdated")], [("name", "a")],
    [("organization.name", "org")], [("gender:not", "male"), ("_sort", "_id")], [("_lastUpdated", "gt2000")],
    [("_filter", "gender eq male or given eq 1")], [("family:missing", "false"), ("_total", "accurate")],
    [("_content", "female")], [("_sort", "_lastUpdated")],
]  # fmt: skip


@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_pages_are_of_the_first_moment(repository: Repository, query: list[tuple[str, str]]) -> None:
    filled(repository, 60)
    random = Random(repr(query))
    for _ in range(20):
        change(repository, random)
    expected = walked(repository, [*query, ("_count", "1000")])
    found = walked(repository, [*query, ("_count", "7")], lambda: [change(repository, random) for _ in range(6)])
    assert found == expected and len(expected) > 14
    assert walked(repository, [*query, ("_count", "1000")]) != expected


@contextmanager
def writers(repository: Repository, count: int) -> Iterator[None]:
    stopped = threading.Event()

    def write(seed: int) -> None:
        random = Random(seed)
        while not stopped.is_set():
            # Each has patients of its own, so that none is overtaken.
            number = random.randrange(20) * count + seed
            repository.update(ACCESS, {**patient(number, random.choice("abz")), "id": f"p{number}"})
            repository.delete(ACCESS, "Patient", f"p{random.randrange(20) * count + seed}")
            repository.create(ACCESS, {**patient(number), "id": "none"})

    threads = [threading.Thread(target=write, args=(seed,)) for seed in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stopped.set()
        for thread in threads:
            thread.join()


def test_pages_under_writers_at_the_same_time(repository: Repository) -> None:
    filled(repository, 80)
    with writers(repository, 4):
        for _ in range(5):
            # Both begin at one moment: the first page of one shows the other what the whole set is.
            with repository.reading(ACCESS) as transaction:
                whole = transaction.search("Patient", [("_sort", "-birthdate"), ("_count", "1000")])
                page = transaction.search("Patient", [("_sort", "-birthdate"), ("_count", "9")])
            found = list(page.matches)
            while page.next:
                asked = [("_sort", "-birthdate"), ("_count", "9"), (cursor.CURSOR, page.next)]
                page = repository.search(ACCESS, "Patient", asked)
                found += page.matches
            assert not whole.next
            assert [(one.id, one.version, one.body) for one in found] == [
                (one.id, one.version, one.body) for one in whole.matches
            ]


def test_totals_and_several_types_stay_those_of_the_first_moment(repository: Repository) -> None:
    filled(repository, 30)
    asked = [("_type", "Patient,Organization"), ("_count", "10"), ("_total", "accurate")]
    first = repository.search(ACCESS, "", asked)
    assert first.total == 33
    repository.delete(ACCESS, "Patient", "p3")
    repository.create(ACCESS, patient(99))
    second = repository.search(ACCESS, "", [*asked, (cursor.CURSOR, first.next)])
    assert second.total == 33 and repository.search(ACCESS, "", asked).total == 33


def test_what_is_included_is_of_the_first_moment_too(repository: Repository) -> None:
    filled(repository, 30)
    for asked in (
        [("_include", "Patient:organization"), ("_count", "4"), ("_sort", "_id")],
        [("_revinclude", "Patient:organization"), ("_count", "1"), ("_sort", "-_id")],
        [("_include", "Patient:*"), ("_revinclude:iterate", "Patient:organization"), ("_count", "9")],
    ):
        kind = "Organization" if asked[0] == ("_revinclude", "Patient:organization") else "Patient"

        def walk(kind: str, asked: list[tuple[str, str]], between: Any) -> set[tuple[str, str, bytes]]:
            page = repository.search(ACCESS, kind, asked)
            found = {(one.type, one.id, one.body) for one in page.included}
            while page.next:
                between()
                page = repository.search(ACCESS, kind, [*asked, (cursor.CURSOR, page.next)])
                found |= {(one.type, one.id, one.body) for one in page.included}
            return found

        random = Random(1)
        expected = walk(kind, asked, lambda: None)
        found = walk(kind, asked, lambda random=random: [change(repository, random) for _ in range(9)])
        assert found == expected and expected
        assert walk(kind, asked, lambda: None) != expected


def test_old_links_are_refused_and_damaged_ones_too() -> None:
    now = datetime.now(UTC)
    moment = Moment(snapshot="5:7:5,6", at=now - timedelta(minutes=5))
    text = cursor.written(moment, ["x", None, 5])
    assert cursor.read(text, now).values == ["x", None, 5] and cursor.read(text, now).moment.snapshot == "5:7:5,6"
    with pytest.raises(Gone):
        cursor.read(text, now + timedelta(minutes=resources.PAGES_LAST))
    for values in (["x"], [1 << 80], [True], [{}, 1]):
        with pytest.raises(BadRequest):
            cursor.read(cursor.written(moment, values), now)
    for damaged in (
        "",
        "!",
        "ä",
        "W10",
        text[:-9],
        cursor.written(Moment(snapshot="1:2;drop", at=now), [1]),
        cursor.written(Moment(snapshot="5:7:8", at=now), [1]),
        cursor.written(Moment(snapshot="9:7:", at=now), [1]),
    ):
        with pytest.raises(BadRequest):
            cursor.read(damaged, now)


def test_what_was_superseded_is_forgotten_in_time(repository: Repository) -> None:
    filled(repository, 5)
    first = repository.search(ACCESS, "Patient", [("_count", "2")])
    for number in range(5):
        repository.update(ACCESS, patient(number, "z"))
    with repository.database.unit_of_work() as uow:
        assert resources.forget(uow, 1, most=100) == 0
        assert resources.forget(uow, 1, most=3, minutes=0) == 3
        assert resources.forget(uow, 1, most=100, minutes=0) == 2
        count = uow.driver.execute("select count(*) from index_string where exact = 'a'").fetchone()
        assert count == (0,)
    assert first.next and len(repository.search(ACCESS, "Patient", [("family", "z")]).matches) == 5
