"""What goes the short way, and that both ways answer alike."""

import pytest
from httpx import Client
from starlette.types import Receive, Scope, Send

from server.http import fhir_direct
from server.http.fhir_direct import FhirDirect


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that is never asked."""


class _Router:
    prefix = "/fhir"
    answer = None


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/fhir/Patient", ("Patient",)),
        ("HEAD", "/fhir/Patient/1", ("Patient", "1")),
        ("DELETE", "/fhir/Patient/a.B-2", ("Patient", "a.B-2")),
        ("PATCH", "/fhir/Patient", ("Patient",)),
        ("POST", "/fhir/Patient/_search", ("Patient", "_search")),
        ("POST", "/fhir", ()),
        ("POST", "/fhir/", ()),
        ("GET", "/fhir", None),
        ("GET", "/fhir/metadata", None),
        ("GET", "/fhir/Patient/_search", None),
        ("GET", "/fhir/Patient/_history", None),
        ("GET", "/fhir/Patient/1/_history", None),
        ("GET", "/fhir/Patient/$export", None),
        ("POST", "/fhir/Patient/1", None),
        ("POST", "/fhir/Patient/$validate", None),
        ("OPTIONS", "/fhir/Patient", None),
        ("GET", "/fhirx/Patient", None),
        ("GET", "/dicomweb/studies", None),
    ],
)
def test_shapes(method: str, path: str, expected: tuple[str, ...] | None) -> None:
    direct = FhirDirect(_nothing, _Router())  # type: ignore[arg-type]
    assert direct._steps({"type": "http", "method": method, "path": path}) == expected


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/fhir/Nothing", ""),
        ("GET", "/fhir/Nothing/1", ""),
        ("GET", "/fhir/Patient/absent", ""),
        ("GET", "/fhir/Patient?nothing=1", ""),
        ("GET", "/fhir/Patient?_format=nothing", ""),
        ("POST", "/fhir/Patient", "{"),
        ("POST", "/fhir/Patient", '{"resourceType":"Observation"}'),
        ("POST", "/fhir/Patient/1", "{}"),
        ("PUT", "/fhir/Patient/1", '{"resourceType":"Patient","id":"2"}'),
        ("PUT", "/fhir/Patient/_search", '{"resourceType":"Patient"}'),
        ("PATCH", "/fhir/Patient/1", "[]"),
        ("POST", "/fhir", '{"resourceType":"Bundle","type":"searchset"}'),
        ("POST", "/fhir/Patient/_search", "name=x"),
    ],
)
def test_both_ways_answer_alike(
    fhir: Client, monkeypatch: pytest.MonkeyPatch, method: str, path: str, body: str
) -> None:
    kind = "application/x-www-form-urlencoded" if path.endswith("_search") else "application/fhir+json"
    short = fhir.request(method, path.removeprefix("/fhir") or "/", content=body, headers={"content-type": kind})
    monkeypatch.setattr(fhir_direct, "_METHODS", frozenset())
    long = fhir.request(method, path.removeprefix("/fhir") or "/", content=body, headers={"content-type": kind})
    assert (short.status_code, short.headers.get("content-type")) == (
        long.status_code,
        long.headers.get("content-type"),
    )
    assert short.json().get("issue") == long.json().get("issue")
    assert short.json()["resourceType"] == long.json()["resourceType"]
