"""The Native DICOM Model in XML (PS3.19 A.1) to and from the DICOM JSON model, as DICOMweb exchanges it.

Parsing is bounded and takes no document type: no entity is ever expanded and nothing outside the text is read.
"""

import math
import re
from dataclasses import dataclass, field
from typing import Any
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from pydicom.datadict import keyword_for_tag

from server.errors import BadRequest
from server.imaging.dataset import Attributes, Limits
from server.imaging.json_model import BYTES, CONVERT

NAMESPACE = "http://dicom.nema.org/PS3.19/models/NativeDICOM"
_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
#: PS3.5 6.2.1.1: the components of one group, in their order.
_COMPONENTS = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")
_INTEGERS = frozenset({"IS", "SL", "SS", "SV", "UL", "US", "UV"})
_DECIMALS = frozenset({"DS", "FD", "FL"})
#: What XML 1.0 has no way to write (its production 2).
_UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TAG = re.compile(r"[0-9A-Fa-f]{8}", re.ASCII)
_NUMBER = re.compile(r"[1-9]\d{0,8}", re.ASCII)
_HEAD = f'<?xml version="1.0" encoding="UTF-8"?>\n<NativeDicomModel xmlns="{NAMESPACE}" xml:space="preserve">'


def to_xml(attributes: Attributes) -> bytes:
    """One data set as an XML document (PS3.19 A.1.5); characters that XML can't write become U+FFFD."""
    out = [_HEAD]
    _write(attributes, out)
    out.append("</NativeDicomModel>\n")
    return "".join(out).encode()


def _text(value: object) -> str:
    return escape(_UNWRITABLE.sub("\ufffd", str(value)), {"\r": "&#13;"})


def _quoted(value: object) -> str:
    return quoteattr(_UNWRITABLE.sub("\ufffd", str(value)), {"\r": "&#13;"})


def _write(attributes: Attributes, out: list[str]) -> None:
    blocks = _creators(attributes)
    first = {}
    for block, creator in sorted(blocks.items(), reverse=True):
        first[block[:4], creator] = block
    for tag in sorted(attributes):
        element = attributes[tag]
        creator = blocks.get(tag[:6], "")
        name = tag
        if creator and first[tag[:4], creator] == tag[:6]:
            # PS3.19 table A.1.5-2: the block number gives way to the name of its creator.
            name = f"{tag[:4]}00{tag[6:]}"
        keyword = "" if creator else keyword_for_tag(int(tag, 16))
        out.append(f'<DicomAttribute tag="{name}" vr="{_text(element.get("vr", "UN"))}"')
        out.append(f' keyword="{keyword}"' if keyword else "")
        out.append(f" privateCreator={_quoted(creator)}>" if creator else ">")
        _content(element, out)
        out.append("</DicomAttribute>")


def _creators(attributes: Attributes) -> dict[str, str]:
    """The creator of each private block by the first six digits of its tags (PS3.5 7.8.1)."""
    found = {}
    for tag, element in attributes.items():
        if int(tag[:4], 16) & 1 and tag[4:6] == "00" and int(tag[6:], 16) >= 0x10:
            values = element.get("Value") or [None]
            if isinstance(values[0], str) and values[0] == _UNWRITABLE.sub("\ufffd", values[0]):
                found[tag[:4] + tag[6:]] = values[0]
    return found


def _content(element: dict[str, Any], out: list[str]) -> None:
    if "BulkDataURI" in element:
        out.append(f"<BulkData uri={_quoted(element['BulkDataURI'])}/>")
    elif "InlineBinary" in element:
        out.append(f"<InlineBinary>{_text(element['InlineBinary'])}</InlineBinary>")
    for number, value in enumerate(element.get("Value") or (), 1):
        if element.get("vr") == "SQ":
            out.append(f'<Item number="{number}">')
            _write(value or {}, out)
            out.append("</Item>")
        elif element.get("vr") == "PN":
            out.append(f'<PersonName number="{number}">')
            _person_name(value or {}, out)
            out.append("</PersonName>")
        else:
            out.append(f'<Value number="{number}">{"" if value is None else _text(value)}</Value>')


def _person_name(value: dict[str, str], out: list[str]) -> None:
    for group in _GROUPS:
        if value.get(group):
            parts = zip(_COMPONENTS, value[group].split("^", 4), strict=False)
            inner = "".join(f"<{name}>{_text(part)}</{name}>" for name, part in parts)
            out.append(f"<{group}>{inner}</{group}>")


@dataclass(slots=True)
class _Node:
    """One XML element."""

    name: str
    given: dict[str, str]
    children: list["_Node"] = field(default_factory=list)
    text: list[str] = field(default_factory=list)

    def content(self) -> str:
        return "".join(self.text)


@dataclass(slots=True)
class _Builder:
    """Takes expat's events to a tree within limits."""

    limits: Limits
    root: _Node = field(default_factory=lambda: _Node("", {}))
    path: list[_Node] = field(default_factory=list)
    count: int = 0

    def start(self, name: str, given: dict[str, str]) -> None:
        self.count += 1
        # An item costs two elements of depth; a name's component lies three below its attribute.
        if len(self.path) > 2 * self.limits.depth + 5:
            raise BadRequest(f"The XML nests sequences deeper than {self.limits.depth}; send less deep data sets.")
        if self.count > self.limits.elements:
            raise BadRequest(f"The XML has more than {self.limits.elements} elements; send it in parts.")
        namespace, _, local = name.rpartition(" ")
        if namespace not in ("", NAMESPACE):
            raise BadRequest(f"The element {local} is not in the namespace {NAMESPACE}.", expression=local)
        node = _Node(local, given)
        (self.path[-1] if self.path else self.root).children.append(node)
        self.path.append(node)

    def end(self, _name: str) -> None:
        self.path.pop()

    def characters(self, text: str) -> None:
        self.path[-1].text.append(text)

    def no_doctype(self, *_: object) -> None:
        raise BadRequest("The XML declares a document type; leave it out.", expression="DOCTYPE")


