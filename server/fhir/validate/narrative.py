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


def fault_in_narrative(text: str) -> str | None:
    """What is wrong with the text of Narrative.div, and its cure; None if nothing is."""
    reading = _Reading()
    try:
        reading.parser.Parse(text, True)
    except expat.ExpatError as error:
        return f"the narrative is not well-formed XHTML at line {error.lineno}; close and nest its tags"
    if reading.fault:
        return reading.fault
    return None if reading.shown else "the narrative shows nothing (txt-2); write something or leave text out"


class _Reading:
    """One narrative being read: the first fault found, and whether there is anything to see."""

    def __init__(self) -> None:
        self.fault = ""
        self.shown = False
        self._depth = 0
        self.parser = expat.ParserCreate()
        # XHTML's named entities come from a DTD that expat is told of but never given.
        self.parser.UseForeignDTD(True)
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._characters
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.parser.SkippedEntityHandler = self._entity

    def _start(self, name: str, attributes: Mapping[str, str]) -> None:
        if self._depth == 0 and (name != "div" or attributes.get("xmlns") != _XHTML):
            self._note(f'the outermost element is <div xmlns="{_XHTML}">')
        self._depth += 1
        self.shown = self.shown or name == "img"
        self._note(_fault_in_tag(name, attributes))

    def _end(self, _name: str) -> None:
        self._depth -= 1

    def _characters(self, data: str) -> None:
        self.shown = self.shown or not data.isspace()

    def _doctype(self, *_declaration: object) -> None:
        self._note("a document type can't be declared here; remove it")

    def _entity(self, name: str, _is_parameter: bool) -> None:
        if f"{name};" not in html5:
            self._note("an entity is not one of HTML's; write the character itself")
        self.shown = True

    def _note(self, fault: str) -> None:
        self.fault = self.fault or fault


def _fault_in_tag(name: str, attributes: Mapping[str, str]) -> str:
    if name not in _ELEMENTS:
        return f"<{name[:40]}> can't stand in a narrative; only basic formatting, tables, links and images can"
    for attribute, value in attributes.items():
        if attribute not in _ATTRIBUTES:
            return f"the attribute {attribute[:40]} can't stand in a narrative; remove it"
        if attribute in ("href", "src") and value.strip().lower().startswith(_ACTIVE):
            return "a link in the narrative would run a script; remove it"
    return ""
