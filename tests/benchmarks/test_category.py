"""The category of a set of findings, by the shipped pathway."""

from dataclasses import replace
from datetime import timedelta
from math import pi
from typing import Any

import pytest

from benchmarks.category import category, truth


def nodule(diameter: float, density: str = "solid", **more: Any) -> dict[str, Any]:
    return {
        "center_mm": [1.0, 2.0, 3.0], "diameter_mm": diameter, "volume_mm3": pi / 6 * diameter**3, "density": density,
        "solid_diameter_mm": None, "attachment": "none", "margin": "lobulated", "calcified": False, **more,
    }  # fmt: skip


def document(*nodules: dict[str, Any]) -> dict[str, Any]:
    return {"seed": 1, "study_date": "2024-05-01", "nodules": list(nodules)}


@pytest.mark.parametrize(
    ("given", "code", "row"),
    [
        ([], "1", "no-nodule"),
        ([nodule(5.9)], "2", "solid-under-6"),
        ([nodule(6.0)], "3", "solid-6-to-8"),
        ([nodule(9.0), nodule(5.0)], "4A", "solid-8-to-15"),
        ([nodule(9.0, margin="spiculated")], "4X", "solid-8-to-15"),
        ([nodule(9.0, margin="circumscribed", attachment="pleura")], "2", "juxtapleural"),
        ([nodule(9.0, calcified=True)], "1", "benign-pattern"),
        ([nodule(20.0, "ground-glass")], "2", "ground-glass-under-30"),
        ([nodule(9.0, "part-solid", solid_diameter_mm=6.5)], "4A", "part-solid-from-6-part-6-to-8"),
    ],
)
def test_category_of_a_phantoms_truth(given: list[dict[str, Any]], code: str, row: str) -> None:
    found = category(truth(document(*given)))
    assert (found.code, found.row) == (code, row)
    assert [uid for uid, _, _ in found.nodules] == [f"2.25.{n}" for n in range(1, len(given) + 1)]


def test_growth_against_the_study_before() -> None:
    now = truth(document(nodule(9.0)))
    before = replace(truth(document(nodule(7.0))), key="before", timestamp=now.timestamp - timedelta(days=180))
    assert category(now, earlier=[before]).code == "4B"
