"""The tables of detection and volume, on scans whose figures can be counted by hand."""

from pathlib import Path

import pytest

from ai_adapters.evaluation.froc import Found
from benchmarks.nodule_text import printed
from benchmarks.nodules import Kept, Known, keep, kept, table


def scan(name: str, *, factor: float, false: tuple[float, ...]) -> Kept:
    """Two nodules: a large one found, its volume off by a factor, and a small one found with little confidence."""
    large = Known(
        center_mm=(0, 0, 0), diameter_mm=10, volume_mm3=523.6, density="solid", attachment="pleura", margin="spiculated"
    )
    small = Known(center_mm=(50, 0, 0), diameter_mm=4, volume_mm3=33.5, density="ground-glass", attachment="none")
    marked = Known(
        center_mm=(0, 50, 0), diameter_mm=8, volume_mm3=1, density="", attachment="", certain=False
    )  # a lesion of the CT's own
    found = (
        Found(center_mm=(1, 0, 0), confidence=0.9, volume_mm3=523.6 * factor),
        Found(center_mm=(50, 1, 0), confidence=0.3, volume_mm3=40),
        Found(center_mm=(0, 51, 0), confidence=0.95, volume_mm3=100),
        *(Found(center_mm=(0, 0, 80 + 20 * number), confidence=score) for number, score in enumerate(false)),
    )
    return Kept(
        name=name,
        spacing_mm=1.25,
        threshold=0.5,
        known=(large, small, marked),
        found=found,
        density=("solid" if factor > 1 else "part-solid", "", "solid", *("" for _ in false)),
        margin=("spiculated" if factor > 1 else "", "", "", *("" for _ in false)),
        true_category="4A",
        found_category="4A" if factor > 1 else "3",
    )


def test_a_table_counts_what_is_there(tmp_path: Path) -> None:
    scans = [scan("a", factor=1.1, false=(0.6, 0.2)), scan("b", factor=0.8, false=())]
    keep(tmp_path / "kept.json", scans)
    assert kept(tmp_path / "kept.json") == scans
    figures = table(scans)
    assert figures["false_positives_a_scan"] == 0.5
    rows = {(row["size"], row["density"]): row for row in figures["detection"]}
    assert rows["all", "all"]["nodules"] == 4
    assert rows["all", "all"]["found"] == 2
    # At one a scan two false positives may stay, so nothing is cut; at 1/2 the one of 0.6 may stay and 0.2 cuts.
    assert rows["all", "all"]["at_one"][0] == 1
    assert rows["3-5 mm", "ground-glass"]["froc"] == [0, 0, 1, 1, 1, 1, 1]
    assert rows[">= 5 mm", "solid"]["cpm"][0] == 1
    assert ("> 8 mm", "ground-glass") not in rows
    volumes = {(row["density"], row["attachment"]): row for row in figures["volumes"]}
    assert volumes["solid", "pleura"]["nodules"] == 2
    assert volumes["solid", "pleura"]["error_median"] == pytest.approx(0.15)
    assert volumes["solid", "pleura"]["ratio_median"] == pytest.approx(0.95)
    assert figures["densities"]["solid"] == {"solid": 1, "part-solid": 1, "ground-glass": 0}
    assert figures["margins"] == {"spiculated": {"spiculated": 1, "none": 1}}
    assert figures["categories"] == {"scans": 2, "equal": 1, "other": {"4A called 3": 1}}
    assert "| solid | pleura | 2 | 15.0% | 0.95 |" in printed(figures)
