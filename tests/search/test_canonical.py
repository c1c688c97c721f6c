"""Which of several resources with one canonical URL is meant."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.search.canonical import newest, of_version
from terminology.versions import order

RISING = [
    "",
    "0.9",
    "1",
    "1.0.0-ballot",
    "1.0.0-ballot2",
    "1.0.0",
    "1.0.1",
    "1.2.0",
    "1.10.0",
    "2.0.0-snapshot1",
    "2.0.0",
    "10.0",
]


def test_versions_rise() -> None:
    mixed = RISING.copy()
    random.Random(1).shuffle(mixed)
    assert sorted(mixed, key=order) == RISING
    assert sorted(["2024-02-01", "2023-12-31", "2024-01-15"], key=order) == ["2023-12-31", "2024-01-15", "2024-02-01"]


@given(st.lists(st.text(max_size=12), max_size=5))
def test_any_version_has_a_place(versions: list[str]) -> None:
    assert len(sorted(versions, key=order)) == len(versions)


def resource(version: str, status: str = "active", changed: str = "2024") -> dict[str, Any]:
    return {"version": version, "status": status, "meta": {"lastUpdated": changed}}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([resource("1.9"), resource("1.10")], 1),
        ([resource("2.0", "retired"), resource("1.0")], 1),
        ([resource("1.0", changed="2023"), resource("1.0", changed="2024")], 1),
        ([resource("1.0", "retired")], 0),
    ],
)
def test_the_newest(found: list[dict[str, Any]], expected: int) -> None:
    assert newest(found) is found[expected]
    assert newest([]) is None


def test_a_version_that_is_named() -> None:
    found = [resource("1.2.0"), resource("1.2.1"), resource("1.20.0"), resource("1.2.1-ballot")]
    assert of_version(found, "1.2.0") == found[:1]
    assert newest(of_version(found, "1.2")) is found[1]
    assert of_version(found, "1") == found
    assert of_version(found, "3") == [] and of_version(found, "") == found
