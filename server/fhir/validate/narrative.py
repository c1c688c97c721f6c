"""Narrative: XHTML without anything active (https://hl7.org/fhir/R4/narrative.html, invariants txt-1 and txt-2)."""

from collections.abc import Mapping
from html.entities import html5
from xml.parsers import expat

#: Elements of XHTML that narrative may use: chapters 7 to 11 (but not link and forms) and 15 of HTML 4.0, a and img.
_ELEMENTS = frozenset((
    "a", "abbr", "acronym", "b", "big", "blockquote", "br", "caption", "cite", "code", "col", "colgroup",
    "dd", "dfn", "div", "dl", "dt", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "img", "li", "ol",
    "p", "pre", "q", "samp", "small", "span", "strong", "sub", "sup", "table", "tbody", "td", "tfoot", "th",
    "thead", "tr", "tt", "ul", "var", "kbd", "address", "bdo", "del", "ins", "dir", "map", "area", "u", "s",
    "strike", "center", "font",
))  # fmt: skip
_ATTRIBUTES = frozenset((
    "abbr", "accesskey", "align", "alt", "axis", "bgcolor", "border", "cellhalign", "cellpadding",
    "cellspacing", "cellvalign", "char", "charoff", "charset", "cite", "class", "colspan", "compact",
    "coords", "dir", "face", "frame", "headers", "height", "href", "hreflang", "hspace", "id", "lang",
    "longdesc", "name", "nowrap", "rel", "rev", "rowspan", "rules", "scope", "shape", "size", "span", "src",
    "start", "style", "summary", "tabindex", "title", "type", "valign", "value", "vspace", "width",
    "xml:lang", "xml:space", "xmlns", "color", "noshade", "clear", "usemap",
))  # fmt: skip
_XHTML = "http://www.w3.org/1999/xhtml"
_ACTIVE = ("javascript:", "vbscript:", "data:text/html")


class _Fault(Exception):
    pass


def fault_in_narrative(text: str) -> str | None:
    """What is wrong with the text of Narrative.div, and its cure; None if nothing is."""
    reader = expat.ParserCreate()
    depth = 0
    shown = False

    def start(name: str, attributes: Mapping[str, str]) -> None:
        nonlocal depth, shown
        if depth == 0 and (name != "div" or attributes.get("xmlns") != _XHTML):
            raise _Fault(f'the outermost element is <div xmlns="{_XHTML}">')
        depth += 1
        shown = shown or name == "img"
        _check_tag(name, attributes)

    def end(_name: str) -> None:
        nonlocal depth
        depth -= 1

    def characters(data: str) -> None:
        nonlocal shown
        shown = shown or not data.isspace()

    def doctype(*_declaration: object) -> None:
        raise _Fault("a document type can't be declared here; remove it")

    def entity(name: str, _is_parameter: bool) -> None:
        nonlocal shown
        if f"{name};" not in html5:
            raise _Fault("an entity is not one of HTML's; write the character itself")
        shown = True

    # XHTML's named entities come from a DTD that expat is told of but never given.
    reader.UseForeignDTD(True)
    reader.StartElementHandler, reader.EndElementHandler = start, end
    reader.CharacterDataHandler = characters
    reader.StartDoctypeDeclHandler = doctype
    reader.SkippedEntityHandler = entity
    try:
        reader.Parse(text, True)
    except expat.ExpatError as error:
        return f"the narrative is not well-formed XHTML at line {error.lineno}; close and nest its tags"
    except _Fault as fault:
        return str(fault)
    return None if shown else "the narrative shows nothing; write something or leave text out"


def _check_tag(name: str, attributes: Mapping[str, str]) -> None:
    if name not in _ELEMENTS:
        raise _Fault(f"<{name[:40]}> can't stand in a narrative; only basic formatting, tables, links and images can")
    for attribute, value in attributes.items():
        if attribute not in _ATTRIBUTES:
            raise _Fault(f"the attribute {attribute[:40]} can't stand in a narrative; remove it")
        if attribute in ("href", "src") and value.strip().lower().startswith(_ACTIVE):
            raise _Fault("a link in the narrative would run a script; remove it")
