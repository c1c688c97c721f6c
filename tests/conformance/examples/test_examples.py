"""Examples stored and read back: what counts as equal, and the whole way over a server."""

import io
import json
import tarfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.examples.__main__ import main
from conformance.examples.equality import differences
from conformance.examples.package import parse, resources

OBSERVATION = """{"resourceType": "Observation", "id": "o", "meta": {"versionId": "9", "source": "http://a"},
 "status": "final", "code": {"text": "x"}, "valueQuantity": {"value": 1.10, "code": "mm",
 "system": "http://unitsofmeasure.org"},
 "component": [{"code": {"text": "tiny"}, "valueQuantity": {"value": 1E-40}}]}"""
#: Refused by R4's rules, each for its own.
WITHOUT_CODE = '{"resourceType": "Observation", "id": "no-code", "status": "final"}'
LONG_ID = json.dumps({"resourceType": "Basic", "id": "x" * 65, "code": {"text": "x"}})
FILES = {
    "Observation-o.json": OBSERVATION,
    "Observation-no-code.json": WITHOUT_CODE,
    "Basic-long.json": LONG_ID,
    "package.json": '{"name": "no resource"}',
}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    path = tmp_path / "package.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for name, text in FILES.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return path


def test_stored_and_read_back(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(package), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["resources"], told["stored"], told["equal"], told["unequal"]) == (3, 1, 1, {})
    assert sorted(told["refused"]) == ["Basic-long.json", "Observation-no-code.json"]
    (issue,) = told["refused"]["Observation-no-code.json"]
    assert issue.startswith("required at Observation.code: ")


def test_a_server_that_does_not_answer_is_told(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(package), "--url", "http://127.0.0.1:9/fhir"]) == 2
    assert "error: " in capsys.readouterr().err


def test_a_folder_holds_the_same(package: Path, tmp_path: Path) -> None:
    folder = tmp_path / "unpacked"
    with tarfile.open(package) as archive:
        archive.extractall(folder, filter="data")
    assert list(resources(folder)) == list(resources(folder / "package")) == list(resources(package))
    assert [name for name, _, _ in resources(package)] == sorted(set(FILES) - {"package.json"})


@pytest.mark.parametrize(
    ("change", "places"),
    [
        ({}, []),
        ({"meta": {"source": "http://a", "versionId": "1", "lastUpdated": "2024-05-31T08:30:00Z"}}, []),
        ({"meta": {"versionId": "1"}}, ["/meta"]),
        ({"status": "amended"}, ["/status"]),
        ({"a/b~": 1}, ["/a~1b~0"]),
        ({"valueQuantity": {"value": Decimal("1.1"), "code": "mm", "system": "http://unitsofmeasure.org"}},
         ["/valueQuantity/value"]),
        ({"component": []}, ["/component"]),
        ({"code": [{"text": "x"}]}, ["/code"]),
    ],
)  # fmt: skip
def test_where_they_differ(change: dict[str, Any], places: list[str]) -> None:
    sent = parse(OBSERVATION.encode())
    returned = dict(reversed((sent | change).items()))
    assert differences(sent, returned) == places


def test_nothing_is_equal_to_no_resource() -> None:
    assert differences(parse(OBSERVATION.encode()), None) == [""]


@given(st.decimals(allow_nan=False, allow_infinity=False), st.decimals(allow_nan=False, allow_infinity=False))
def test_decimals_are_equal_by_their_digits(one: Decimal, other: Decimal) -> None:
    assert differences({"value": one}, {"value": Decimal(str(one))}) == []
    same = str(one) == str(other)
    assert (differences({"value": one}, {"value": other}) == []) == same
