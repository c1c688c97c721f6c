"""Equality of resources as JSON: decimals digit for digit, the order of properties of no account.

https://hl7.org/fhir/R4/json.html: "The precision of the decimal value has significance".
"""

from decimal import Decimal
from typing import Any

#: What a server sets itself on every write: https://hl7.org/fhir/R4/http.html#update
_SERVERS = ("versionId", "lastUpdated")


def differences(sent: dict[str, Any], returned: Any) -> list[str]:
    """Places, as JSON pointers, at which what came back is another; none if it is equal."""
    if not isinstance(returned, dict):
        return [""]
    found: list[str] = []
    _compare(_content(sent), _content(returned), "", found)
    return found


def _content(resource: dict[str, Any]) -> dict[str, Any]:
    """The resource without the metadata that is the server's."""
    meta = resource.get("meta")
    kept = {name: value for name, value in meta.items() if name not in _SERVERS} if isinstance(meta, dict) else meta
    rest = {name: value for name, value in resource.items() if name != "meta"}
    return {**rest, "meta": kept} if kept else rest


def _compare(left: Any, right: Any, place: str, found: list[str]) -> None:
    if type(left) is not type(right):
        found.append(place)
    elif isinstance(left, dict):
        for name in left.keys() | right.keys():
            step = f"{place}/{name.replace('~', '~0').replace('/', '~1')}"
            if name in left and name in right:
                _compare(left[name], right[name], step, found)
            else:
                found.append(step)
    elif isinstance(left, list):
        if len(left) != len(right):
            found.append(place)
        for index, (one, other) in enumerate(zip(left, right, strict=False)):
            _compare(one, other, f"{place}/{index}", found)
    elif left.as_tuple() != right.as_tuple() if isinstance(left, Decimal) else left != right:
        found.append(place)
