"""Values that a profile fixes, outlines or limits: https://hl7.org/fhir/R4/elementdefinition.html"""

from typing import Any

from server.errors import Unprocessable
from server.fhir.definitions import Definitions
from server.fhir.fhirpath import Node, compile_expression

_AT_LEAST = compile_expression("$this >= %limit")
_AT_MOST = compile_expression("$this <= %limit")


def equals(value: Any, fixed: Any) -> bool:
    """Whether a value is exactly the fixed one (fixed[x]); numbers by what they are worth."""
    if isinstance(fixed, dict):
        return (
            isinstance(value, dict) and value.keys() == fixed.keys() and all(equals(value[k], fixed[k]) for k in fixed)
        )
    if isinstance(fixed, list):
        return isinstance(value, list) and len(value) == len(fixed) and all(map(equals, value, fixed))
    return isinstance(value, bool) == isinstance(fixed, bool) and bool(value == fixed)


def fits(value: Any, pattern: Any) -> bool:
    """Whether a value has at least what the pattern has (pattern[x]); of arrays, an item for each of the pattern's."""
    if isinstance(pattern, dict):
        return isinstance(value, dict) and all(name in value and fits(value[name], pattern[name]) for name in pattern)
    if isinstance(pattern, list):
        return isinstance(value, list) and all(any(fits(one, each) for one in value) for each in pattern)
    return equals(value, pattern)


def shown(value: Any) -> str:
    """A profile's own value for a message: short, and never more than a line."""
    if isinstance(value, dict):
        parts = (f"{name} {shown(each)}" for name, each in value.items() if name not in ("display", "extension"))
        return ", ".join(parts)[:200]
    if isinstance(value, list):
        return " and ".join(shown(each) for each in value)[:200]
    return str(value)[:200]


def is_beyond(node: Node, limit: tuple[str, Any], definitions: Definitions, *, least: bool) -> bool:
    """Whether a value is beyond a limit; what can't be compared is not."""
    expression = _AT_LEAST if least else _AT_MOST
    try:
        found = expression.evaluate(node, context={"limit": [Node(limit[1], limit[0], limit[0])]}, model=definitions)
    except Unprocessable:
        return False
    return bool(found) and found[0] is False
