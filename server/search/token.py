"""Token search: https://hl7.org/fhir/R4/search.html#token"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from sqlalchemy import ColumnElement, and_, false, or_
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from server.errors import BadRequest
from server.fhir.fhirpath.node import Node
from server.search.codes import Codes, Many, Terminology
from server.search.entry import Entry
from server.search.text import cut, fold, split, unescape

MODIFIERS = frozenset({"text", "not", "of-type", "in", "not-in", "above", "below"})
Columns = ReadOnlyColumnCollection[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Operand:
    """What one value of a token parameter asks for."""

    kind: ClassVar[str] = "token"
    #: None: any system; "": no system.
    system: str | None = None
    #: None: any code.
    code: str | None = None
    #: Folded beginning of the words beside the code (:text).
    text: str | None = None
    #: Any of these, by system (:in, :above, :below); a system without codes is meant whole.
    among: Mapping[str, frozenset[str]] | None = field(default=None, hash=False)
    #: Or any of these, which are too many to be listed.
    many: tuple[tuple[str, Many], ...] = ()
    suffix: str = ""


def entries(node: Node, system: str | None = None) -> Iterator[Entry]:
    """Index rows of a Coding, CodeableConcept, Identifier, ContactPoint or simple value.

    ``system`` is the code system that a code is bound to by its definition.
    """
    value = node.value
    if isinstance(value, dict):
        yield from _complex(node.type, value)
    elif node.type == "code" and isinstance(value, str):
        yield _entry(system, value)
    elif isinstance(value, bool):
        yield _entry(None, "true" if value else "false")
    elif value is not None:
        yield _entry(None, str(value))


def _complex(kind: str, value: dict[str, Any]) -> Iterator[Entry]:
    if "coding" in value or kind == "CodeableConcept":
        for coding in _dicts(value.get("coding")):
            yield _entry(coding.get("system"), coding.get("code"), coding.get("display"))
        if value.get("text"):
            yield _entry(None, None, value["text"])
    elif kind == "Identifier":
        yield from identifier_entries(value)
    elif kind == "ContactPoint":
        yield _entry(None, value.get("value"))
    elif kind == "Extension":
        for name, inner in value.items():
            if name.startswith("value"):
                yield from entries(Node(inner, name.removeprefix("value"), ""))
    elif value.get("code"):
        yield _entry(value.get("system"), value.get("code"), value.get("display"))


def identifier_entries(identifier: dict[str, Any], suffix: str = "") -> Iterator[Entry]:
    """Rows of an Identifier: by system and value, and with its type for :of-type."""
    kind = identifier.get("type") or {}
    yield _entry(identifier.get("system"), identifier.get("value"), kind.get("text"), suffix)
    for coding in _dicts(kind.get("coding")) if not suffix else ():
        if coding.get("code") and identifier.get("value"):
            yield _entry(coding.get("system"), f"{coding['code']}|{identifier['value']}", None, "of-type")


def _entry(system: Any, code: Any, text: Any = None, suffix: str = "") -> Entry:
    return Entry("token", (_key(system), _key(code), fold(str(text)) if text else None), suffix)


def _key(value: Any) -> str | None:
    return None if value is None else cut(str(value))


def _dicts(value: Any) -> Iterator[dict[str, Any]]:
    return (item for item in value or () if isinstance(item, dict))


def parse(text: str, modifier: str) -> Operand:
    """The operand of ``system|code`` in its forms; raises BadRequest for one that says nothing."""
    if modifier == "text":
        return Operand(text=fold(unescape(text)))
    parts = [cut(unescape(part)) for part in split(text, "|")]
    if modifier == "of-type":
        if len(parts) != 3 or not (parts[1] and parts[2]):
            raise BadRequest("The modifier :of-type wants system|type|value.")
        return Operand(system=parts[0] or None, code=cut(f"{parts[1]}|{parts[2]}"), suffix="of-type")
    if len(parts) == 1:
        return Operand(code=parts[0])
    # A code may hold a bar that the client did not escape.
    system, code = parts[0], "|".join(parts[1:])
    if not system and not code:
        raise BadRequest("A token is code, system|code, |code or system|.")
    return Operand(system=system, code=code or None)


def parse_subsuming(text: str, modifier: str, terminology: Terminology) -> Operand:
    """The operand of :in and :not-in (a value set), :above and :below (system|code); BadRequest for unknown ones."""
    if modifier in ("in", "not-in"):
        url = unescape(text)
        found = terminology.members(url)
        if found is None:
            raise BadRequest(f"The value set '{url[:200]}' is not here: store it, or name one of the standard's.")
        return among(found)
    asked = parse(text, "")
    if not asked.system or not asked.code:
        raise BadRequest(f"The modifier :{modifier} wants system|code.")
    found = terminology.related(asked.system, asked.code, above=modifier == "above")
    if found is None:
        raise BadRequest(f"The code system '{asked.system[:200]}' is not here, so what subsumes what is not known.")
    return among(found)


def among(codes: Codes) -> Operand:
    """The operand that any of several codes meets."""
    listed = {cut(system): frozenset(map(cut, found)) for system, found in codes.listed.items()}
    return Operand(among=listed, many=codes.many)


def clause(operand: Operand, columns: Columns) -> ColumnElement[bool]:
    """The operand over the columns of index_token."""
    if operand.among is not None:
        listed = (_one_system(system, codes, columns) for system, codes in operand.among.items())
        many = (and_(columns["system"] == system, more.clause(columns["code"])) for system, more in operand.many)
        return or_(false(), *listed, *many)
    conditions: list[ColumnElement[bool]] = []
    if operand.text is not None:
        conditions.append(columns["text"].startswith(operand.text, autoescape=True))
    if operand.code is not None:
        conditions.append(columns["code"] == operand.code)
    if operand.system == "":
        conditions.append(or_(columns["system"].is_(None), columns["system"] == ""))
    elif operand.system is not None:
        conditions.append(columns["system"] == operand.system)
    return and_(*conditions) if conditions else false()


def _one_system(system: str, codes: frozenset[str], columns: Columns) -> ColumnElement[bool]:
    of_system: ColumnElement[bool] = columns["system"] == system
    return and_(columns["code"].in_(sorted(codes)), of_system) if codes else of_system


def matches(operand: Operand, values: tuple[Any, ...]) -> bool:
    """The same, for one row in memory."""
    system, code, text = values
    if operand.among is not None:
        codes = operand.among.get(system)
        if codes is not None and (not codes or code in codes):
            return True
        return code is not None and any(more.holds(code) for of, more in operand.many if of == system)
    if operand.text is not None:
        return text is not None and str(text).startswith(operand.text)
    if operand.code is not None and code != operand.code:
        return False
    return operand.system is None or (system or "") == operand.system
