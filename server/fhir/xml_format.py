"""FHIR XML to and from the JSON form that everything else works on: https://hl7.org/fhir/R4/xml.html

Names, order and types come from the element tables. Parsing takes no document type, so no entity is ever expanded and
nothing outside the text is read; what JSON would not tell apart (an unknown element, text between elements) is refused.
Decimals keep their digits, a narrative stays as it was written.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from html import unescape
from typing import Any
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

from server.errors import BadRequest, NotAcceptable
from server.fhir import json_format
from server.fhir.definitions import Definitions, Property

NAMESPACE = "http://hl7.org/fhir"
_XHTML = "http://www.w3.org/1999/xhtml"
_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
#: The elements that XML holds as attributes; every other one is an element, Resource.id too.
_ATTRIBUTES = frozenset({"Element.id", "Extension.url"})
#: Elements one within another.
_DEEPEST = 200
_NUMBERS = frozenset({"decimal", "integer", "unsignedInt", "positiveInt"})
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?", re.ASCII)
_BOOLEANS = {"true": True, "false": False}
#: What XML 1.0 has no way to write (its production 2).
_UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
#: As these an attribute keeps the white space that a parser would turn into blanks.
_KEPT_SPACE = {"\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}
_ENTITY = re.compile(r"&(?!(?:amp|lt|gt|quot|apos);)[A-Za-z][A-Za-z0-9]*;")
#: Attributes of other vocabularies that say nothing about the content.
_SCHEMA_INSTANCE = "http://www.w3.org/2001/XMLSchema-instance"


def write(definitions: Definitions, resource: dict[str, Any]) -> bytes:
    """One resource as an XML document; NotAcceptable where it holds what XML can't say."""
    out = [_HEAD]
    try:
        _write_resource(definitions, resource, out, f' xmlns="{NAMESPACE}"')
    except RecursionError as error:
        raise NotAcceptable("This is nested too deeply for XML; ask for JSON.") from error
    return "".join(out).encode()


def parse(definitions: Definitions, body: bytes) -> dict[str, Any]:
    """The resource in an XML document as ``json_format.parse`` would give it; BadRequest where it is none."""
    reading = _Reading(definitions, body)
    try:
        reading.parser.Parse(body, True)
    except expat.ExpatError as error:
        raise BadRequest(f"The body is no well-formed XML at line {error.lineno}: {error}.") from error
    return reading.resource


@lru_cache(maxsize=4096)
def _order(definitions: Definitions, path: str) -> dict[str, int]:
    """JSON name -> its place in the standard's order."""
    return {name: place for place, name in enumerate(definitions.properties(path))}


def _write_resource(definitions: Definitions, resource: Any, out: list[str], attributes: str = "") -> None:
    kind = resource.get("resourceType") if isinstance(resource, dict) else None
    if not isinstance(kind, str) or not definitions.is_resource(kind):
        raise NotAcceptable("This holds something that is no resource; ask for JSON.")
    out.append(f"<{kind}{attributes}")
    _write_content(definitions, {name: resource[name] for name in resource if name != "resourceType"}, kind, out)
    out.append(f"</{kind}>")


def _write_content(definitions: Definitions, value: Any, path: str, out: list[str]) -> None:
    """The attributes of the element that ``out`` ends in, its end and all below it."""
    if not isinstance(value, dict):
        raise NotAcceptable(f"{path} is not an object; ask for JSON.", expression=path)
    order, properties = _order(definitions, path), definitions.properties(path)
    unknown = next((name for name in value if name.removeprefix("_") not in order), None)
    if unknown is not None:
        raise NotAcceptable(f"{path} has the element '{unknown[:64]}', which XML can't hold; ask for JSON.")
    names = sorted({name.removeprefix("_") for name in value}, key=order.__getitem__)
    for name in names:
        if properties[name].element.path in _ATTRIBUTES and name in value:
            out.append(f" {name}={_quoted(value[name])}")
    out.append(">")
    for name in names:
        found = properties[name]
        if found.element.path not in _ATTRIBUTES:
            for one, more in _pairs(value.get(name), value.get("_" + name)):
                _write_element(definitions, name, found, one, more, out)


