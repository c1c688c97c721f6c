"""Growth against the formula's own vectors, and its interval against what was drawn."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_adapters.growth import Change, growth


def test_twice_the_volume_in_ninety_days() -> None:
    # FACTS: 100 -> 200 mm3 in 90 d = 90 d.
    found = growth(100, 200, 90, error=0.1, noise_percent=25)
    assert found.doubling is not None
    assert found.doubling.days == pytest.approx(90)
    assert found.volume_percent == pytest.approx(100)
    assert found.change is Change.GROWN


@pytest.mark.parametrize(
    ("later", "change"),
    [(124.9, Change.STABLE), (125.0, Change.GROWN), (80.1, Change.STABLE), (80.0, Change.SHRUNK)],
)
def test_noise_is_no_change(later: float, change: Change) -> None:
    assert growth(100, later, 90, error=0.1, noise_percent=25).change is change


def test_the_interval_is_open_where_nothing_may_have_grown() -> None:
    found = growth(100, 110, 90, error=0.1, noise_percent=25)
    assert found.doubling is not None
    assert found.doubling.upper is None
    assert found.doubling.lower < found.doubling.days


def test_what_does_not_grow_has_no_doubling_time() -> None:
    assert growth(100, 100, 90, error=0.1, noise_percent=25).doubling is None
    assert growth(100, 60, 90, error=0.1, noise_percent=25).doubling is None
    assert growth(100, 200, 0, error=0.1, noise_percent=25).doubling is None


def test_a_volume_is_positive() -> None:
    with pytest.raises(ValueError, match="positive"):
        growth(0, 10, 90, error=0.1, noise_percent=25)


@given(st.floats(20, 400), st.floats(0.02, 0.3))
def test_the_interval_holds_the_truth_as_often_as_it_says(days: float, error: float) -> None:
    rng = np.random.default_rng(0)
    drawn = 100 * 2 ** (180 / days) * np.exp(rng.normal(0, error, 400))
    inside = 0
    for later in drawn:
        found = growth(100, float(later), 180, error=error, noise_percent=25).doubling
        # Without growth to be seen, none was denied.
        inside += found is None or found.lower <= days <= (found.upper or math.inf)
    assert inside >= 0.92 * len(drawn)
