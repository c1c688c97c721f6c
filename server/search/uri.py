"""URI search: https://hl7.org/fhir/R4/search.html#uri"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from sqlalchemy import ColumnElement, func, literal, or_
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from server.fhir.fhirpath.node import Node
from server.search.entry import Entry
from server.search.text import cut, unescape

MODIFIERS = frozenset({"above", "below"})
Columns = ReadOnlyColumnCollection[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Operand:
    """What one value of a uri parameter asks for."""

    kind: ClassVar[str] = "uri"
    #: equal, above or below.
    how: str
    uri: str
    suffix: str = ""


def entries(node: Node) -> Iterator[Entry]:
    """The index row of a uri, url, canonical, oid or uuid."""
    if isinstance(node.value, str) and node.value:
        yield Entry("uri", (cut(node.value),))


def parse(text: str, modifier: str) -> Operand:
    """The operand of a uri value; :below finds what lies under its path, :above what its path lies under."""
    return Operand(how=modifier or "equal", uri=cut(unescape(text)))


def _folder(uri: str) -> str:
    return uri.rstrip("/") + "/"


def clause(operand: Operand, columns: Columns) -> ColumnElement[bool]:
    """The operand over the column of index_uri."""
    uri = columns["uri"]
    if operand.how == "below":
        folder = _folder(operand.uri)
        return or_(uri == operand.uri, uri == folder[:-1], func.starts_with(uri, folder))
    if operand.how == "above":
        asked = literal(operand.uri)
        return or_(uri == operand.uri, func.starts_with(asked, func.rtrim(uri, "/") + "/"))
    return bool_equal(uri, operand.uri)


def bool_equal(column: Any, value: str) -> ColumnElement[bool]:
    """``column = value``, typed."""
    equal: ColumnElement[bool] = column == value
    return equal


def matches(operand: Operand, values: tuple[Any, ...]) -> bool:
    """The same, for one row in memory."""
    (uri,) = values
    if operand.how == "below":
        folder = _folder(operand.uri)
        return bool(uri in (operand.uri, folder[:-1]) or uri.startswith(folder))
    if operand.how == "above":
        return bool(uri == operand.uri or operand.uri.startswith(_folder(uri)))
    return bool(uri == operand.uri)
