"""The door for FHIR resources, on a real PostgreSQL."""

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from threading import Barrier

import pytest

from server.errors import BadRequest, Conflict, Forbidden, Gone, NotFound, PreconditionFailed, UnknownParameter
from server.fhir.definitions import load
from server.repository import Repository
from server.search.find import Search
from server.security.access import Access, system
from server.store import resources
from server.store.database import Database
from server.store.tables.resources import INDEX_TABLES

ACCESS = system()
PATIENT = {
    "resourceType": "Patient",
    "identifier": [{"system": "urn:mrn", "value": "1"}],
    "name": [{"family": "Müller", "given": ["Ana María"]}],
    "birthDate": "1970-03",
}


@pytest.fixture
def repository(database: Database) -> Repository:
    definitions = load()
    return Repository(database, definitions, Search(definitions))


def ids(repository: Repository, kind: str, query: dict[str, str]) -> list[str]:
    return [found.id for found in repository.search(ACCESS, kind, list(query.items())).matches]


def test_created_is_read_back_with_its_stamp(repository: Repository) -> None:
    written = repository.create(ACCESS, PATIENT)
    assert written.created and written.changed
    read = repository.read(ACCESS, "Patient", written.resource["id"])
    assert read == written.resource
    assert read["meta"]["versionId"] == "1" and read["meta"]["lastUpdated"].endswith("Z")
    assert {name: read[name] for name in PATIENT} == PATIENT


def test_decimals_keep_their_digits(repository: Repository) -> None:
    value = Decimal("1.10")
    observation = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "x"},
        "valueQuantity": {"value": value},
    }
    written = repository.create(ACCESS, observation)
    assert b'"value":1.10}' in repository.read_stored(ACCESS, "Observation", written.resource["id"]).body


def test_update_makes_versions_and_the_same_content_none(repository: Repository) -> None:
    resource = repository.create(ACCESS, PATIENT).resource
    changed = {**resource, "gender": "female"}
    second = repository.update(ACCESS, changed, if_match="1")
    assert not second.created and second.changed and second.resource["meta"]["versionId"] == "2"
    again = repository.update(ACCESS, {**changed, "meta": {}})
    assert not again.changed and again.resource["meta"]["versionId"] == "2"
    with pytest.raises(PreconditionFailed):
        repository.update(ACCESS, resource, if_match="1")
    versions = repository.history(ACCESS, "Patient", resource["id"])
    assert [found.version for found in versions] == [2, 1]
    assert b"gender" not in repository.vread(ACCESS, "Patient", resource["id"], "1").body


def test_delete_leaves_a_tombstone(repository: Repository) -> None:
    id = repository.create(ACCESS, PATIENT).resource["id"]
    assert repository.delete(ACCESS, "Patient", id) == 2
    assert repository.delete(ACCESS, "Patient", id) is None
    with pytest.raises(Gone):
        repository.read(ACCESS, "Patient", id)
    assert ids(repository, "Patient", {"identifier": "urn:mrn|1"}) == []
    assert [found.deleted for found in repository.history(ACCESS, "Patient", id)] == [True, False]
    revived = repository.update(ACCESS, {**PATIENT, "id": id})
    assert revived.created and revived.resource["meta"]["versionId"] == "3"
    with pytest.raises(NotFound):
        repository.read(ACCESS, "Patient", "nobody")