def from_xml(document: bytes, limits: Limits | None = None) -> Attributes:
    """One XML document as DICOM JSON; raises BadRequest with the place: no XML, a document type, over a limit."""
    builder = _Builder(limits or Limits())
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.characters
    parser.StartDoctypeDeclHandler = builder.no_doctype
    try:
        parser.Parse(document, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        # ValueError and LookupError: an encoding that expat or Python does not know.
        raise BadRequest(f"The body is no well-formed XML: {error}.", expression="NativeDicomModel") from error
    root = builder.root.children[0]
    if root.name != "NativeDicomModel":
        raise BadRequest("The XML is no Native DICOM Model.", expression=root.name)
    return _attributes(root)


def _attributes(parent: _Node) -> Attributes:
    nodes = [child for child in parent.children if child.name == "DicomAttribute"]
    creators: dict[tuple[str, str], str] = {}
    for node in nodes:
        tag = node.given.get("tag", "").upper()
        if "privateCreator" not in node.given and _is_creator(tag):
            creators.setdefault((tag[:4], _first_value(node)), tag[6:])
    out: Attributes = {}
    for node in nodes:
        tag = _tag(node, creators, out)
        if tag in out:
            raise BadRequest(f"The attribute {tag} is there twice.", expression=tag)
        out[tag] = _element(node, tag)
    return out


def _is_creator(tag: str) -> bool:
    return bool(_TAG.fullmatch(tag)) and int(tag[:4], 16) & 1 == 1 and tag[4:6] == "00" and int(tag[6:], 16) >= 0x10


def _first_value(node: _Node) -> str:
    return next((child.content() for child in node.children if child.name == "Value"), "")


def _tag(node: _Node, creators: dict[tuple[str, str], str], out: Attributes) -> str:
    """The tag; a private one in the block that its creator has, or in a free one that is then its creator's."""
    tag, creator = node.given.get("tag", "").upper(), node.given.get("privateCreator", "")
    if not _TAG.fullmatch(tag):
        raise BadRequest(f"'{tag[:32]}' is no tag; write eight hexadecimal digits.", expression="DicomAttribute/@tag")
    if not creator or tag[4:6] != "00":
        return tag
    group = tag[:4]
    if (group, creator) not in creators:
        taken = {block for (other, _), block in creators.items() if other == group}
        free = next((f"{n:02X}" for n in range(0x10, 0x100) if f"{n:02X}" not in taken), None)
        if free is None:
            raise BadRequest(f"The group {group} has more private creators than it has blocks.", expression=tag)
        creators[group, creator] = free
        out[f"{group}00{free}"] = {"vr": "LO", "Value": [creator]}
    return group + creators[group, creator] + tag[6:]


def _element(node: _Node, tag: str) -> dict[str, Any]:
    vr = node.given.get("vr", "")
    if vr != "SQ" and vr not in CONVERT and vr not in BYTES:
        raise BadRequest(f"The attribute {tag} has the unknown value representation '{vr[:8]}'.", expression=tag)
    element: dict[str, Any] = {"vr": vr}
    values: dict[int, Any] = {}
    for child in node.children:
        if child.name == "BulkData":
            element["BulkDataURI"] = child.given.get("uri") or f"urn:uuid:{child.given.get('uuid', '')}"
        elif child.name == "InlineBinary":
            element["InlineBinary"] = "".join(child.content().split())
        elif child.name in ("Value", "PersonName", "Item"):
            number = child.given.get("number", "")
            if not _NUMBER.fullmatch(number) or int(number) in values:
                raise BadRequest(f"A value of {tag} has no number of its own from 1.", expression=tag)
            values[int(number)] = _value(child, vr)
    if values:
        if max(values) > 2 * len(values) + 64:
            raise BadRequest(f"The values of {tag} are numbered with gaps.", expression=tag)
        missing: Attributes | None = {} if vr == "SQ" else None
        element["Value"] = [values.get(number, missing) for number in range(1, max(values) + 1)]
    return element


def _value(node: _Node, vr: str) -> Any:
    if node.name == "Item":
        return _attributes(node)
    if node.name == "PersonName":
        groups = {child.name: _name_group(child) for child in node.children if child.name in _GROUPS}
        return {name: text for name, text in groups.items() if text} or None
    return _scalar(node.content(), vr)


def _name_group(node: _Node) -> str:
    parts = {child.name: child.content() for child in node.children}
    last = max((n for n, name in enumerate(_COMPONENTS) if name in parts), default=-1)
    return "^".join(parts.get(name, "") for name in _COMPONENTS[: last + 1])


def _scalar(text: str, vr: str) -> str | int | float | None:
    if not text:
        return None
    try:
        if vr in _INTEGERS:
            number = int(text)
            return number if -(1 << 63) <= number < 1 << 64 else text
        if vr in _DECIMALS:
            real = float(text)
            return real if math.isfinite(real) else text
    except ValueError:
        return text
    return text
