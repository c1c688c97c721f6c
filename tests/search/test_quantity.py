"""Quantities in UCUM base units: what is searched for in one unit is found in another."""

from decimal import Decimal
from typing import Any

import pytest

from server.fhir.fhirpath import Node
from server.search import quantity
from server.search.quantity import CANONICAL, UCUM


def found(text: str, value: dict[str, Any]) -> bool:
    operand = quantity.parse(text)
    rows = list(quantity.entries(Node({"system": UCUM, **value}, "Quantity", "Quantity")))
    return any(quantity.matches(operand, row.values) for row in rows if row.suffix == operand.suffix)


@pytest.mark.parametrize(
    ("text", "value", "code"),
    [
        (f"5.4|{UCUM}|mg", "0.0054", "g"),
        (f"98.6|{UCUM}|[degF]", "37.0", "Cel"),
        (f"310.15|{UCUM}|K", "37.00", "Cel"),
        (f"gt100|{UCUM}|[degF]", "38.5", "Cel"),
        (f"1.0|{UCUM}|mg/h", "24", "mg/(24.h)"),
        (f"3|{UCUM}|[IU]/mL", "3000", "[iU]/L"),
    ],
)
def test_one_amount_in_two_units(text: str, value: str, code: str) -> None:
    assert quantity.parse(text).suffix == CANONICAL
    assert found(text, {"value": Decimal(value), "code": code})


@pytest.mark.parametrize(
    ("text", "value", "code"),
    [
        (f"37|{UCUM}|Cel", "37", "K"),
        (f"gt100|{UCUM}|[degF]", "37.0", "Cel"),
        (f"7|{UCUM}|[pH]", "7", "1"),
        (f"1|{UCUM}|[CFU]", "1", "[PFU]"),
    ],
)
def test_what_is_another_amount_is_not_found(text: str, value: str, code: str) -> None:
    assert not found(text, {"value": Decimal(value), "code": code})