def _pairs(value: Any, more: Any) -> Iterator[tuple[Any, Any]]:
    """The values of a property, each with the id and extensions that stand under the name with an underscore."""
    if not isinstance(value, list) and not isinstance(more, list):
        yield value, more
        return
    values, others = value if isinstance(value, list) else [], more if isinstance(more, list) else []
    for place in range(max(len(values), len(others))):
        yield (
            values[place] if place < len(values) else None,
            others[place] if place < len(others) else None,
        )


def _write_element(definitions: Definitions, name: str, found: Property, one: Any, more: Any, out: list[str]) -> None:
    if found.type == "xhtml":
        out.append(_narrative(str(one)))
        return
    out.append(f"<{name}")
    if found.type == "Resource":
        out.append(">")
        _write_resource(definitions, one, out)
    elif _is_primitive(definitions, found):
        if one is not None:
            out.append(f" value={_quoted(one)}")
        _write_content(definitions, more or {}, "Element", out)
    else:
        _write_content(definitions, one, found.children, out)
    out.append(f"</{name}>")


def _is_primitive(definitions: Definitions, found: Property) -> bool:
    definition = definitions.types.get(found.type)
    return definition is not None and definition.kind == "primitive-type"


def _quoted(value: Any) -> str:
    text = ("true" if value else "false") if isinstance(value, bool) else value
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        text = json_format.write(value).decode()
    if not isinstance(text, str) or _UNWRITABLE.search(text):
        raise NotAcceptable("A value has characters that XML can't hold; ask for JSON.")
    return quoteattr(text, _KEPT_SPACE)


def _narrative(text: str) -> str:
    """The div; XHTML's own entities, which XML does not know, become their characters."""
    return _ENTITY.sub(lambda found: "".join(f"&#{ord(one)};" for one in unescape(found[0])), text)


@dataclass(slots=True)
class _Open:
    """One element that is being read."""

    name: str
    #: Where its children are defined; empty for an element that holds a whole resource.
    path: str
    #: What it is in the element around it; None for a resource.
    found: Property | None = None
    value: dict[str, Any] = field(default_factory=dict)
    #: The value attribute of a primitive.
    text: str | None = None


