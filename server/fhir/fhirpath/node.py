"""The items that FHIRPath works on: FHIR elements that know their type, and System values as plain Python.

System types are Python's: Boolean bool, Integer int, Decimal decimal.Decimal, String str; Date, DateTime, Time and
Quantity are this package's. See https://hl7.org/fhir/R4/fhirpath.html#types for how FHIR's types become System's.
"""

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

from server.fhir.fhirpath.quantity import Quantity
from server.fhir.fhirpath.temporal import Date, DateTime, Temporal, Time

#: Nodes and System values.
Item = Any
Collection = list[Any]

UCUM = "http://unitsofmeasure.org"


class Node:
    """An element of a resource: JSON value, FHIR type, and where its children are defined."""

    __slots__ = ("extra", "path", "type", "value")

    def __init__(self, value: Any, type_name: str, path: str, extra: dict[str, Any] | None = None) -> None:
        #: The JSON value; None for a primitive that has only extensions.
        self.value = value
        #: FHIR type name, empty where nothing tells it.
        self.type = type_name
        #: Path of its definition, for its children.
        self.path = path
        #: What stands under ``_name``: id and extensions of a primitive.
        self.extra = extra

    def __repr__(self) -> str:
        return f"Node({self.type or '?'} {self.value!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Node) and self.value == other.value and self.extra == other.extra

    def __hash__(self) -> int:
        return hash(self.type)


def resource_node(resource: dict[str, Any]) -> Node:
    """The node of a whole resource, or of any JSON object that names its resourceType."""
    name = str(resource.get("resourceType", ""))
    return Node(resource, name, name)


def _decimal(value: Any) -> Any:
    try:
        return value if isinstance(value, Decimal) else Decimal(str(value))
    except InvalidOperation:
        return str(value)


def _quantity(value: Any) -> Quantity | None:
    number = value.get("value") if isinstance(value, dict) else None
    if isinstance(number, bool) or not isinstance(number, int | float | Decimal) or value.get("comparator"):
        return None
    code, unit = value.get("code"), value.get("unit")
    if code is not None:
        return Quantity(_decimal(number), str(code))
    return Quantity(_decimal(number), str(unit) if unit is not None else "1")


def _temporal(parse: Callable[[str], Temporal | None]) -> Callable[[Any], Any]:
    def convert(value: Any) -> Any:
        parsed = parse(value) if isinstance(value, str) else None
        return value if parsed is None else parsed

    return convert


#: Types whose System value is not the JSON value itself.
_CONVERSIONS: dict[str, Callable[[Any], Any]] = {
    "date": _temporal(Date.parse),
    "dateTime": _temporal(DateTime.parse),
    "instant": _temporal(DateTime.parse),
    "time": _temporal(Time.parse),
    "decimal": _decimal,
    "Quantity": _quantity,
    "SimpleQuantity": _quantity,
    "MoneyQuantity": _quantity,
    "Age": _quantity,
    "Count": _quantity,
    "Distance": _quantity,
    "Duration": _quantity,
}


def system_value(item: Item) -> Any:
    """The System value of an item; None for a primitive without value; the node itself for a complex one."""
    if type(item) is not Node:
        return item
    value = item.value
    convert = _CONVERSIONS.get(item.type)
    if convert is not None and value is not None:
        converted = convert(value)
        return item if converted is None else converted
    if isinstance(value, float):
        return Decimal(str(value))
    return item if isinstance(value, dict) else value


def plain_value(item: Item) -> Any:
    """An item as JSON would have it."""
    if type(item) is Node:
        return item.value
    if isinstance(item, Temporal):
        return str(item)
    if isinstance(item, Quantity):
        if item.unit in ("1", ""):
            return {"value": item.value}
        return {"value": item.value, "unit": item.unit, "system": UCUM, "code": item.unit}
    return item
