"""Uncertainties by kind and size."""

import pytest

from ai_adapters.accuracy import Accuracy, Error

ERRORS = (
    Error(density="solid", up_to_mm=6, length_mm=0.5, log_volume=0.2),
    Error(density="solid", up_to_mm=30, length_mm=0.3, log_volume=0.05),
    Error(density="", up_to_mm=30, length_mm=1.0, log_volume=0.3),
)


@pytest.mark.parametrize(
    ("density", "diameter", "expected"),
    [("solid", 5.0, 0), ("solid", 6.0, 0), ("solid", 6.1, 1), ("part-solid", 9.0, 2), ("solid", 44.0, 2)],
)
def test_kind_and_size_decide(density, diameter, expected) -> None:
    assert Accuracy(errors=ERRORS).of(density, diameter) is ERRORS[expected]


def test_what_nobody_measured_has_no_error() -> None:
    assert Accuracy(errors=ERRORS[:2]).of("part-solid", 9.0) is None


def test_intervals_hold_95_percent_and_nothing_below_nought() -> None:
    length = ERRORS[0].length(8.0)
    assert (length.below, length.above) == (0.5, 0.5)
    assert ERRORS[2].length(0.7).below == 0.7
    volume = ERRORS[0].volume(100.0)
    # exp(0.2) = 1.22: from 82 to 122.
    assert (volume.below, volume.above) == (18, 22)
