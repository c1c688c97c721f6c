"""fhirpy (PyPI), unmodified, by both its clients: CRUD, patch, conditions, search, pages, transactions."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from fhirpy import AsyncFHIRClient, SyncFHIRClient
from fhirpy.base.exceptions import MultipleResourcesFound, OperationOutcome, ResourceNotFound


def name(family: str) -> list[dict[str, Any]]:
    return [{"family": family, "given": ["Li"]}]


def identified(value: str) -> dict[str, Any]:
    return {"identifier": [{"system": "urn:mrn", "value": value}]}


def test_sync_crud_and_patch(served_url: str) -> None:
    client = SyncFHIRClient(served_url)
    made = client.resource("Patient", name=name("Sync"), birthDate="1970-01-02")
    made.save()
    assert made.id and client.get("Patient", made.id)["meta"]["versionId"] == "1"
    made["gender"] = "female"
    made.save(fields=["gender"])
    assert client.reference("Patient", made.id).to_resource()["gender"] == "female"
    client.patch("Patient", made.id, birthDate="1971-01-02")
    made.refresh()
    assert made["birthDate"] == "1971-01-02" and made["meta"]["versionId"] == "3"
    made["name"] = name("Later")
    made.update()
    assert client.resources("Patient").search(family="later").count() == 1
    made.delete()
    with pytest.raises(ResourceNotFound):
        client.get("Patient", made.id)
    with pytest.raises(OperationOutcome):
        client.resource("Patient", gender="nonsense").save()


def test_sync_conditions(served_url: str) -> None:
    client = SyncFHIRClient(served_url)
    search = client.resources("Patient").search(identifier="urn:mrn|c1")
    first, made = search.get_or_create(client.resource("Patient", **identified("c1")))
    again, made_again = search.get_or_create(client.resource("Patient", **identified("c1")))
    assert made and not made_again and first.id == again.id
    updated, made = search.update(client.resource("Patient", **identified("c1"), gender="male"))
    assert not made and updated["gender"] == "male" and search.get().id == first.id
    search.patch(gender="female")
    assert search.get()["gender"] == "female"
    client.resource("Patient", **identified("c1")).save()
    with pytest.raises(MultipleResourcesFound):
        search.get()


def test_sync_search_and_pages(served_url: str) -> None:
    client = SyncFHIRClient(served_url)
    patients = [client.resource("Patient", name=name("Paged"), birthDate=f"19{n:02}-05-06") for n in range(7)]
    for one in patients:
        one.save()
    client.resource("Observation", status="final", code={"text": "x"}, subject=patients[0].to_reference()).save()
    found = client.resources("Patient").search(family="paged")
    assert len(found.limit(3).fetch_all()) == 7 == found.count()
    assert [one["birthDate"][:4] for one in found.sort("-birthdate").limit(2).fetch()] == ["1906", "1905"]
    assert {one.id for one in found.search(birthdate__ge="1903", birthdate__lt="1905")} == {p.id for p in patients[3:5]}
    both = found.revinclude("Observation", "subject").fetch_raw()
    assert sorted(entry.resource.resource_type for entry in both.entry) == ["Observation"] + ["Patient"] * 7
    chained = client.resources("Observation").search(subject__Patient__family="paged")
    assert chained.count() == 1
    assert found.elements("birthDate").first().get("name") is None


def test_sync_transaction_and_operations(served_url: str) -> None:
    client = SyncFHIRClient(served_url)
    entry = {"fullUrl": "urn:uuid:a", "resource": {"resourceType": "Patient", "name": name("Bundled")}}
    request = {"request": {"method": "POST", "url": "Patient"}}
    client.resource("Bundle", type="transaction", entry=[{**entry, **request}]).save()
    found = client.resources("Patient").search(family="bundled").get()
    everything = client.execute(f"Patient/{found.id}/$everything", method="get")
    assert everything["entry"][0]["resource"]["id"] == found.id
    assert found.is_valid()
    assert not client.resource("Patient", gender="nonsense").is_valid()


def run(work: Callable[[AsyncFHIRClient], Awaitable[None]], url: str) -> None:
    asyncio.run(work(AsyncFHIRClient(url)))  # type: ignore[arg-type]


def test_async_crud_search_and_pages(served_url: str) -> None:
    async def work(client: AsyncFHIRClient) -> None:
        made = [client.resource("Patient", name=name("Async")) for _ in range(5)]
        await asyncio.gather(*(one.save() for one in made))
        found = client.resources("Patient").search(family="async")
        assert {one.id async for one in found.limit(2)} == {one.id for one in made}
        assert len(await found.limit(2).fetch_all()) == await found.count() == 5
        one = await found.first()
        one["active"] = True
        await one.save()
        assert (await client.get("Patient", one.id))["meta"]["versionId"] == "2"
        await one.delete()
        with pytest.raises(ResourceNotFound):
            await client.reference("Patient", one.id).to_resource()
        _, made_first = (
            await client.resources("Patient")
            .search(identifier="urn:mrn|a1")
            .get_or_create(client.resource("Patient", **identified("a1")))
        )
        _, made_again = (
            await client.resources("Patient")
            .search(identifier="urn:mrn|a1")
            .get_or_create(client.resource("Patient", **identified("a1")))
        )
        assert made_first and not made_again

    run(work, served_url)
