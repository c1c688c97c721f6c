"""String search: https://hl7.org/fhir/R4/search.html#string"""

import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from sqlalchemy import ColumnElement, String, and_, func, literal
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from server.fhir.fhirpath.node import Node
from server.search.entry import Entry
from server.search.text import fold, storable, unescape

MODIFIERS = frozenset({"exact", "contains", "text"})
Columns = ReadOnlyColumnCollection[str, Any]
#: As many folded characters are in the index's key.
_INDEXED = 64
#: Sorts behind every character in collation "C".
_LAST = "\U0010ffff"
_COMPARED: dict[str, Callable[[Any, Any], Any]] = {
    "gt": operator.gt,
    "lt": operator.lt,
    "ge": operator.ge,
    "le": operator.le,
}
_PARTS = {
    "HumanName": ("text", "family", "given", "prefix", "suffix"),
    "Address": ("text", "line", "city", "district", "state", "postalCode", "country"),
    "CodeableConcept": ("text",),
    "Identifier": ("value",),
    "Annotation": ("text",),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Operand:
    """What one value of a string parameter asks for."""

    kind: ClassVar[str] = "string"
    #: starts, exact or contains; of _filter also equal, ends, gt, lt, ge and le.
    how: str
    #: Folded, unless ``how`` is exact.
    text: str
    suffix: str = ""


def entries(node: Node) -> Iterator[Entry]:
    """Index rows of a text, or of every text within a HumanName or Address."""
    for text in texts(node):
        exact = storable(text)
        if exact:
            yield Entry("string", (fold(exact), exact))


def texts(node: Node) -> Iterator[str]:
    """The texts that a value is found by."""
    value = node.value
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name in _PARTS.get(node.type, ("text", "display", "valueString")):
            part = value.get(name)
            yield from (str(item) for item in (part if isinstance(part, list) else [part]) if item)


def parse(text: str, modifier: str) -> Operand:
    """The operand of a string value."""
    plain = unescape(text)
    if modifier == "exact":
        return Operand(how="exact", text=storable(plain))
    return Operand(how="contains" if modifier in ("contains", "text") else "starts", text=fold(plain))


def clause(operand: Operand, columns: Columns) -> ColumnElement[bool]:
    """The operand over the columns of index_string; the first condition of each is the one that the index serves."""
    if operand.how == "contains":
        return func.strpos(columns["folded"], operand.text) > 0
    if operand.how == "ends":
        return func.right(columns["folded"], len(operand.text), type_=String(collation="C")) == operand.text
    if operand.how in _COMPARED:
        compared: ColumnElement[bool] = _COMPARED[operand.how](columns["folded"], operand.text)
        return compared
    # Written into the statement, since the planner has to see the index's very expression.
    indexed = func.left(columns["folded"], literal(_INDEXED, literal_execute=True), type_=String(collation="C"))
    if operand.how == "exact":
        beginning = fold(operand.text)[:_INDEXED]
        return and_(indexed == beginning, columns["exact"] == operand.text)
    beginning = operand.text[:_INDEXED]
    if operand.how == "equal":
        return and_(indexed == beginning, columns["folded"] == operand.text)
    near = and_(indexed >= beginning, indexed < beginning + _LAST) if beginning else indexed >= ""
    return and_(near, func.starts_with(columns["folded"], operand.text))


def matches(operand: Operand, values: tuple[Any, ...]) -> bool:
    """The same, for one row in memory."""
    folded, exact = values
    if operand.how == "exact":
        return bool(exact == operand.text)
    if operand.how in _COMPARED:
        return bool(_COMPARED[operand.how](folded, operand.text))
    if operand.how == "contains":
        return operand.text in folded
    if operand.how == "equal":
        return bool(folded == operand.text)
    if operand.how == "ends":
        return bool(folded.endswith(operand.text))
    return bool(folded.startswith(operand.text))
