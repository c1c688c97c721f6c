"""RFC 6902, by the suite that HL7 keeps."""

import json
from pathlib import Path
from typing import Any

import pytest

from server.errors import BadRequest, HutongError, TooLarge, Unprocessable
from server.fhir.json_patch import patched


@pytest.mark.data
def test_hl7_suite(shared: Path) -> None:
    cases = json.loads((shared / "vectors" / "r4" / "patch" / "json-patch-tests.json").read_text())
    assert len(cases) >= 15
    for case in cases:
        if "error" in case:
            with pytest.raises(HutongError):
                patched(case["doc"], case["patch"])
        else:
            assert patched(case["doc"], case["patch"]) == case.get("expected", case["doc"]), case["comment"]


@pytest.mark.parametrize(
    ("patch", "error"),
    [
        ({}, BadRequest),
        ([{"op": "jump", "path": "/a"}], BadRequest),
        ([{"op": "add", "path": "a", "value": 1}], BadRequest),
        ([{"op": "add", "path": "/a~2", "value": 1}], BadRequest),
        ([{"op": "add", "path": "/a"}], BadRequest),
        ([{"op": "remove", "path": "/nothing"}], Unprocessable),
        ([{"op": "remove", "path": "/list/01"}], Unprocessable),
        ([{"op": "add", "path": "/list/3", "value": 1}], Unprocessable),
        ([{"op": "test", "path": "/flag", "value": 1}], Unprocessable),
        ([{"op": "move", "from": "/object", "path": "/object/x"}], Unprocessable),
        ([{"op": "add", "path": "/flag/x", "value": 1}], Unprocessable),
    ],
)
def test_refusals(patch: Any, error: type[Exception]) -> None:
    document = {"list": [1, 2], "flag": True, "object": {}}
    with pytest.raises(error):
        patched(document, patch)


def test_the_document_is_left_alone_and_the_root_can_be_replaced() -> None:
    document = {"a": [1]}
    assert patched(document, [{"op": "add", "path": "/a/-", "value": 2}]) == {"a": [1, 2]}
    assert document == {"a": [1]}
    assert patched(document, [{"op": "replace", "path": "", "value": {"b": 1}}]) == {"b": 1}
    assert patched({"a/b": {"m~n": 1}}, [{"op": "replace", "path": "/a~1b/m~0n", "value": 2}]) == {"a/b": {"m~n": 2}}


def test_copies_are_bounded() -> None:
    """Thirty copies of a document into itself would make it a thousand million times as large."""
    doubling = [{"op": "copy", "from": "", "path": f"/{n}"} for n in range(30)]
    with pytest.raises(TooLarge) as error:
        patched({"resourceType": "Basic"}, doubling)
    assert error.value.issues[0].expression.startswith("[")
    long = {"text": "x" * 1_000_000}
    with pytest.raises(TooLarge):
        patched(long, [{"op": "copy", "from": "/text", "path": f"/{n}"} for n in range(20)])
    assert len(patched(long, [{"op": "copy", "from": "/text", "path": f"/{n}"} for n in range(10)])) == 11