def test_search_by_token_string_reference_and_date(repository: Repository) -> None:
    patient = repository.create(ACCESS, PATIENT).resource["id"]
    other = repository.create(ACCESS, {**PATIENT, "identifier": [{"system": "urn:mrn", "value": "2"}]}).resource["id"]
    observation = repository.create(
        ACCESS,
        {
            "resourceType": "Observation",
            "status": "final",
            "code": {"coding": [{"system": "http://loinc.org", "code": "1-8", "display": "Acyclovir"}]},
            "subject": {"reference": f"Patient/{patient}"},
            "effectiveDateTime": "2024-02-29T12:00:00+01:00",
            "valueQuantity": {"value": Decimal("5.4"), "system": "http://unitsofmeasure.org", "code": "mg"},
        },
    ).resource["id"]
    assert ids(repository, "Patient", {"identifier": "urn:mrn|1"}) == [patient]
    assert ids(repository, "Patient", {"identifier": "2"}) == [other]
    assert ids(repository, "Patient", {"family": "mull"}) == [other, patient]
    assert ids(repository, "Patient", {"given:contains": "mari", "identifier": "1"}) == [patient]
    assert ids(repository, "Patient", {"family:exact": "Muller"}) == []
    assert ids(repository, "Patient", {"birthdate": "1970"}) == [other, patient]
    assert ids(repository, "Observation", {"subject": f"Patient/{patient}"}) == [observation]
    assert ids(repository, "Observation", {"patient": patient, "date": "ge2024-02-29"}) == [observation]
    assert ids(repository, "Observation", {"date": "lt2024-02-29T11:00:00Z"}) == []
    assert ids(repository, "Observation", {"code:text": "acy"}) == [observation]
    assert ids(repository, "Observation", {"code-value-quantity": "1-8$gt5"}) == [observation]
    assert ids(repository, "Observation", {"value-quantity": "0.0054|http://unitsofmeasure.org|g"}) == [observation]
    assert ids(repository, "Observation", {"subject:Patient.identifier": "1"}) == [observation]
    assert ids(repository, "Observation", {"patient.name": "nobody"}) == []
    assert ids(repository, "Patient", {"_has:Observation:patient:code": "1-8"}) == [patient]
    assert ids(repository, "Patient", {"gender:missing": "true", "_id": patient}) == [patient]
    assert ids(repository, "Patient", {"identifier:not": "urn:mrn|1"}) == [other]
    included = repository.search(ACCESS, "Observation", [("_include", "Observation:subject")])
    assert [found.id for found in included.included] == [patient]
    back = repository.search(ACCESS, "Patient", [("_id", patient), ("_revinclude", "Observation:subject")])
    assert [found.id for found in back.included] == [observation]


def test_pages_give_every_match_once_in_order(repository: Repository) -> None:
    for n in range(7):
        born = {"birthDate": f"19{70 + n % 3}"} if n else {}
        repository.create(ACCESS, {"resourceType": "Patient", **born})
    for sort in ("birthdate", "-birthdate", "_id", "-_lastUpdated", ""):
        parameters = [("_count", "2"), *([("_sort", sort)] if sort else [])]
        found, after = [], ""
        while True:
            page = repository.search(ACCESS, "Patient", [*parameters, ("_page", after)] if after else parameters)
            found += [one.id for one in page.matches]
            after = page.next
            if not after:
                break
        whole = ids(repository, "Patient", {"_sort": sort} if sort else {})
        assert found == whole and len(set(found)) == 7


def test_unknown_parameter_names_the_nearest(repository: Repository) -> None:
    with pytest.raises(UnknownParameter, match="nearest: birthdate"):
        repository.search(ACCESS, "Patient", [("birth-date", "1970")])
    lenient = repository.search(ACCESS, "Patient", [("birth-date", "1970")], lenient=True)
    assert "birth-date" in lenient.query.ignored[0]


def test_64_conditional_creates_make_one(repository: Repository) -> None:
    def create(_: int) -> bool:
        return repository.create(ACCESS, PATIENT, if_none_exist="identifier=urn:mrn|1").created

    with ThreadPoolExecutor(64) as threads:
        created = list(threads.map(create, range(64)))
    assert sum(created) == 1
    assert len(ids(repository, "Patient", {})) == 1


def test_empty_condition_is_refused(repository: Repository) -> None:
    with pytest.raises(BadRequest, match="at least one"):
        repository.create(ACCESS, PATIENT, if_none_exist="_count=1")


def test_transaction_commits_or_leaves_nothing(repository: Repository) -> None:
    with pytest.raises(RuntimeError), repository.transaction(ACCESS) as transaction:
        transaction.create(PATIENT)
        transaction.flush()
        raise RuntimeError
    assert ids(repository, "Patient", {}) == []
    with repository.transaction(ACCESS) as transaction:
        first = transaction.create(PATIENT)
        assert transaction.read("Patient", first.resource["id"]) == first.resource
        transaction.create({**PATIENT, "gender": "male"})
    assert len(ids(repository, "Patient", {})) == 2


def test_two_that_wait_for_each_other_end_in_a_conflict(repository: Repository) -> None:
    first, second = (repository.create(ACCESS, PATIENT).resource for _ in range(2))
    meet = Barrier(2)

    def change(resources: list[dict[str, object]]) -> str:
        try:
            with repository.transaction(ACCESS) as transaction:
                for n, resource in enumerate(resources):
                    transaction.update({**resource, "active": True})
                    if n == 0:
                        meet.wait()
        except Conflict:
            return "conflict"
        return "done"

    with ThreadPoolExecutor(2) as threads:
        assert sorted(threads.map(change, [[first, second], [second, first]])) == ["conflict", "done"]


