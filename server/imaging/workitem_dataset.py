"""A data set that a client sent as DICOM JSON (PS3.18 annex F), checked and put in order; bounded."""

import re
from typing import Any

from server.errors import BadRequest
from server.imaging.dataset import Attributes, Limits
from server.imaging.json_model import BYTES, CONVERT
from server.imaging.query_keys import vr_of

_TAG = re.compile(r"[0-9A-Fa-f]{8}", re.ASCII)
#: Elements of one request.
_MOST = 100_000
_MEMBERS = frozenset({"vr", "Value", "InlineBinary"})


def checked(dataset: object, *, limits: Limits | None = None) -> Attributes:
    """The attributes in the order of their tags, VRs as the data dictionary has them; command elements are left out.

    Raises BadRequest with the path of what is no DICOM JSON.
    """
    count = [0]
    found = _attributes(dataset, (), (limits or Limits()).depth, count)
    return {tag: element for tag, element in found.items() if int(tag[:4], 16) > 2}


def _attributes(dataset: object, path: tuple[str, ...], depth: int, count: list[int]) -> Attributes:
    if depth < 0:
        raise BadRequest("The data set nests sequences too deeply.", expression=".".join(path[:3]))
    if not isinstance(dataset, dict):
        raise BadRequest("A data set is an object of tags (PS3.18 F.2.2).", expression=".".join(path))
    out: Attributes = {}
    for tag, element in dataset.items():
        count[0] += 1
        if count[0] > _MOST:
            raise BadRequest(f"The data set has more than {_MOST} elements.")
        if not isinstance(tag, str) or not _TAG.fullmatch(tag):
            raise BadRequest(f"'{str(tag)[:32]}' is no tag; write eight hexadecimal digits.", expression=".".join(path))
        name = tag.upper()
        if name in out:
            raise BadRequest(f"The attribute {name} is there twice.", expression=".".join((*path, name)))
        out[name] = _element(element, (*path, name), depth, count)
    return dict(sorted(out.items()))


def _element(element: object, path: tuple[str, ...], depth: int, count: list[int]) -> dict[str, Any]:
    place = ".".join(path)
    if not isinstance(element, dict) or not element.keys() <= _MEMBERS:
        raise BadRequest("An element has vr, and Value or InlineBinary; bulk data has no place here.", expression=place)
    vr = _vr(element.get("vr"), path[-1], place)
    if "InlineBinary" in element:
        if vr not in BYTES or not isinstance(element["InlineBinary"], str):
            raise BadRequest("InlineBinary is the Base64 text of a binary VR.", expression=place)
        return {"vr": vr, "InlineBinary": element["InlineBinary"]}
    values = element.get("Value")
    if values is None or values == []:
        return {"vr": vr}
    if not isinstance(values, list) or vr in BYTES:
        raise BadRequest("Value is an array, and binary VRs have none.", expression=place)
    count[0] += len(values)
    return {"vr": vr, "Value": [_value(value, vr, path, depth, count) for value in values]}


def _vr(given: object, tag: str, place: str) -> str:
    known = vr_of(tag)
    if given is None:
        given = known
    if not isinstance(given, str) or (given != "SQ" and given not in CONVERT and given not in BYTES):
        raise BadRequest("The value representation is unknown.", expression=place)
    if known in ("UN", given):
        return given
    if "SQ" in (given, known) or given in BYTES:
        raise BadRequest(f"The value representation is {known}.", expression=place)
    # Some clients write e.g. LO for every text.
    return known if known not in BYTES else given


def _value(value: object, vr: str, path: tuple[str, ...], depth: int, count: list[int]) -> Any:
    if vr == "SQ":
        return {} if value is None else _attributes(value, path, depth - 1, count)
    if value is None:
        return None
    if vr == "PN":
        if isinstance(value, str):
            return {"Alphabetic": value}
        if isinstance(value, dict) and all(isinstance(text, str) for text in value.values()):
            return value
        raise BadRequest("A person name is an object of its groups.", expression=".".join(path))
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise BadRequest("A value is a text or a number.", expression=".".join(path))
    if isinstance(value, str) and "\0" in value:
        raise BadRequest("A text holds a NUL character.", expression=".".join(path))
    return value