class _Reading:
    """One document being read, its open elements on a stack."""

    def __init__(self, definitions: Definitions, body: bytes) -> None:
        self.resource: dict[str, Any] = {}
        self._definitions = definitions
        self._body = body
        self._open: list[_Open] = []
        #: Within a narrative: how deep, and where it began.
        self._depth = 0
        self._start_of_narrative = 0
        # FHIR is UTF-8, whatever a document says of itself.
        self.parser = expat.ParserCreate(encoding="UTF-8", namespace_separator=" ")
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._characters
        self.parser.StartDoctypeDeclHandler = self._doctype

    def _doctype(self, *_: object) -> None:
        raise BadRequest("FHIR XML has no document type declaration.")

    def _characters(self, text: str) -> None:
        if not self._depth and text.strip():
            raise BadRequest("FHIR XML has no text between its elements.", expression=self._place())

    def _start(self, name: str, attributes: Mapping[str, str]) -> None:
        if self._depth:
            self._depth += 1
            return
        space, _, local = name.rpartition(" ")
        if len(self._open) >= _DEEPEST:
            raise BadRequest(f"The XML is nested more than {_DEEPEST} elements deep.")
        parent = self._open[-1] if self._open else None
        if parent is not None and parent.path:
            found = self._definitions.properties(parent.path).get(local)
            if found is None or found.element.path in _ATTRIBUTES or space != self._namespace(found):
                raise BadRequest(f"{parent.path} has no element '{local[:64]}' here.", expression=self._place())
            if found.type == "xhtml":
                self._depth, self._start_of_narrative = 1, self.parser.CurrentByteIndex
                return
            self._begin(local, found, attributes)
        else:
            self._begin_resource(space, local, parent, attributes)

    def _namespace(self, found: Property) -> str:
        return _XHTML if found.type == "xhtml" else NAMESPACE

    def _begin_resource(self, space: str, local: str, parent: _Open | None, attributes: Mapping[str, str]) -> None:
        if space != NAMESPACE or not self._definitions.is_resource(local):
            raise BadRequest(f"'{local[:64]}' is no resource of FHIR in the namespace {NAMESPACE}.")
        if parent is not None and parent.value:
            raise BadRequest(f"{parent.name} holds one resource.", expression=self._place())
        self._open.append(_Open(local, local, value={"resourceType": local}))
        self._attributes(self._open[-1], attributes)

    def _begin(self, local: str, found: Property, attributes: Mapping[str, str]) -> None:
        path = "" if found.type == "Resource" else found.children
        if _is_primitive(self._definitions, found):
            path = "Element"
        self._open.append(_Open(local, path, found))
        self._attributes(self._open[-1], attributes)

    def _attributes(self, element: _Open, attributes: Mapping[str, str]) -> None:
        primitive = element.found is not None and _is_primitive(self._definitions, element.found)
        known = self._definitions.properties(element.path) if element.path else {}
        for name, text in attributes.items():
            if name.startswith(_SCHEMA_INSTANCE):
                continue
            if primitive and name == "value":
                element.text = text
            elif name in known and known[name].element.path in _ATTRIBUTES:
                element.value[name] = text
            else:
                raise BadRequest(f"{element.name} has no attribute '{name[:64]}'.", expression=self._place())

    def _end(self, _: str) -> None:
        if self._depth:
            self._depth -= 1
            if not self._depth:
                self._add("div", self._source(), None, many=False)
            return
        done = self._open.pop()
        if done.found is None:
            self._resource_read(done)
        elif _is_primitive(self._definitions, done.found):
            value = None if done.text is None else _typed(done.found.type, done.text)
            self._add(done.name, value, done.value or None, many=done.found.element.many)
        else:
            value = done.value["resource"] if not done.path and done.value else done.value
            self._add(done.name, value, None, many=done.found.element.many)

    def _resource_read(self, done: _Open) -> None:
        if self._open:
            self._open[-1].value["resource"] = done.value
        else:
            self.resource = done.value

    def _source(self) -> str:
        """The narrative as it stands in the document."""
        end = self._body.index(b">", self.parser.CurrentByteIndex) + 1
        return self._body[self._start_of_narrative : end].decode()

    def _add(self, name: str, value: Any, more: Any, *, many: bool) -> None:
        """One more value of a property of the innermost open element."""
        holder = self._open[-1].value
        if not many:
            if name in holder or "_" + name in holder:
                raise BadRequest(f"{name} stands there more than once.", expression=f"{self._place()}.{name}")
            _set(holder, name, value, more)
            return
        count = max(len(holder.get(name, ())), len(holder.get("_" + name, ())))
        for key, one in ((name, value), ("_" + name, more)):
            if one is not None or key in holder:
                holder.setdefault(key, [None] * count).append(one)

    def _place(self) -> str:
        return ".".join(one.name for one in self._open)


def _set(holder: dict[str, Any], name: str, value: Any, more: Any) -> None:
    if value is not None or more is None:
        # Without a value and without anything beside it, it is null: validation says so, with the place.
        holder[name] = value
    if more is not None:
        holder["_" + name] = more


def _typed(kind: str, text: str) -> Any:
    """A primitive as JSON has it; what is none of its type stays text, which validation refuses with the place."""
    if kind in _NUMBERS and _NUMBER.fullmatch(text):
        return json_format.parse_any(text.encode())
    return _BOOLEANS.get(text, text) if kind == "boolean" else text
