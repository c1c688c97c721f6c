"""Follow-up pairs whose truth is known: the warp does what it says, and the figures mean what they are called."""

import math
from typing import Any

import numpy as np
import pytest

from ai_adapters.volume import Volume
from benchmarks.follow_up import judge
from benchmarks.warp import field, moved, swelling, warp


def ball(center: tuple[float, float, float], radius: float) -> Volume:
    """A soft ball (mm) in air on a grid of 2 mm, the body's origin in its middle."""
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = 2.0, 2.0, 2.0, 1.0
    affine[:3, 3] = -80.0
    z, y, x = np.meshgrid(*[np.arange(80) * 2.0 - 80.0] * 3, indexing="ij")
    away = np.sqrt((x - center[0]) ** 2 + (y - center[1]) ** 2 + (z - center[2]) ** 2)
    voxels = np.clip((radius - away) / 2 + 0.5, 0, 1) * 1000 - 1000
    return Volume(voxels=voxels.astype(np.int16), affine=affine)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_ball_is_seen_where_and_as_large_as_the_warp_says(seed: int) -> None:
    center = (15.0, -10.0, -20.0)
    volume = ball(center, 12.0)
    displacement = field(seed, volume)
    now = warp(volume, displacement)
    share = (now.voxels.astype(float) + 1000) / 1000
    place = now.to_patient([float((share * axis).sum() / share.sum()) for axis in np.indices(share.shape)])
    expected = moved(center, displacement)
    assert math.dist(expected, center) > 3
    assert math.dist(place, expected) < 0.6
    before = (volume.voxels.astype(float) + 1000).sum() / 1000
    assert share.sum() / before == pytest.approx(swelling(center, displacement), rel=0.03)


def lesion(**more: Any) -> dict[str, Any]:
    return {
        "name": "1", "then_diameter": 10.0, "now_diameter": 12.6, "ratio": 2.0, "found_then": True, "found_now": True,
        "same": True, "registration_mm": 0.5, "start_mm": 12.0, "volumes": [500.0, 1000.0],
        "doubling": [100.0, 80.0, 130.0], **more,
    }  # fmt: skip


def pair(*lesions: dict[str, Any], matches: list[list[str | None]] | None = None) -> dict[str, Any]:
    return {
        "name": "p", "days": 100, "seconds": 10.0, "processor_seconds": 12.0, "lesions": list(lesions),
        "matches": [["1", "1"]] if matches is None else matches,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("ratio", "stated", "covered"),
    [
        (2.0, [100.0, 80.0, 130.0], True),
        (2.0, [140.0, 110.0, 180.0], False),
        (2.0, [60.0, 50.0, 90.0], False),
        (2.0, [90.0, 50.0, None], True),
        # What did not grow has no doubling time: only an open interval holds that.
        (1.0, [400.0, 90.0, None], True),
        (1.0, [400.0, 90.0, 900.0], False),
        (0.8, [400.0, 90.0, 900.0], False),
    ],
)
def test_a_doubling_time_is_covered(ratio: float, stated: list[float | None], covered: bool) -> None:
    found = judge([pair(lesion(ratio=ratio, doubling=stated))])
    assert found["doubling_time_in_its_interval"] == (1.0 if covered else 0.0)


def test_matches_are_right_missed_or_wrong() -> None:
    missed = {**lesion(same=False), "doubling": None, "volumes": None}
    unseen = {**missed, "found_now": False}
    found = judge([
        pair(lesion(), matches=[["1", "1"], [None, None]]),
        pair(missed, unseen, matches=[["1", None]]),
    ])  # fmt: skip
    assert found["matched_right"] == 0.5
    assert found["matches_not_wrong"] == round(2 / 3, 4)
    assert found["pairs_with_a_wrong_match"] == ["p"]
    assert (found["lesions_at_both_times"], found["found_at_both_times"]) == (3, 2)
    assert found["log_volume_error"]["to 12 mm"] == [1, 0.0]
