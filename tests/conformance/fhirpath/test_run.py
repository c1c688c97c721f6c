"""The suite's runner: right answers pass, wrong ones are told, and the engine that we ship is what answers."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from conformance.fhirpath.__main__ import main
from conformance.fhirpath.run import EngineEnded, passes, run
from conformance.fhirpath.suite import Test as SuiteTest
from conformance.fhirpath.suite import tests as suite_tests
from server.fhir import json_format
from server.fhir.fhirpath.__main__ import answers

SUITE = """<tests><group name="g">
  <test name="path" inputfile="p.xml"><expression>name.given</expression>
    <output type="string">Tong</output><output type="string">Xiang</output></test>
  <test name="date" inputfile="p.xml"><expression>birthDate</expression><output type="date">@1970-01-02</output></test>
  <test name="digits" inputfile="p.xml"><expression>extension.value</expression><output>1.10</output></test>
  <test name="order" inputfile="p.xml" ordered="false"><expression>name.given</expression>
    <output type="string">Xiang</output><output type="string">Tong</output></test>
  <test name="predicate" inputfile="p.xml" predicate="true"><expression>name</expression>
    <output type="boolean">true</output></test>
  <test name="none"><expression>{}</expression></test>
  <test name="refused"><expression invalid="semantic">birthDat</expression></test>
  <test name="wrong" inputfile="p.xml"><expression>name.given.first()</expression>
    <output type="string">Xiang</output></test>
  <test name="too much" inputfile="p.xml"><expression>name.given</expression></test>
  <test name="not refused"><expression invalid="syntax">1 + 1</expression></test>
  <test name="error"><expression>1 +</expression><output type="integer">1</output></test>
</group></tests>"""
PATIENT = """{"resourceType": "Patient", "name": [{"given": ["Tong", "Xiang"]}], "birthDate": "1970-01-02",
 "extension": [{"url": "http://a", "valueDecimal": 1.10}]}"""
FAILING = ["wrong", "too much", "not refused", "error"]


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    (tmp_path / "suite.xml").write_text(SUITE, encoding="utf-8")
    (tmp_path / "p.json").write_text(PATIENT, encoding="utf-8")
    return tmp_path


def test_failures_are_listed_with_what_was_expected_and_got(suite: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(suite), "--inputs", str(suite), "--least", "7", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["tests"], told["passed"]) == (11, 7)
    assert [each["name"] for each in told["failures"]] == FAILING
    wrong, _, unrefused, error = told["failures"]
    assert (wrong["group"], wrong["expression"]) == ("g", "name.given.first()")
    assert (wrong["expected"], wrong["got"]) == ("string Xiang", "string Tong")
    assert (unrefused["expected"], unrefused["got"]) == ("syntax error", "integer 2")
    assert error["got"].startswith("error: FHIRPath:")


def test_too_few_and_none(suite: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert main([str(suite), "--inputs", str(suite), "--least", "8"]) == 1
    empty = str(tmp_path_factory.mktemp("empty"))
    assert main([empty, "--least", "0"]) == 2
    assert main([str(suite), "--inputs", empty, "--least", "0"]) == 2
    assert main([str(suite), "--inputs", str(suite), "--engine", "/nowhere/engine", "--least", "0"]) == 2


def test_an_engine_that_ends_is_told(suite: Path) -> None:
    with pytest.raises(EngineEnded, match="path"):
        run(suite, suite, [sys.executable, "-c", "input()"])


def test_type_matters_where_the_suite_names_one(suite: Path) -> None:
    date = next(each for each in suite_tests(suite) if each.name == "date")
    item: dict[str, Any] = {"type": "date", "text": "1970-01-02"}
    assert isinstance(date, SuiteTest) and passes(date, {"result": [item]})
    for other in ({"type": "string"}, {"text": "1970-01"}, {"text": None}):
        assert not passes(date, {"result": [item | other]})


def test_the_engine_answers_every_line() -> None:
    lines = [b"{", b"[]", b'{"expression": 1}', b'{"expression": "1", "resource": {"resourceType": "Patient"}}']
    told = [json_format.parse(line) for line in answers(lines)]
    assert [sorted(each) for each in told] == [["error"], ["error"], ["error"], ["result"]]
    assert told[3]["result"] == [{"type": "Integer", "text": "1"}]


@pytest.mark.data
def test_the_whole_suite(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """More than the 900 that are asked; which ones fail and why stands in tests/fhir/fhirpath/test_hl7_suite.py."""
    assert main([str(shared / "vectors" / "r4" / "fhirpath"), "--least", "931", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tests"] == 935
