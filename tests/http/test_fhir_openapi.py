"""The OpenAPI of the FHIR routes is what is served, and nothing that it provokes is a server's error."""

import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.fhir.definitions import load
from server.interactions.route import INTERACTIONS

Json = dict[str, Any]
#: Calls of the whole run; HUTONG_FUZZ=10000 in CI.
#: Bodies are few: making one takes longer than answering it.
CALLS = int(os.environ.get("HUTONG_FUZZ", "10000" if os.environ.get("CI") == "true" else "1500"))
#: Types whose paths are fuzzed: each has another shape; all types have the same code.
TYPES = ("Patient", "Observation", "Location", "SearchParameter", "ValueSet", "Bundle", "Subscription")


@pytest.fixture
def document(fhir: httpx.Client) -> Json:
    found: Json = fhir.get("/openapi.json").json()
    return found


def test_every_interaction_of_every_type_is_in_it(document: Json) -> None:
    paths = document["paths"]
    names = {one["operationId"] for path in paths.values() for one in path.values()}
    assert len(names) == sum(len(path) for path in paths.values())
    for kind in load().resource_types:
        for code in {code for code, _ in INTERACTIONS.values() if not code.endswith("-system")}:
            assert f"{code}-{kind}" in names
    search = {each["name"] for each in paths["/Patient"]["get"]["parameters"]}
    assert {"birthdate", "_lastUpdated", "_has:Type:reference:parameter", "_count"} <= search
    assert document["openapi"].startswith("3.1")


def test_what_it_refers_to_is_there(document: Json) -> None:
    for found in set(re.findall(r'"\$ref": ?"#/([^"]+)"', str(document).replace("'", '"'))):
        at: Any = document
        for step in found.split("/"):
            at = at[step]


def test_everything_in_it_is_answered_as_it_says(fhir: httpx.Client, document: Json) -> None:
    """Each operation of each path is called once, without anything: no path is unknown, no status is unsaid."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            where = path.replace("{id}", "none").replace("{version}", "1").rstrip("/")
            answer = fhir.request(method, where)
            assert str(answer.status_code) in operation["responses"], (method, path, answer.status_code, answer.text)
            if answer.status_code in (400, 404):
                assert "no interaction" not in answer.text and "no operation" not in answer.text, (method, path)


def smaller(document: Json) -> Json:
    """The paths to be fuzzed, with schemas that do not lead on for ever."""
    schemas = document["components"]["schemas"]
    for schema in schemas.values():
        for name in ("extension", "modifierExtension", "contained", "text", "meta", "implicitRules", "language"):
            schema.get("properties", {}).pop(name, None)
    kept = {
        path: methods
        for path, methods in document["paths"].items()
        if not (kind := path.split("/")[1])[:1].isupper()
        or (kind in TYPES and "/{id}/" not in path)
        or kind == TYPES[0]
    }
    return {**document, "paths": kept}


def test_nothing_that_it_provokes_is_a_server_error(
    fhir_url: str, fhir: httpx.Client, document: Json, database_url: str, request: pytest.FixtureRequest
) -> None:
    for kind, more in (("Patient", {}), ("Observation", {"status": "final", "code": {"text": "x"}})):
        fhir.put(f"/{kind}/0", json={"resourceType": kind, "id": "0", **more})
    found = [each.ok() for each in schemathesis.openapi.from_dict(smaller(document)).get_all_operations()]
    plain = [each for each in found if not each.body]
    bodies = [each for each in found if each.body]
    seen: Counter[int] = Counter()
    for operations, share in ((plain, 0.94), (bodies, 0.06)):

        @settings(
            max_examples=int(CALLS * share), deadline=None, suppress_health_check=list(HealthCheck), database=None
        )
        @given(st.sampled_from(operations).flatmap(lambda one: one.as_strategy()))
        def provoke(case: schemathesis.Case) -> None:
            answer = case.call(base_url=fhir_url)
            seen[answer.status_code] += 1
            assert answer.status_code < 500, (case.method, case.path, case.query, case.body, answer.text)
            said = case.operation.responses
            assert str(answer.status_code) in {str(status) for status in said.status_codes}, (
                case.method, case.path, answer.status_code, answer.text[:300]
            )  # fmt: skip

        provoke()
    assert seen.total() >= CALLS * 0.9
    told = f"{seen.total()} calls: {dict(sorted(seen.items()))}; largest backend {largest_backend(database_url)} MiB"
    request.config.get_terminal_writer().line(f"\n{told}")


def largest_backend(database_url: str) -> int:
    """The most memory, in MiB, that one process of PostgreSQL ever had resident, shared buffers among it."""
    with psycopg.connect(database_url) as connection:
        pids = [row[0] for row in connection.execute("select pid from pg_stat_activity where datname is not null")]
    texts = [Path(f"/proc/{pid}/status").read_text(encoding="utf-8") for pid in pids if Path(f"/proc/{pid}").exists()]
    return max(int(found[1]) for text in texts if (found := re.search(r"VmHWM:\s+(\d+)", text))) // 1024
