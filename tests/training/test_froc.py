"""The evaluator: LUNA16's rule on cases worked out by hand."""

import math

import pytest

from benchmarks.froc import Found, Scan, Truth, cpm_interval, judge, sensitivities, summary


def truth(x: float, diameter: float, kind: str = "solid", certain: bool = True) -> Truth:
    return Truth(center_mm=(x, 0, 0), diameter_mm=diameter, volume_mm3=100.0, kind=kind, certain=certain)


def found(x: float, confidence: float) -> Found:
    return Found(center_mm=(x, 0, 0), confidence=confidence, volume_mm3=110.0)


SCAN = Scan(
    name="one",
    seconds=1.0,
    truths=(truth(0, 10), truth(50, 8, "ground-glass"), truth(100, 4), truth(200, 2, certain=False)),
    found=(found(4.9, 0.9), found(1, 0.8), found(55, 0.7), found(100.5, 0.6), found(201.4, 0.5), found(300, 0.4)),
)


def test_hits_doubles_and_findings_that_count_for_nothing() -> None:
    outcome = judge(SCAN, 6, 30)
    scores = {t.center_mm[0]: score for t, score, _ in outcome.hits}
    assert scores == {0: 0.9, 50: -1.0}
    # 5 mm off a nodule of 8 mm is no hit; a second hit, a small nodule and an uncertain mark cost nothing.
    assert outcome.false == (0.7, 0.4)
    assert judge(SCAN, 6, 30, "ground-glass").hits[0][0].center_mm == (50, 0, 0)


def test_sensitivity_at_each_rate() -> None:
    curve = sensitivities([judge(SCAN, 3, 30), judge(SCAN, 3, 30)])
    # Found of three: at 0.9 and 0.6; the false positives of two scans are 0.7, 0.7, 0.4, 0.4.
    assert curve == pytest.approx([1 / 3, 1 / 3, 1 / 3, 2 / 3, 2 / 3, 2 / 3, 2 / 3])
    assert math.isnan(sensitivities([judge(SCAN, 20, 30)])[0])


def test_interval_holds_the_mean_and_summary_counts() -> None:
    outcomes = [judge(SCAN, 3, 30)] * 5
    low, high = cpm_interval(outcomes)
    assert low == pytest.approx(high)
    figures = summary([SCAN], 0.65)
    assert figures["false_positives_a_scan"] == 1
    assert figures["strata"]["6-30 mm"]["sensitivity"] == 0.5
    assert figures["strata"]["6-30 mm"]["volume_error_median"] == 0.1
