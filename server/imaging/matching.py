"""Attribute matching of a query's keys against attributes in memory (PS3.4 C.2.2.2), for what has no index."""

from collections.abc import Callable
from datetime import time
from typing import Any

from server.imaging import attributes as read
from server.imaging.dataset import Attributes

#: VRs whose keys may hold "*" and "?" (PS3.4 C.2.2.2.4).
_WILD = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})
_RANGES = frozenset({"DA", "DT", "TM"})
_EARLIEST, _LATEST = "", "\uffff"


def matches(keys: Attributes, candidate: Attributes) -> bool:
    """Whether the candidate has what every key asks for; a key without a value asks for nothing."""
    return all(_matches(element, candidate.get(tag, {})) for tag, element in keys.items())


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


def _matches(key: dict[str, Any], candidate: dict[str, Any]) -> bool:
    vr, wanted = key["vr"], [value for value in key.get("Value", ()) if value not in (None, "", {})]
    if not wanted:
        return True
    have = [value for value in candidate.get("Value", ()) if value not in (None, "", {})]
    if vr == "SQ":
        return all(any(matches(item, other) for other in have) for item in wanted)
    test = _test(vr)
    return any(test(one, other) for one in wanted for other in have)


def _test(vr: str) -> Callable[[Any, Any], bool]:
    if vr == "PN":
        return _is_name
    if vr in _RANGES:
        return _is_within_time if vr == "TM" else _is_within
    return _is_like if vr in _WILD else _is_equal


def _is_equal(key: Any, value: Any) -> bool:
    return bool(str(key).strip() == str(value).strip())


def _is_like(key: Any, value: Any) -> bool:
    return like(str(key).strip(), str(value).strip())


def _is_name(key: Any, value: Any) -> bool:
    """Any component group by any other, without regard to case and accents (PS3.4 C.2.2.2.1)."""
    wanted = [read.fold_name(str(group)) for group in _groups(key)]
    have = [read.fold_name(str(group)) for group in _groups(value)]
    return any(like(one, other) for one in wanted for other in have)


def _groups(name: Any) -> list[Any]:
    return [group for group in name.values() if group] if isinstance(name, dict) else [name]


def _is_within(key: Any, value: Any) -> bool:
    low, dash, high = str(key).strip().partition("-")
    text = str(value)
    if not dash:
        return text.startswith(low)
    return (low or _EARLIEST) <= text and (text <= high or text.startswith(high) if high else True)


def _is_within_time(key: Any, value: Any) -> bool:
    low, dash, high = str(key).strip().partition("-")
    text = _clock(str(value), time.min)
    return (_clock(low, time.min) if low else _EARLIEST) <= text <= _clock(high if dash else low, time.max)


def _clock(text: str, rest: time) -> str:
    """A TM value as HHMMSSFFFFFF, what it leaves out taken from ``rest``; the end of time for none."""
    digits = text.replace(":", "").replace(".", "")
    return digits + rest.strftime("%H%M%S%f")[len(digits) :] if digits else _LATEST


def like(pattern: str, text: str) -> bool:
    """Whether the text is what a pattern of "*" and "?" says; in time linear in pattern times text."""
    at = mark = 0
    star = -1
    for_text = 0
    while for_text < len(text):
        if at < len(pattern) and pattern[at] == "*":
            star, mark = at, for_text
            at += 1
        elif at < len(pattern) and pattern[at] in ("?", text[for_text]):
            at += 1
            for_text += 1
        elif star >= 0:
            mark += 1
            at, for_text = star + 1, mark
        else:
            return False
    return not pattern[at:].strip("*")
