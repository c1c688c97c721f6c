"""The leave-one-out networks are kept, whole, and say what they saw."""

from pathlib import Path

import pytest

from ai_adapters.registry import read_bundle

WEIGHTS = Path(__file__).parents[2] / "training" / "weights"


@pytest.mark.parametrize(("left_out", "seen"), [("0001", "0003"), ("0003", "0001")])
def test_a_leave_one_out_network_did_not_see_its_ct(left_out: str, seen: str) -> None:
    manifest = read_bundle(WEIGHTS / f"nodule_without_lidc_{left_out}").manifest
    data = " ".join(manifest.training_data)
    assert f"LIDC-IDRI-{seen}" in data
    assert f"LIDC-IDRI-{left_out}" not in data
    assert 0.2 <= manifest.report < 1
