"""A peer's FHIR server as user agent: pages by absolute and relative links, and answers that are none."""

import json
from typing import Any

import pytest

from server.errors import HutongError, Unprocessable, Unreachable
from server.outbound.fhir import connect_fhir
from server.settings import Peer
from tests.outbound.test_dicomweb import US, Service, served


def page(number: int, following: str = "") -> bytes:
    link = [{"relation": "self", "url": "?"}, *([{"relation": "next", "url": following}] if following else [])]
    entry = [{"resource": {"resourceType": "ImagingStudy", "id": str(number)}}, {"fullUrl": "urn:x"}, "odd"]
    return json.dumps({"resourceType": "Bundle", "type": "searchset", "link": link, "entry": entry}).encode()


def at(service: Service) -> Peer:
    base = f"http://127.0.0.1:{service.port}/r4/"
    return Peer(name="region", fhir_url=base, fhir_token="secret", token="other", timeout=2)


def everything(service: Service) -> list[dict[str, Any]]:
    with connect_fhir(US, at(service)) as fhir:
        return list(fhir.resources("ImagingStudy", {}))


@pytest.mark.parametrize(
    ("following", "path"),
    [
        ("http://127.0.0.1:{port}/r4?page=2", "/r4?page=2"),
        ("http://127.0.0.1:{port}/r4/ImagingStudy?page=2", "/r4/ImagingStudy?page=2"),
        ("/r4/ImagingStudy?page=2", "/r4/ImagingStudy?page=2"),
        ("ImagingStudy?page=2", "/r4/ImagingStudy?page=2"),
        ("?page=2", "/r4/?page=2"),
    ],
)
def test_the_next_page_however_it_is_linked(following: str, path: str) -> None:
    with served(Service(kind="application/fhir+json")) as service, connect_fhir(US, at(service)) as fhir:
        service.answer = page(1, following.format(port=service.port))
        found = fhir.resources("ImagingStudy", {"patient.identifier": "P 1|x"})
        assert next(found)["id"] == "1"
        service.answer = page(2)
        assert [one["id"] for one in found] == ["2"]
    assert [one[1] for one in service.heard] == ["/r4/ImagingStudy?patient.identifier=P+1%7Cx", path]
    assert {one[2]["Authorization"] for one in service.heard} == {"Bearer secret"}


@pytest.mark.parametrize("following", ["http://169.254.169.254/r4/x", "//other.example/r4/x", "/admin?page=2"])
def test_a_page_elsewhere_is_not_followed(following: str) -> None:
    with served(Service(answer=page(1, following))) as service, pytest.raises(Unprocessable, match="fhir_url"):
        everything(service)
    assert len(service.heard) == 1


def test_pages_without_end() -> None:
    with served(Service(answer=page(1, "?page=1"))) as service, pytest.raises(Unprocessable, match="pages"):
        everything(service)


@pytest.mark.parametrize(
    ("status", "answer", "error"),
    [
        (200, b"[]", Unprocessable),
        (200, b"<html>", Unprocessable),
        (200, b'{"resourceType": "Patient"}', Unprocessable),
        (400, b"{}", Unprocessable),
        (401, b"{}", Unreachable),
        (404, b"{}", Unreachable),
    ],
)
def test_what_is_no_answer(status: int, answer: bytes, error: type[HutongError]) -> None:
    with served(Service(status=status, answer=answer)) as service, pytest.raises(error, match="region"):
        everything(service)
