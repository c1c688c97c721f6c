"""_text and _content: which words a resource is found by."""

from typing import Any

import pytest

from server.errors import BadRequest, TooLarge
from server.fhir.definitions import load
from server.search.find import Search
from server.search.words import asked, indexed

SEARCH = Search(load())
REPORT: dict[str, Any] = {
    "resourceType": "DiagnosticReport",
    "id": "secret",
    "text": {"status": "generated", "div": '<div title="hidden">Bone&nbsp;scan: <b>métastases</b> 肺结节 5mm</div>'},
    "status": "final",
    "code": {"coding": [{"system": "http://loinc.org", "code": "1-8", "display": "Scan of the Liver"}]},
    "conclusion": "No lymph_node",
}


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("_text", "bone", True), ("_text", "BONE metastases", True), ("_text", "bone and liver", False),
        ("_text", "(bone or liver) and metastases", True), ("_text", "not liver", True), ("_text", "bon", False),
        ("_text", "bone not metastases", False), ("_text", "hidden", False), ("_text", "nbsp", False),
        ("_text", "肺", True), ("_text", "结节", True), ("_text", "肺结节", True), ("_text", "节肺", False),
        ("_text", "5mm", True), ("_text", "liver or bone and scan", True), ("_content", "liver", True),
        ("_content", "bone liver node", True), ("_content", "secret", False), ("_content", "loinc", False),
        ("_content", "lymph_node", True), ("_content", "final", True),
    ],
)  # fmt: skip
def test_finds_whole_words(name: str, text: str, expected: bool) -> None:
    assert SEARCH.matches(REPORT, "DiagnosticReport", [(name, text)]) == expected


@pytest.mark.parametrize("text", ["(bone", "bone)", "and", "or", "bone or", "not", "()", "-", "bone and"])
def test_refuses_what_is_no_expression(text: str) -> None:
    with pytest.raises(BadRequest):
        SEARCH.read("Patient", [("_text", text)])


def test_bounds_the_words() -> None:
    with pytest.raises(TooLarge):
        SEARCH.read("Patient", [("_content", "a " * 200)])
    with pytest.raises(TooLarge):
        SEARCH.read("Patient", [("_content", "(" * 50 + "a" + ")" * 50)])


def test_words_of_a_query_are_among_those_of_the_text() -> None:
    for text in ("肺结节", "a肺b", "x" * 100, "Straße", "1.5", "肺"):
        assert set(asked(text)) <= set(indexed(text))
