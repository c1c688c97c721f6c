"""Elements are set by their paths as the standard's definitions have them."""

from typing import Any

import pytest

from server.errors import Unprocessable
from server.workflow.element import put


def made(path: str, values: list[Any], resource: dict[str, Any] | None = None) -> dict[str, Any]:
    target = {"resourceType": "Task"} | (resource or {})
    put(target, path, values)
    del target["resourceType"]
    return target


def test_paths() -> None:
    assert made("status", ["requested"]) == {"status": "requested"}
    assert made("Task.focus.reference", ["A/1"]) == {"focus": {"reference": "A/1"}}
    assert made("partOf", [{"reference": "A/1"}, {"reference": "A/2"}])["partOf"][1] == {"reference": "A/2"}
    assert made("input[0].type.coding[0].code", ["x"]) == {"input": [{"type": {"coding": [{"code": "x"}]}}]}
    assert made("input[1].valueString", ["b"], {"input": [{"valueString": "a"}]})["input"] == [
        {"valueString": "a"},
        {"valueString": "b"},
    ]
    assert made("status", []) == {}
    assert made("partOf[0]", [{"reference": "B/1"}], {"partOf": [{"reference": "A/1"}]})["partOf"] == [
        {"reference": "B/1"}
    ]


@pytest.mark.parametrize("path", ["colour", "status.code.x", "input[x].type", "partOf[3]", "a b"])
def test_paths_that_lead_nowhere(path: str) -> None:
    with pytest.raises(Unprocessable):
        made(path, ["x"])
