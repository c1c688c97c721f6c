"""Quantities: UCUM units in base units, comparison across units, arithmetic."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.fhir.fhirpath.quantity import Quantity
from server.fhir.fhirpath.ucum import canonical
from server.fhir.fhirpath.ucum_table import ARBITRARY, BASE, METRIC, OTHER_SCALES, PLAIN


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
        (("37.0", "Cel"), ("310.15", "K")),
        (("98.6", "[degF]"), ("37", "Cel")),
        (("80", "[degRe]"), ("100", "Cel")),
        (("9", "[degR]"), ("5", "K")),
        (("24", "mg/(24.h)"), ("1", "mg/h")),
        (("3", "g/(8.kg.h)"), ("0.375", "g/kg/h")),
        (("1", "U/(10.g){feces}"), ("0.1", "U/g")),
        (("1", "10.L/(min.m2)"), ("10", "l/min/m2")),
        (("60", "''"), ("1", "'")),
        (("1", "deg"), ("3600", "''")),
        (("1", "[oz_tr]"), ("31.1034768", "g")),
        (("1", "[diop]"), ("1", "/m")),
        (("3", "[IU]/mL"), ("3000", "[iU]/L")),
        (("1", "KiBy"), ("8192", "bit")),
        (("4", "[pi].10*-7.N/A2"), ("0.25", "16.[pi].10*-7.N/A2")),
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
        (("1", "Cel/min"), ("1", "K/min")),
        (("7", "[pH]"), ("7", "1")),
        (("1", "[CFU]"), ("1", "[PFU]")),
        (("1", "dB"), ("1", "1")),
        (("1", "furlongs"), ("1", "m")),
    ],
)
def test_what_measures_other_things_has_no_order(left: tuple[str, str], right: tuple[str, str]) -> None:
    assert quantity(*left).compare(quantity(*right)) is None


@pytest.mark.parametrize(
    "unit",
    [
        "",
        "m//s",
        "(m",
        "m2.",
        "1e5",
        "x" * 300,
        "m99",
        "0",
        "m)",
        "()",
        "(m)(s)",
        "m(s)",
        "kCel",
        "Cel2",
        "g/Cel",
        "kmin",
        "((((((((((((m))))))))))))",
        "Ym40.Ym40",
    ],
)
def test_what_is_no_unit_is_none(unit: str) -> None:
    assert canonical(unit) is None


@given(st.text(alphabet="kmgsLl/.0123456789[]{}()%*-+inav_", max_size=12))
def test_any_text_is_a_unit_or_none(unit: str) -> None:
    found = canonical(unit)
    if found is not None:
        bracketed = canonical(f"({unit})")
        assert bracketed == found
        assert found.factor > 0 and all(exponent for _, exponent in found.dimension)


def test_every_unit_of_the_tables_comes_to_base_units() -> None:
    for name in (*METRIC, *PLAIN):
        unit = canonical(name)
        assert unit is not None, name
        assert {base for base, _ in unit.dimension} <= {*BASE, "[iU]"}, name
    for name in METRIC:
        assert canonical(f"m{name}") is not None, name
    for name in (*ARBITRARY, *OTHER_SCALES):
        unit = canonical(name)
        assert unit is not None and unit.dimension == ((name, 1),)


@given(
    st.decimals(-(10**9), 10**9, places=6), st.sampled_from(["mg", "[degF]", "Cel", "km/h", "[lb_av]", "[drp]", "mol"])
)
def test_decimals_in_base_units_have_the_digits_that_there_are(value: Decimal, name: str) -> None:
    unit = canonical(name)
    assert unit is not None
    exact, found = unit.exact(value), unit.in_base(value)
    assert abs(Fraction(found) - exact) <= abs(exact) / 10**50
    divisor = exact.denominator
    while divisor % 2 == 0 or divisor % 5 == 0:
        divisor //= 2 if divisor % 2 == 0 else 5
    if divisor == 1:
        assert Fraction(found) == exact


def test_temperatures_add_and_multiply_only_on_one_scale() -> None:
    assert quantity("37", "Cel").in_unit("[degF]") == quantity("98.6", "[degF]")
    assert str(quantity("37", "Cel").plus(quantity("1.5", "Cel"))) == "38.5 'Cel'"
    assert quantity("37", "Cel").plus(quantity("1", "K")) is None
    assert quantity("37", "Cel").times(quantity("2", "m")) is None
    assert str(quantity("37", "Cel").times(quantity("2", "1"))) == "74 'Cel'"


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
