"""Whatever a search says, it is answered or refused by name: no other error, from the text to the database."""

import json
from base64 import urlsafe_b64encode
from time import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.errors import HutongError
from server.fhir.definitions import load
from server.repository import Repository
from server.search.filter import OPERATORS
from server.search.find import Search
from server.security.access import system
from server.store.database import Database

ACCESS = system()
CODES = st.sampled_from(
    [
        "name",
        "birthdate",
        "identifier",
        "gender",
        "code",
        "date",
        "value-quantity",
        "subject",
        "code-value-quantity",
        "_id",
        "_lastUpdated",
        "_tag",
        "_profile",
        "_text",
        "_content",
        "organization",
        "near",
        "status",
        "url",
        "location",
        "result",
    ]
)
STEPS = st.sampled_from(
    ["", "", "subject.", "subject:Patient.", "organization.", "result.", "location.partof.", "patient."]
)
MODIFIERS = st.sampled_from(
    [
        "",
        "",
        "",
        ":exact",
        ":contains",
        ":missing",
        ":not",
        ":text",
        ":in",
        ":not-in",
        ":above",
        ":below",
        ":identifier",
        ":of-type",
        ":Patient",
        ":iterate",
    ]
)
HAS = st.sampled_from(
    ["", "", "", "_has:Observation:subject:", "_has:DiagnosticReport:result:", "_has:Encounter:location:"]
)
WORDS = st.sampled_from(
    [
        "a",
        "ge2020",
        "5",
        "5|http://unitsofmeasure.org|kg",
        "a|b",
        "|",
        "a|b|c",
        "true",
        "false",
        "Patient/p",
        "x$5",
        "1|2|3|km",
        "http://hl7.org/fhir/ValueSet/administrative-gender",
        "\x00",
        "\\",
        "'",
        "%",
        "(a or b) and not c",
        "9" * 300,
        "gt1e99",
    ]
) | st.text(max_size=8)
FILTERS = st.recursive(
    st.builds(
        lambda step, code, operator, word: f"{step}{code} {operator} {word}",
        STEPS,
        CODES,
        st.sampled_from(OPERATORS),
        WORDS | WORDS.map(json.dumps),
    ),
    lambda inner: (
        st.builds(lambda a, b, how: f"{a} {how} ({b})", inner, inner, st.sampled_from(["and", "or"]))
        | inner.map(lambda text: f"not ({text})")
        | inner.map(lambda text: f"subject[{text}].name eq a")
    ),
    max_leaves=3,
)


def link(snapshot: str, values: list[Any]) -> str:
    return urlsafe_b64encode(json.dumps([snapshot, int(time()), *values]).encode()).decode().rstrip("=")


CURSORS = st.builds(
    link,
    st.sampled_from(["700:705:702", "1:1:", "5:4:", "9:8:7", "x"]) | st.text("0123456789:,", max_size=12),
    st.lists(st.none() | st.integers() | st.text(max_size=4) | st.booleans() | st.floats(), max_size=3),
)
RESULTS = st.one_of(
    st.tuples(
        st.just("_sort"), st.sampled_from(["name", "-birthdate,_id", "value-quantity", "near", "_lastUpdated", "-code"])
    ),
    st.tuples(st.just("_contained"), st.sampled_from(["true", "both", "false"])),
    st.tuples(st.just("_containedType"), st.sampled_from(["contained", "container"])),
    st.tuples(st.just("_include"), st.sampled_from(["*", "Observation:subject", "Patient:*", "x:y"])),
    st.tuples(st.just("_revinclude:iterate"), st.sampled_from(["*:*", "Observation:subject:Patient"])),
    st.tuples(st.just("_summary"), st.sampled_from(["count", "true", "text"])),
    st.tuples(st.just("_count"), st.sampled_from(["0", "1", "1000000000"])),
    st.tuples(st.just("_type"), st.sampled_from(["Patient", "Patient,Observation", "x"])),
    st.tuples(st.just("_list"), st.sampled_from(["l", "$current", "List/l,m"])),
    st.tuples(st.just("_page"), CURSORS),
    st.tuples(st.just("_filter"), FILTERS),
)
PARAMETERS = st.tuples(st.builds(lambda *parts: "".join(parts), HAS, STEPS, CODES, MODIFIERS), WORDS) | RESULTS


@pytest.fixture
def repository(database: Database) -> Repository:
    definitions = load()
    made = Repository(database, definitions, Search(definitions))
    inner = {"resourceType": "Patient", "id": "c", "name": [{"family": "a"}], "gender": "male"}
    with made.transaction(ACCESS) as transaction:
        transaction.update({**inner, "id": "p", "birthDate": "1970"})
        transaction.update(
            {
                "resourceType": "Observation",
                "id": "o",
                "status": "final",
                "contained": [inner],
                "code": {"text": "a"},
                "subject": {"reference": "#c"},
            }
        )
    return made


def test_every_search_is_answered_or_refused(repository: Repository) -> None:
    @settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        st.sampled_from(["Observation", "Patient", "Encounter", "DiagnosticReport", "Location", ""]),
        st.lists(PARAMETERS, min_size=1, max_size=3),
        st.booleans(),
    )
    def search(kind: str, parameters: list[tuple[str, str]], lenient: bool) -> None:
        try:
            repository.search(ACCESS, kind, parameters, lenient=lenient)
        except HutongError as error:
            assert all(issue.details for issue in error.issues)

    search()
