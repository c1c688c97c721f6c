"""``=`` and ``~``: https://hl7.org/fhirpath/N1/#equality."""

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from server.fhir.fhirpath.node import Collection, Item, Node, system_value
from server.fhir.fhirpath.quantity import Quantity
from server.fhir.fhirpath.temporal import Date, DateTime, Temporal, Time


def _is_number(value: Any) -> bool:
    return isinstance(value, int | Decimal) and not isinstance(value, bool)


def read_as(value: str, like: Temporal) -> Any:
    """Text from JSON whose type nothing tells, read as what it is compared with; itself where it can't be."""
    parse = Time.parse if isinstance(like, Time) else DateTime.parse if "T" in value else Date.parse
    return parse(value) or value


def equal_items(left: Item, right: Item) -> bool | None:
    """Whether two items are the same; None where precision or units leave it open."""
    a, b = system_value(left), system_value(right)
    if isinstance(a, Temporal) and isinstance(b, str) and type(right) is Node:
        b = read_as(b, a)
    elif isinstance(b, Temporal) and isinstance(a, str) and type(left) is Node:
        a = read_as(a, b)
    if isinstance(a, Temporal) and isinstance(b, Temporal):
        if isinstance(a, Time) != isinstance(b, Time):
            return False
        order = a.compare(b)
        return None if order is None else order == 0
    if isinstance(a, Quantity) and isinstance(b, Quantity):
        order = a.compare(b)
        return None if order is None else order == 0
    if isinstance(a, bool) != isinstance(b, bool):
        return False
    if a is None and b is None:
        return bool(left == right)
    return bool(a == b)


def equal(left: Collection, right: Collection) -> bool | None:
    """``=``: same items in the same order; None if either side is empty."""
    if not left or not right:
        return None
    if len(left) != len(right):
        return False
    result: bool | None = True
    for a, b in zip(left, right, strict=True):
        same = equal_items(a, b)
        if same is False:
            return False
        if same is None:
            result = None
    return result


def contains_item(collection: Collection, item: Item) -> bool:
    """Whether an equal item is among them."""
    return any(equal_items(each, item) for each in collection)


def distinct(items: Collection) -> Collection:
    """The items without later equals of earlier ones."""
    kept: Collection = []
    seen: set[tuple[type, str]] = set()
    for item in items:
        value = item.value if type(item) is Node else item
        if isinstance(value, str):
            # Text is equal only to the same text, so a set spares the pairwise comparison.
            key = (str, value)
            if key in seen:
                continue
            seen.add(key)
            kept.append(item)
        elif not contains_item(kept, item):
            kept.append(item)
    return kept


def _same_text(left: str, right: str) -> bool:
    return " ".join(left.split()).casefold() == " ".join(right.split()).casefold()


def _places(value: Decimal | int) -> int:
    exponent = value.normalize().as_tuple().exponent if isinstance(value, Decimal) else 0
    return -exponent if isinstance(exponent, int) and exponent < 0 else 0


def _same_number(left: Decimal | int, right: Decimal | int) -> bool:
    """Equal when rounded to the digits of the less precise one (N1, 6.1.2)."""
    step = Decimal(1).scaleb(-min(_places(left), _places(right)))
    return Decimal(left).quantize(step, ROUND_HALF_UP) == Decimal(right).quantize(step, ROUND_HALF_UP)


def _same_quantity(left: Quantity, right: Quantity) -> bool:
    """Equal in the larger of the two units, at the lesser precision (N1, 6.1.2)."""
    pair = left.in_larger_unit(right)
    return pair is not None and _same_number(*pair)


def equivalent_items(left: Item, right: Item) -> bool:
    """Whether two items mean the same: text without case, numbers at the lesser precision, codes by system and code."""
    a, b = system_value(left), system_value(right)
    if isinstance(a, Temporal) and isinstance(b, Temporal):
        return a.compare(b) == 0
    if isinstance(a, Quantity) and isinstance(b, Quantity):
        return _same_quantity(a, b)
    if isinstance(a, str) and isinstance(b, str):
        return _same_text(a, b)
    if _is_number(a) and _is_number(b):
        return _same_number(a, b)
    if isinstance(a, Node) and isinstance(b, Node):
        return _equivalent_values(a.value, b.value)
    return isinstance(a, bool) == isinstance(b, bool) and bool(a == b)


def _codings(value: Any) -> list[tuple[Any, Any]] | None:
    """Codings by system and code (https://hl7.org/fhir/R4/fhirpath.html: equivalence of Coding and CodeableConcept)."""
    if not isinstance(value, dict):
        return None
    if isinstance(value.get("coding"), list):
        codings = [coding for coding in value["coding"] if isinstance(coding, dict)]
        return [(coding.get("system"), coding.get("code")) for coding in codings]
    if "code" in value and "system" in value and "value" not in value:
        return [(value["system"], value["code"])]
    return None


def _equivalent_values(left: Any, right: Any) -> bool:
    mine, theirs = _codings(left), _codings(right)
    if mine is not None and theirs is not None:
        return any(coding in theirs for coding in mine)
    if isinstance(left, dict) and isinstance(right, dict):
        keys = left.keys() - {"id"}
        return keys == right.keys() - {"id"} and all(_equivalent_values(left[key], right[key]) for key in keys)
    if isinstance(left, list) and isinstance(right, list):
        return _matches_in_any_order(left, right, _equivalent_values)
    if isinstance(left, str) and isinstance(right, str):
        return _same_text(left, right)
    return bool(left == right)


def _matches_in_any_order(left: list[Any], right: list[Any], same: Any) -> bool:
    if len(left) != len(right):
        return False
    rest = list(right)
    for a in left:
        for index, b in enumerate(rest):
            if same(a, b):
                del rest[index]
                break
        else:
            return False
    return True


def equivalent(left: Collection, right: Collection) -> bool:
    """``~``: equivalent items in any order; two empty collections are equivalent."""
    return _matches_in_any_order(left, right, equivalent_items)