def rows(repository: Repository, statement: str) -> list[tuple[object, ...]]:
    with repository.database.reading() as uow:
        return [tuple(row) for row in uow.driver.execute(statement)]  # type: ignore[arg-type]


def test_every_version_leaves_an_audit_row_and_an_outbox_row(repository: Repository) -> None:
    id = repository.create(ACCESS, PATIENT).resource["id"]
    repository.update(ACCESS, {**PATIENT, "id": id, "active": True})
    repository.update(ACCESS, {**PATIENT, "id": id, "active": True})
    repository.delete(ACCESS, "Patient", id)
    audit = rows(repository, "select who, action, type, id, version from audit order by audit")
    assert audit == [
        ("system", action, "Patient", id, n) for n, action in ((1, "create"), (2, "update"), (3, "delete"))
    ]
    assert rows(repository, "select type, id, version from change order by seq") == [
        ("Patient", id, n) for n in (1, 2, 3)
    ]
    # What was deleted is in no index, once nobody turns pages of before any more.
    with repository.database.unit_of_work() as uow:
        assert resources.forget(uow, 1, most=10, minutes=0) == 2
    for table in INDEX_TABLES.values():
        assert rows(repository, f"select key from {table.name}") == []


def test_tenants_never_meet(repository: Repository) -> None:
    other = system(2)
    id = repository.create(ACCESS, PATIENT).resource["id"]
    observed = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}
    observed["subject"] = {"reference": f"Patient/{id}"}
    repository.create(other, observed)
    with pytest.raises(NotFound):
        repository.read(other, "Patient", id)
    assert repository.create(other, PATIENT, if_none_exist="identifier=1").created
    assert len(repository.search(other, "Patient", []).matches) == 1
    assert repository.search(other, "Observation", [("_include", "Observation:subject")]).included == ()
    assert repository.search(other, "Observation", [("subject:Patient.identifier", "1")]).matches == ()
    assert repository.search(ACCESS, "Patient", [("_revinclude", "Observation:subject")]).included == ()
    assert repository.search(ACCESS, "Patient", [("_has:Observation:subject:status", "final")]).matches == ()
    assert repository.delete(other, "Patient", id) is None
    # The same id may live in both.
    assert repository.update(other, {**PATIENT, "id": id}).created
    assert repository.read(ACCESS, "Patient", id)["meta"]["versionId"] == "1"


def test_scopes_decide(repository: Repository) -> None:
    reader = Access(who="reader", scopes=frozenset({"read"}))
    writer = Access(who="writer", scopes=frozenset({"write"}))
    id = repository.create(writer, PATIENT).resource["id"]
    assert repository.read(reader, "Patient", id)["id"] == id
    for forbidden in (
        lambda: repository.create(reader, PATIENT),
        lambda: repository.update(reader, {**PATIENT, "id": id}),
        lambda: repository.delete(reader, "Patient", id),
        lambda: repository.read(writer, "Patient", id),
        lambda: repository.search(writer, "Patient", []),
        lambda: repository.history(writer, "Patient", id),
        lambda: repository.vread(writer, "Patient", id, "1"),
    ):
        with pytest.raises(Forbidden):
            forbidden()


def test_related_and_version_of(repository: Repository) -> None:
    id = repository.create(ACCESS, PATIENT).resource["id"]
    observed = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}
    observed["subject"] = {"reference": f"Patient/{id}"}
    with repository.database.reading() as uow:
        related = repository.related(uow, ACCESS.tenant, observed, "Patient")
        assert [found["id"] for found in related] == [id]
        assert repository.related(uow, ACCESS.tenant, observed, "Group") == ()
        assert repository.version_of(uow, ACCESS.tenant, "Patient", id, 2) is None
        found = repository.version_of(uow, ACCESS.tenant, "Patient", id, 1)
        assert found is not None and found["id"] == id


def test_rules_of_the_house_see_both_versions(database: Database) -> None:
    seen = []
    definitions = load()
    repository = Repository(
        database, definitions, Search(definitions), checks=[lambda access, new, before: seen.append((new, before))]
    )
    first = repository.create(ACCESS, PATIENT).resource
    repository.update(ACCESS, {**first, "active": True})
    assert [before for _, before in seen] == [None, first]
