"""References in resources, found by the type of the element that holds them.

https://hl7.org/fhir/R4/references.html and the rewriting of links in transactions,
https://hl7.org/fhir/R4/http.html#trules
"""

import re
from collections.abc import Callable, Iterator
from html import escape, unescape
from typing import Any

from server.errors import Unprocessable
from server.fhir.definitions import Definitions

#: A link's new text, or None to leave it.
Rename = Callable[[str], str | None]
_LINK_TYPES = frozenset({"uri", "url", "oid", "uuid", "canonical"})
_HTML_LINK = re.compile(r"""(\b(?:href|src)\s*=\s*)(?:"([^"]*)"|'([^']*)')""")


def rewritten(definitions: Definitions, resource: dict[str, Any], rename: Rename) -> dict[str, Any]:
    """The resource with every link (Reference, uri and its kin, links in the narrative) renamed.

    Unprocessable for one that nests too deeply.
    """
    try:
        return _object(definitions, resource, resource["resourceType"], rename)
    except RecursionError as error:
        raise Unprocessable("The resource nests too deeply; flatten it.") from error


def _object(definitions: Definitions, value: dict[str, Any], path: str, rename: Rename) -> dict[str, Any]:
    properties = definitions.properties(path)
    kept: dict[str, Any] = {}
    for name, inner in value.items():
        found = properties.get(name)
        if found is None:
            kept[name] = inner
        elif isinstance(inner, list):
            kept[name] = [_value(definitions, one, found.type, found.children, rename) for one in inner]
        else:
            kept[name] = _value(definitions, inner, found.type, found.children, rename)
    if path == "Reference" and isinstance(kept.get("reference"), str):
        kept["reference"] = rename(kept["reference"]) or kept["reference"]
    return kept


def _value(definitions: Definitions, value: Any, kind: str, path: str, rename: Rename) -> Any:
    if isinstance(value, dict):
        inner = value.get("resourceType") if kind == "Resource" else None
        return _object(definitions, value, inner if isinstance(inner, str) else path, rename)
    if isinstance(value, str) and kind in _LINK_TYPES:
        return rename(value) or value
    if isinstance(value, str) and kind == "xhtml":
        return _HTML_LINK.sub(lambda found: _html(found, rename), value)
    return value


def _html(found: re.Match[str], rename: Rename) -> str:
    old = unescape(found[2] if found[2] is not None else found[3])
    new = rename(old)
    return found[0] if new is None else f'{found[1]}"{escape(new)}"'


def references(definitions: Definitions, resource: dict[str, Any]) -> Iterator[str]:
    """The literal text of every Reference in a resource."""
    found: list[str] = []

    def note(text: str) -> None:
        found.append(text)

    _collect(definitions, resource, resource["resourceType"], note)
    yield from found


def _collect(definitions: Definitions, value: Any, path: str, note: Callable[[str], None]) -> None:
    if isinstance(value, list):
        for one in value:
            _collect(definitions, one, path, note)
    elif isinstance(value, dict):
        inner = value.get("resourceType")
        path = inner if path == "Resource" and isinstance(inner, str) else path
        if path == "Reference" and isinstance(value.get("reference"), str):
            note(value["reference"])
        properties = definitions.properties(path)
        for name, below in value.items():
            if name in properties and isinstance(below, dict | list):
                _collect(definitions, below, properties[name].children, note)
