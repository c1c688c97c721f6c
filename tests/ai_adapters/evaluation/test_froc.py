"""The evaluator: LUNA16's rule on cases worked out by hand."""

import math

import pytest

from ai_adapters.evaluation.figures import as_json, compare, evaluate, of_stratum
from ai_adapters.evaluation.froc import (
    SIZES,
    Found,
    Scan,
    Stratum,
    Truth,
    cpm,
    curve,
    interval,
    judge,
    sensitivities,
)

LARGE, MIDDLE = Stratum(name="6-30", above_mm=6, up_to_mm=30), Stratum(name="3-30", above_mm=3, up_to_mm=30)


def truth(x: float, diameter: float, density: str = "solid", certain: bool = True) -> Truth:
    return Truth(center_mm=(x, 0, 0), diameter_mm=diameter, volume_mm3=100.0, density=density, certain=certain)


def found(x: float, confidence: float, dice: tuple[tuple[int, float], ...] = ()) -> Found:
    return Found(center_mm=(x, 0, 0), confidence=confidence, volume_mm3=110.0, diameter_mm=9.0, dice=dice)


SCAN = Scan(
    name="one",
    seconds=1.0,
    truths=(truth(0, 10), truth(50, 8, "ground-glass"), truth(100, 4), truth(200, 2, certain=False)),
    found=(
        found(4.9, 0.9, ((0, 0.8), (1, 0.1))),
        found(1, 0.8, ((0, 0.7),)),
        found(55, 0.7),
        found(100.5, 0.6),
        found(201.4, 0.5),
        found(300, 0.4),
    ),
)


def test_hits_doubles_and_findings_that_count_for_nothing() -> None:
    outcome = judge(SCAN, LARGE)
    assert {hit.truth.center_mm[0]: hit.confidence for hit in outcome.hits} == {0: 0.9, 50: -1.0}
    # 5 mm off a lesion of 8 mm is no hit; a second hit, a small lesion and an uncertain mark cost nothing.
    assert outcome.false == (0.7, 0.4)
    glass = judge(SCAN, Stratum(name="ground-glass", density="ground-glass"))
    assert [hit.truth.center_mm for hit in glass.hits] == [(50, 0, 0)]
    # A finding's overlap is the one with the lesion that it hit.
    assert [hit.dice for hit in outcome.hits] == [0.8, None]


def test_the_sizes_leave_no_gap_and_do_not_overlap() -> None:
    for diameter in (0.1, 4.9, 5.0, 5.01, 6.0, 6.01, 8.0, 8.01, 60.0):
        assert sum(size.holds(truth(0, diameter)) for size in SIZES) == 1
    assert [size.holds(truth(0, 5.0)) for size in SIZES] == [True, False, False, False]
    assert [size.holds(truth(0, 8.0)) for size in SIZES] == [False, False, True, False]


def test_sensitivity_at_each_rate() -> None:
    outcomes = [judge(SCAN, MIDDLE), judge(SCAN, MIDDLE)]
    # Found of three: at 0.9 and 0.6; the false positives of two scans are 0.7, 0.7, 0.4, 0.4.
    assert sensitivities(outcomes) == pytest.approx([1 / 3, 1 / 3, 1 / 3, 2 / 3, 2 / 3, 2 / 3, 2 / 3])
    assert math.isnan(sensitivities([judge(SCAN, Stratum(name="none", above_mm=20))])[0])
    whole = curve(outcomes)
    assert (whole[0].rate, whole[-1].rate) == pytest.approx((0.125, 8))
    assert [point.sensitivity for point in whole] == sorted(point.sensitivity for point in whole)


def test_interval_holds_the_mean_and_figures_are_those_of_the_lesions_found() -> None:
    low, high = interval([judge(SCAN, MIDDLE)] * 5)
    assert low == pytest.approx(high) == pytest.approx(cpm([judge(SCAN, MIDDLE)]))
    figures = of_stratum([SCAN], 0.65, LARGE)
    assert figures.sensitivity is not None and figures.sensitivity.value == 0.5
    assert figures.volume_error == pytest.approx(0.1)
    assert (figures.diameter_error_mm, figures.dice, figures.segments) == (1.0, 0.8, 1)
    whole = as_json(evaluate("a", [SCAN], 0.65, draws=20))
    assert whole["false_positives_a_scan"] == [1.0, 1.0, 1.0]
    assert list(whole["by_density"]) == ["ground-glass", "solid"]  # type: ignore[call-overload]


def test_an_interval_is_as_wide_as_the_scans_differ() -> None:
    hit = Scan(name="hit", seconds=1, truths=(truth(0, 10),), found=(found(0, 0.9),))
    missed = Scan(name="missed", seconds=1, truths=(truth(0, 10),), found=())
    outcomes = [judge(scan) for scan in [hit] * 5 + [missed] * 5]
    low, high = interval(outcomes)
    # The 2.5 and 97.5 % points of a binomial share of 10 at one half: 2 and 8 of 10.
    assert (low, high) == pytest.approx((0.2, 0.8))


def test_two_systems_are_compared_scan_by_scan() -> None:
    scans = [
        Scan(name=str(n), seconds=1, truths=(truth(0, 10), truth(50, 10)), found=(found(0, 0.9),)) for n in range(20)
    ]
    better = [
        Scan(name=scan.name, seconds=1, truths=scan.truths, found=(found(0, 0.9), found(50, 0.8))) for scan in scans
    ]
    first, second = evaluate("first", scans, 0.5, draws=50), evaluate("second", better, 0.5, draws=50)
    by_name = {one.figure: one for one in compare(first, second, draws=50)}
    assert by_name["sensitivity"].difference.value == pytest.approx(0.5)
    assert by_name["sensitivity"].clear and by_name["CPM"].clear
    assert by_name["false positives a scan"].difference.value == 0
    assert not by_name["false positives a scan"].clear
    with pytest.raises(ValueError, match="same scans"):
        compare(first, evaluate("other", scans[:3], 0.5, draws=5))


def test_scans_as_wholes_by_verdict_or_by_the_surest_finding() -> None:
    ill = [
        Scan(name=f"ill {n}", seconds=1, truths=(truth(0, 10),), found=(), verdict=v) for n, v in enumerate((0.9, 0.4))
    ]
    well = [Scan(name=f"well {n}", seconds=1, truths=(), found=(), verdict=v) for n, v in enumerate((0.4, 0.1))]
    told = evaluate("verdicts", [*ill, *well], 0.5, draws=50)
    # Of four pairs three are right and one is even.
    assert told.as_wholes.area.value == pytest.approx(3.5 / 4)
    assert (told.as_wholes.sensitivity.value, told.as_wholes.specificity.value) == (0.5, 1.0)
    # Nothing is said of lesions, so none is missed.
    assert not told.finds_places and told.total.lesions == 0 and told.total.cpm is None
    places = [Scan(name=scan.name, seconds=1, truths=scan.truths, found=(found(0, 0.8),)) for scan in [*ill, *well]]
    other = evaluate("places", places, 0.5, draws=50)
    assert other.as_wholes.area.value == 0.5 and other.as_wholes.specificity.value == 0.0
    assert [one.figure for one in compare(told, other, draws=50)] == ["area under the ROC curve of scans"]
