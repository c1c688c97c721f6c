"""Reference search: https://hl7.org/fhir/R4/search.html#reference"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from sqlalchemy import ColumnElement, func, or_
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from server.errors import BadRequest
from server.fhir.fhirpath.node import Node
from server.search.entry import Entry
from server.search.text import cut, unescape
from server.search.token import identifier_entries

#: Besides these, the name of a resource type is a modifier.
MODIFIERS = frozenset({"identifier", "above", "below"})
#: Suffix of the rows of references to contained resources; their ``item`` is the place of what they refer to.
CONTAINED = "#"
Columns = ReadOnlyColumnCollection[str, Any]
#: A literal reference to a resource, on this server or another: https://hl7.org/fhir/R4/references.html#literal
LITERAL = re.compile(
    r"(?P<base>https?://.+/)?(?P<type>[A-Z][A-Za-z]+)/(?P<id>[A-Za-z0-9\-.]{1,64})(/_history/(?P<version>[A-Za-z0-9\-.]{1,64}))?"
)
ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Operand:
    """What one value of a reference parameter asks for: any of these targets."""

    kind: ClassVar[str] = "reference"
    targets: tuple[str, ...]
    #: A canonical without version: every version of it is meant.
    any_version: bool = False
    #: A canonical whose version begins like this.
    below: str = ""
    suffix: str = ""


def target(reference: str, base_url: str = "") -> str:
    """A literal reference as the index holds it: ``Type/id`` on this server, anything else as it is."""
    found = LITERAL.fullmatch(reference)
    if found and found["base"] in (None, base_url.rstrip("/") + "/"):
        return f"{found['type']}/{found['id']}"
    return cut(reference)


def entries(node: Node, base_url: str = "") -> Iterator[Entry]:
    """Index rows of a Reference (and of its identifier), or of a canonical or uri."""
    value = node.value
    if isinstance(value, str):
        if value.startswith("#"):
            yield Entry("reference", (cut(value),), CONTAINED)
        else:
            yield Entry("reference", (target(value, base_url),))
        return
    if not isinstance(value, dict):
        return
    literal = value.get("reference")
    if isinstance(literal, str) and literal.startswith("#"):
        yield Entry("reference", (cut(literal),), CONTAINED)
    elif isinstance(literal, str) and literal:
        yield Entry("reference", (target(literal, base_url),))
    if isinstance(value.get("identifier"), dict):
        yield from identifier_entries(value["identifier"], "identifier")
    if "resourceType" in value and value.get("id"):
        yield Entry("reference", (f"{value['resourceType']}/{value['id']}",))


def parse(text: str, types: tuple[str, ...], base_url: str = "") -> Operand:
    """The operand of ``id``, ``Type/id`` or a URL; ``types`` are those that a bare id may be of."""
    plain = unescape(text)
    literal = target(plain, base_url)
    if "/" not in plain and ":" not in plain:
        if not ID.fullmatch(plain):
            raise BadRequest("A reference is id, Type/id or an absolute URL.")
        return Operand(targets=tuple(f"{name}/{plain}" for name in types))
    return Operand(targets=(literal,), any_version=":" in literal and "|" not in literal)


def parse_versions(text: str, *, above: bool) -> Operand:
    """The operand of a canonical's :below (``url|1`` finds 1.2) and :above (``url|1.2`` finds 1)."""
    plain = cut(unescape(text))
    url, _, version = plain.partition("|")
    if not version:
        return Operand(targets=(plain,), any_version=True)
    if not above:
        return Operand(targets=(plain,), below=f"{plain}.")
    parts = version.split(".")
    return Operand(targets=tuple(f"{url}|{'.'.join(parts[:length])}" for length in range(1, len(parts) + 1)))


def clause(operand: Operand, columns: Columns) -> ColumnElement[bool]:
    """The operand over the column of index_reference."""
    column = columns["target"]
    equal: ColumnElement[bool] = column.in_(operand.targets)
    if operand.below:
        return or_(equal, func.starts_with(column, operand.below))
    if not operand.any_version:
        return equal
    return or_(equal, *(func.starts_with(column, f"{url}|") for url in operand.targets))


def matches(operand: Operand, values: tuple[Any, ...]) -> bool:
    """The same, for one row in memory."""
    (found,) = values
    if found in operand.targets:
        return True
    if operand.below:
        return bool(found.startswith(operand.below))
    return operand.any_version and any(found.startswith(f"{url}|") for url in operand.targets)
