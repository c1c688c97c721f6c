"""DELETE and study locks over a real socket."""

from collections.abc import Callable, Iterator

import httpx
import pytest
import requests
from dicomweb_client import DICOMwebClient

Make = Callable[..., bytes]
DELETE = {"scopes": "read delete"}
ADMIN = {"scopes": "admin"}


@pytest.fixture
def client(dicomweb_url: str, make_instance: Make) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=dicomweb_url) as client:
        for number in (1, 2, 3):
            answer = client.post(
                "/studies", content=make_instance(number), headers={"Content-Type": "application/dicom"}
            )
            assert answer.status_code == 200
        yield client


def test_each_level_is_deleted_and_is_gone(client: httpx.Client) -> None:
    instance = "/studies/1.2.3/series/1.2.3.1/instances/1.2.3.1.2"
    answer = client.delete(instance, headers=DELETE)
    assert (answer.status_code, answer.content) == (204, b"")
    assert client.delete(instance, headers=DELETE).status_code == 410
    assert len(client.get("/studies/1.2.3/instances").json()) == 2
    assert client.get("/studies?StudyInstanceUID=1.2.3").json()[0]["00201208"]["Value"] == [2]
    assert client.delete("/studies/1.2.3/series/1.2.3.1", headers=DELETE).status_code == 204
    assert client.get("/studies").json() == []
    assert client.delete("/studies/1.2.3", headers=DELETE).status_code == 410
    assert client.delete("/studies/1.2.99", headers=DELETE).status_code == 404


def test_without_the_scope_nothing_is_deleted(client: httpx.Client) -> None:
    answer = client.delete("/studies/1.2.3")
    assert answer.status_code == 403 and "delete" in answer.json()["errors"][0]["details"]
    assert len(client.get("/studies").json()) == 1


def test_a_locked_study_is_refused_with_its_reason(client: httpx.Client) -> None:
    assert client.put("/studies/1.2.3/lock", json={"reason": "trial 7"}).status_code == 403
    assert client.put("/studies/1.2.99/lock", json={"reason": "x"}, headers=ADMIN).status_code == 404
    assert client.put("/studies/1.2.3/lock", json={"reason": " "}, headers=ADMIN).status_code == 400
    assert client.put("/studies/1.2.3/lock", json={"reason": "trial 7"}, headers=ADMIN).status_code == 204
    refused = client.delete("/studies/1.2.3", headers=DELETE)
    assert refused.status_code == 409 and "trial 7" in refused.json()["errors"][0]["details"]
    assert client.get("/studies/1.2.3/lock").json()["who"] == "test"
    assert [one["study"] for one in client.get("/locks").json()] == ["1.2.3"]
    assert client.delete("/studies/1.2.3/lock", headers=ADMIN).status_code == 204
    assert client.delete("/studies/1.2.3/lock", headers=ADMIN).status_code == 404
    assert client.get("/studies/1.2.3/lock").status_code == 404
    assert client.delete("/studies/1.2.3", headers=DELETE).status_code == 204


def test_dicomweb_client_deletes_at_each_level(client: httpx.Client, dicomweb_url: str) -> None:
    foreign = DICOMwebClient(dicomweb_url, headers=DELETE)
    foreign.delete_instance("1.2.3", "1.2.3.1", "1.2.3.1.1")
    foreign.delete_series("1.2.3", "1.2.3.1")
    with pytest.raises(requests.HTTPError, match="410"):
        foreign.delete_study("1.2.3")
