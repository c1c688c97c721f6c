"""Whole identifiers matched against attributes in memory (PS3.4 C.2.2.2), for what has no index; see ``criterion``."""

from typing import Any

from server.imaging import attributes as read
from server.imaging import criterion
from server.imaging.dataset import Attributes
from server.imaging.person_name import name_text


def matches(keys: Attributes, candidate: Attributes) -> bool:
    """Whether the candidate has what every key asks for; a key without a value asks for nothing.

    Raises BadRequest that names a key whose value is none of its VR.
    """
    return all(_matches(tag, element, candidate.get(tag, {})) for tag, element in keys.items())


def picked(keys: Attributes, candidate: Attributes) -> Attributes:
    """The attributes that the keys ask for, those without a value empty; a sequence by the keys of its item."""
    out: Attributes = {}
    for tag, element in keys.items():
        found = candidate.get(tag)
        inner = read.items(keys, tag) if element["vr"] == "SQ" else []
        if found is None:
            out[tag] = {"vr": element["vr"]}
        elif inner and inner[0]:
            out[tag] = {"vr": "SQ", "Value": [picked(inner[0], item) for item in read.items(candidate, tag)]}
        else:
            out[tag] = found
    return out


def asking(keys: Attributes) -> Attributes:
    """The keys that have a value, down into sequences."""
    out: Attributes = {}
    for tag, element in keys.items():
        if element["vr"] == "SQ":
            inner = [found for item in read.items(keys, tag) if (found := asking(item))]
            if inner:
                out[tag] = {"vr": "SQ", "Value": inner}
        elif any(value not in (None, "", {}) for value in element.get("Value", ())):
            out[tag] = element
    return out


def _matches(tag: str, key: dict[str, Any], candidate: dict[str, Any]) -> bool:
    vr, have = key["vr"], candidate.get("Value", [])
    if vr == "SQ":
        return all(any(matches(item, other) for other in have) for item in key.get("Value", ()) if item)
    text = "\\".join("" if value is None else name_text(value) for value in key.get("Value", ()))
    rule = criterion.parse(vr, text, tag)
    return rule is None or criterion.matches(rule, vr, have)
