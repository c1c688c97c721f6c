"""String manipulation: https://hl7.org/fhirpath/N1/#string-manipulation, and N1's later additions (encode, split, ...).

Patterns run in RE2, whose time is linear in the text, since they may come from outside.
"""

import base64
import binascii
import html
import json
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

import re2

from server.errors import BadRequest, Unprocessable
from server.fhir.fhirpath.function import Function, eager
from server.fhir.fhirpath.node import Collection
from server.fhir.fhirpath.operators import LONGEST_TEXT
from server.fhir.fhirpath.singleton import integer, text

_GROUP = re.compile(r"\$(?:(\d+)|\{(\w+)\})|\\(.)", re.DOTALL)


@lru_cache(maxsize=512)
def pattern(expression: str) -> Any:
    """A regular expression compiled by RE2, ``.`` matching line ends (N1, 5.6.9: single-line mode)."""
    options = re2.Options()
    options.dot_nl = True
    options.log_errors = False
    try:
        return re2.compile(expression, options)
    except re2.error as error:
        raise BadRequest(
            "FHIRPath: not a regular expression that runs here; look-around and back-references don't",
            expression=expression,
        ) from error


def _on_text(name: str, compute: Callable[[str], Any]) -> Function:
    """A function of the string alone."""

    def call(focus: Collection) -> Collection:
        value = text(focus, name)
        return [] if value is None else [compute(value)]

    return eager(call)


def _with_text(name: str, compute: Callable[[str, str], Any]) -> Function:
    """A function of the string and one string argument; empty if either is."""

    def call(focus: Collection, argument: Collection) -> Collection:
        value, other = text(focus, name), text(argument, name)
        return [] if value is None or other is None else [compute(value, other)]

    return eager(call, 1)


def _substring(focus: Collection, start: Collection, length: Collection | None = None) -> Collection:
    value, first = text(focus, "substring()"), integer(start, "substring()")
    if value is None or first is None or not 0 <= first < len(value):
        return []
    if not length:
        return [value[first:]]
    count = integer(length, "substring()") or 0
    return [value[first : first + max(count, 0)]]


def _replace(focus: Collection, old: Collection, new: Collection) -> Collection:
    value, wanted, instead = text(focus, "replace()"), text(old, "replace()"), text(new, "replace()")
    if value is None or wanted is None or instead is None:
        return []
    found = value.count(wanted) if wanted else len(value) + 1
    if len(value) + found * len(instead) > LONGEST_TEXT:
        raise Unprocessable(f"FHIRPath: replace() would make more than {LONGEST_TEXT} characters")
    return [value.replace(wanted, instead)]


def _replace_matches(focus: Collection, expression: Collection, substitution: Collection) -> Collection:
    value, wanted = text(focus, "replaceMatches()"), text(expression, "replaceMatches()")
    instead = text(substitution, "replaceMatches()")
    if value is None or wanted is None or instead is None:
        return []
    if not wanted:
        return [value]
    return [pattern(wanted).sub(lambda match: _filled(instead, match), value)]


def _filled(template: str, match: Any) -> str:
    """A substitution with ``$1`` and ``${name}`` replaced by what the groups matched."""

    def group(reference: re.Match[str]) -> str:
        if reference[3] is not None:
            return reference[3]
        name: int | str = int(reference[1]) if reference[1] is not None else reference[2]
        try:
            return match.group(name) or ""
        except (IndexError, KeyError, re2.error) as error:
            raise Unprocessable(f"FHIRPath: the pattern of replaceMatches() has no group {name}") from error

    return _GROUP.sub(group, template)


def _encode(value: str, coding: str) -> str:
    if coding == "hex":
        return value.encode().hex()
    if coding == "base64":
        return base64.b64encode(value.encode()).decode()
    if coding == "urlbase64":
        return base64.urlsafe_b64encode(value.encode()).decode()
    raise Unprocessable(f"FHIRPath: encode() knows hex, base64 and urlbase64, not {coding!r}")


def _decode(value: str, coding: str) -> str:
    try:
        if coding == "hex":
            return bytes.fromhex(value).decode()
        if coding == "base64":
            return base64.b64decode(value, validate=True).decode()
        if coding == "urlbase64":
            return base64.urlsafe_b64decode(value).decode()
    except (ValueError, binascii.Error) as error:
        raise Unprocessable(f"FHIRPath: the text is not {coding}") from error
    raise Unprocessable(f"FHIRPath: decode() knows hex, base64 and urlbase64, not {coding!r}")


def _escape(value: str, target: str) -> str:
    if target == "html":
        return html.escape(value)
    if target == "json":
        return json.dumps(value, ensure_ascii=False)[1:-1]
    raise Unprocessable(f"FHIRPath: escape() knows html and json, not {target!r}")


def _unescape(value: str, target: str) -> str:
    if target == "html":
        return html.unescape(value)
    if target == "json":
        # A string that came through FHIRPath may have its quotes bare already.
        quoted = re.sub(r'(?<!\\)"', r"\"", value)
        try:
            return str(json.loads(f'"{quoted}"'))
        except ValueError as error:
            raise Unprocessable("FHIRPath: the text is not an escaped JSON string") from error
    raise Unprocessable(f"FHIRPath: unescape() knows html and json, not {target!r}")


def _split(focus: Collection, separator: Collection) -> Collection:
    value, between = text(focus, "split()"), text(separator, "split()")
    if value is None or between is None:
        return []
    return value.split(between) if between else list(value)


def _join(focus: Collection, separator: Collection | None = None) -> Collection:
    between = text(separator, "join()") if separator else None
    values = [text([item], "join()") for item in focus]
    return [(between or "").join(value for value in values if value is not None)] if focus else []


def _to_chars(focus: Collection) -> Collection:
    value = text(focus, "toChars()")
    return [] if value is None else list(value)


STRINGS: Final[dict[str, Function]] = {
    "indexOf": _with_text("indexOf()", lambda value, other: value.find(other)),
    "lastIndexOf": _with_text("lastIndexOf()", lambda value, other: value.rfind(other)),
    "substring": eager(_substring, 1, 2),
    "startsWith": _with_text("startsWith()", lambda value, other: value.startswith(other)),
    "endsWith": _with_text("endsWith()", lambda value, other: value.endswith(other)),
    "contains": _with_text("contains()", lambda value, other: other in value),
    "upper": _on_text("upper()", lambda value: value.upper()),
    "lower": _on_text("lower()", lambda value: value.lower()),
    "trim": _on_text("trim()", lambda value: value.strip()),
    "length": _on_text("length()", len),
    "replace": eager(_replace, 2),
    "matches": _with_text("matches()", lambda value, wanted: pattern(wanted).search(value) is not None),
    "matchesFull": _with_text("matchesFull()", lambda value, wanted: pattern(wanted).fullmatch(value) is not None),
    "replaceMatches": eager(_replace_matches, 2),
    "toChars": eager(_to_chars),
    "encode": _with_text("encode()", _encode),
    "decode": _with_text("decode()", _decode),
    "escape": _with_text("escape()", _escape),
    "unescape": _with_text("unescape()", _unescape),
    "split": eager(_split, 1),
    "join": eager(_join, 0, 1),
}
