"""FHIR XML of HL7's test cases as JSON, by the definitions: https://hl7.org/fhir/R4/xml.html"""

from decimal import Decimal
from typing import Any
from xml.etree import ElementTree

from server.fhir.definitions import load

_FHIR = "{http://hl7.org/fhir}"
_NUMBERS = {"integer": int, "positiveInt": int, "unsignedInt": int, "decimal": Decimal}
XHTML = "{http://www.w3.org/1999/xhtml}"


def resource(element: ElementTree.Element) -> dict[str, Any]:
    """The resource that an XML element is."""
    name = element.tag.removeprefix(_FHIR)
    return {"resourceType": name, **content(element, name)}


def content(element: ElementTree.Element, path: str) -> dict[str, Any]:
    """The children of an element, as JSON properties."""
    made: dict[str, Any] = {name: value for name, value in element.attrib.items() if name in ("id", "url")}
    for child in element:
        if child.tag.startswith(XHTML):
            ElementTree.register_namespace("", XHTML.strip("{}"))
            made["div"] = ElementTree.tostring(child, encoding="unicode").strip()
            continue
        name = child.tag.removeprefix(_FHIR)
        found = load().properties(path)[name]
        if load().types[found.type].kind == "primitive-type":
            value, beside = primitive(child, found.type), content(child, "Element")
            for key, item in ((name, value), (f"_{name}", beside or None)):
                if found.element.many:
                    made.setdefault(key, []).append(item)
                elif item is not None:
                    made[key] = item
        elif found.type == "Resource":
            _put(made, name, resource(child[0]), many=found.element.many)
        else:
            _put(made, name, content(child, found.children), many=found.element.many)
    return {
        name: value for name, value in made.items() if not isinstance(value, list) or set(map(str, value)) != {"None"}
    }


def primitive(element: ElementTree.Element, kind: str) -> Any:
    """The value of a primitive."""
    text = element.get("value")
    if text is None:
        return None
    return text == "true" if kind == "boolean" else _NUMBERS.get(kind, str)(text)


def _put(made: dict[str, Any], name: str, value: Any, *, many: bool) -> None:
    if many:
        made.setdefault(name, []).append(value)
    else:
        made[name] = value
