"""Quantities: UCUM units in base units, comparison across units, arithmetic."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.fhir.fhirpath.quantity import Quantity
from server.fhir.fhirpath.ucum import canonical


def quantity(value: str, unit: str) -> Quantity:
    return Quantity(Decimal(value), unit)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (("1", "g"), ("1000", "mg")),
        (("1", "L"), ("1", "dm3")),
        (("1", "m/s"), ("3.6", "km/h")),
        (("1", "mm[Hg]"), ("133.322", "Pa")),
        (("1", "kg.m/s2"), ("1", "N")),
        (("1", "mg/dl"), ("10", "mg/L")),
        (("4.5", "10*9/L"), ("4500", "/uL")),
        (("1", "[lb_av]"), ("453.59237", "g")),
        (("1", "[in_i]"), ("2.54", "cm")),
        (("1", "{score}"), ("1", "1")),
        (("50", "%"), ("0.5", "1")),
        (("1", "wk"), ("7", "day")),
        (("1", "year"), ("12", "month")),
        (("1", "mmol/L"), ("1000", "umol/L")),
        (("1", "min"), ("60", "s")),
        (("2", "mL/min/{1.73_m2}"), ("2", "ml/min")),
    ],
)
def test_the_same_amount_in_two_units(left: tuple[str, str], right: tuple[str, str]) -> None:
    assert quantity(*left).compare(quantity(*right)) == 0


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (("1", "g"), ("1", "m")),
        (("1", "year"), ("1", "a")),
        (("1", "month"), ("1", "mo")),
        (("1", "Cel"), ("274.15", "K")),
        (("1", "furlongs"), ("1", "m")),
    ],
)
def test_what_measures_other_things_has_no_order(left: tuple[str, str], right: tuple[str, str]) -> None:
    assert quantity(*left).compare(quantity(*right)) is None


@pytest.mark.parametrize("unit", ["", "m//s", "(m", "m2.", "1e5", "x" * 300, "m99", "0"])
def test_what_is_no_unit_is_none(unit: str) -> None:
    assert canonical(unit) is None


@given(st.text(alphabet="kmgsLl/.0123456789[]{}%*-+inav_", max_size=12))
def test_any_text_is_a_unit_or_none(unit: str) -> None:
    assert canonical(unit) is None or canonical(unit) == canonical(unit)


@given(st.decimals(0, 10**6, places=3), st.sampled_from(["kg", "g", "mg", "ug", "[lb_av]"]))
def test_there_and_back(value: Decimal, unit: str) -> None:
    there = Quantity(value, "g").in_unit(unit)
    assert there is not None
    back = there.in_unit("g")
    assert back is not None
    assert round(back.value, 9) == value


def test_sums_take_the_finer_unit_and_products_multiply_units() -> None:
    total = quantity("1", "m").plus(quantity("10", "cm"))
    assert total is not None
    assert str(total) == "110 'cm'"
    area = quantity("2", "cm").times(quantity("3", "m"))
    assert area is not None
    assert area.compare(quantity("600", "cm2")) == 0
    speed = quantity("6", "m").divided_by(quantity("2", "s"))
    assert speed is not None
    assert str(speed) == "3 'm/s'"
    odd = quantity("6", "m").divided_by(quantity("2", "m/s"))
    assert odd is not None
    assert odd.compare(quantity("3", "s")) == 0
    assert quantity("1", "m").plus(quantity("1", "s")) is None
    assert quantity("1", "m").divided_by(quantity("0", "s")) is None
