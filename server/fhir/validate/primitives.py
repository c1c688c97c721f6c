"""Values of the primitive types: https://hl7.org/fhir/R4/datatypes.html#primitive and https://hl7.org/fhir/R4/json.html."""

import re
from calendar import monthrange
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from server.fhir.validate.narrative import fault_in_narrative

#: Says what is wrong with a JSON value, or nothing.
Primitive = Callable[[Any], str | None]

#: R4 datatypes.html#string: 1 MiB; below 0x20 only tab, line feed and carriage return.
_LONGEST_STRING = 1024 * 1024
_STRING = re.compile(r"[^\x00-\x08\x0b\x0c\x0e-\x1f]+")
_BASE64 = re.compile(r"[0-9A-Za-z+/]*={0,2}")
_INTEGER_LIMITS: Final = {
    "integer": (-(2**31), 2**31 - 1),
    "unsignedInt": (0, 2**31 - 1),
    "positiveInt": (1, 2**31 - 1),
}
#: How a value of the type looks, for the person who has to correct one.
_EXAMPLES: Final = {
    "date": "2024, 2024-05 or 2024-05-31",
    "dateTime": "2024-05-31 or 2024-05-31T08:30:00Z (a time needs seconds and a zone)",
    "instant": "2024-05-31T08:30:00.000Z (to the second at least, with a zone)",
    "time": "08:30:00",
    "id": "1 to 64 letters, digits, '-' or '.'",
    "code": "no blanks at either end, single ones inside",
    "oid": "urn:oid:1.2.3",
    "uuid": "urn:uuid: and a UUID in lower case",
    "uri": "no blanks",
    "url": "no blanks",
    "canonical": "no blanks",
}
_DAYS_TYPES = ("date", "dateTime", "instant")


def _is_day(text: str) -> bool:
    """Whether the month has that day; the pattern has made sure of the rest."""
    if len(text) < 10 or text[8:10] < "29":
        return True
    return int(text[8:10]) <= monthrange(int(text[:4]), int(text[5:7]))[1]


def _text(name: str, regex: str) -> Primitive:
    fullmatch = re.compile(regex).fullmatch
    has_day = name in _DAYS_TYPES
    cure = f"this is no {name}; expected: {_EXAMPLES[name]}"

    def check(value: Any) -> str | None:
        if type(value) is not str:
            return f"{name} is a JSON string; put it in quotes"
        if not value or fullmatch(value) is None or (has_day and not _is_day(value)):
            return cure
        return None

    return check


def _string(value: Any) -> str | None:
    if type(value) is not str:
        return "string is a JSON string; put it in quotes"
    if _STRING.fullmatch(value) is None:
        return "leave out what is empty" if not value else "control characters can't stand here; remove them"
    if len(value) > _LONGEST_STRING or value.isspace():
        return "a string has at most 1 MiB, not all of it blank; shorten or leave out"
    return None


def _boolean(value: Any) -> str | None:
    return None if type(value) is bool else "boolean is true or false, without quotes"


def _whole(name: str) -> Primitive:
    low, high = _INTEGER_LIMITS[name]

    def check(value: Any) -> str | None:
        if type(value) is not int:
            return f"{name} is a whole JSON number, without quotes or decimal point"
        return None if low <= value <= high else f"{name} is from {low} to {high}"

    return check


def _decimal(value: Any) -> str | None:
    if type(value) in (int, Decimal, float):
        return None
    return "decimal is a JSON number, without quotes"


def _base64(value: Any) -> str | None:
    if type(value) is not str:
        return "base64Binary is a JSON string; put it in quotes"
    packed = "".join(value.split())
    if not packed or len(packed) % 4 or _BASE64.fullmatch(packed) is None:
        return "this is no base64; encode the bytes by RFC 4648 with padding"
    return None


def _xhtml(value: Any) -> str | None:
    if type(value) is not str:
        return "xhtml is a JSON string; put it in quotes"
    return fault_in_narrative(value)


def primitive(name: str, regex: str) -> Primitive:
    """The check of a primitive type; ``regex`` as its StructureDefinition has it."""
    if name in ("string", "markdown"):
        return _string
    if name in _INTEGER_LIMITS:
        return _whole(name)
    special: dict[str, Primitive] = {
        "boolean": _boolean,
        "decimal": _decimal,
        "base64Binary": _base64,
        "xhtml": _xhtml,
    }
    return special.get(name) or _text(name, regex)
